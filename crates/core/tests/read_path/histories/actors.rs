//! Readers, writers, and a feed with moods.

use std::{num::NonZeroU64, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use trueup_core::{
    class::Bloom,
    env::{Clock, Nanos},
    proof::Token,
    receipt::{Cached, ServedBy},
};

use super::{
    super::{
        source::{Database, Kind},
        world::{BOUND, Pending, World, items, ms, start, text},
    },
    checker::{Answer, History, TOTAL, Version},
};

const KEYS: i64 = 4;
/// Keys where the keys there are are known: most of them are written late or never.
const SPARSE_KEYS: i64 = 48;
/// Two rows that always hold [`TOTAL`] together.
const ACCOUNTS: [i64; 2] = [100, 101];
const READERS: u64 = 4;
const READS: u64 = 60;
const WRITES: u64 = 40;
const FEED_STEPS: u64 = 120;

/// The node's clock, made to follow the paused timers of the runtime.
#[derive(Clone)]
struct Time {
    clock: Clock,
    began: tokio::time::Instant,
    passed: Arc<Mutex<Duration>>,
}

impl Time {
    fn new(clock: Clock) -> Self {
        Self { clock, began: tokio::time::Instant::now(), passed: Arc::default() }
    }

    fn now(&self) -> Nanos {
        let mut passed = self.passed.lock();
        let elapsed = self.began.elapsed();
        self.clock.advance(elapsed - *passed);
        *passed = elapsed;
        self.clock.now()
    }

    async fn sleep(&self, span: Duration) {
        tokio::time::sleep(span).await;
        self.now();
    }
}

#[derive(Clone)]
struct Stage {
    world: Arc<World>,
    time: Time,
    history: Arc<Mutex<History>>,
    /// The newest token that a writer was given, and when.
    token: Arc<Mutex<Option<(Token, Nanos)>>>,
    kind: Kind,
    keys: i64,
}

/// Plays one history; `filtered` has the class know the keys there are.
pub(super) async fn play(kind: Kind, seed: u64, filtered: bool) -> History {
    let clock = Clock::stepped();
    let time = Time::new(clock.clone());
    let database = Database::new(kind, clock.clone());
    let (pause, random) = (time.clone(), Arc::new(Mutex::new(SmallRng::seed_from_u64(seed))));
    database.set_latency(move || {
        let (time, span) = (pause.clone(), random.lock().random_range(0..30));
        Box::pin(async move { time.sleep(ms(span)).await })
    });
    if seed % 2 == 1 {
        // As few as can be, so that many loads go together.
        database.set_statements_at_once(1);
    }
    let (plan, keys) = match filtered {
        true => (items().no_negative().bloom(Bloom::new(NonZeroU64::new(1_000).unwrap())), SPARSE_KEYS),
        false => (items(), KEYS),
    };
    let world = Arc::new(World::on(database, clock, plan, None).await);
    let stage = Stage { world, time, history: Arc::default(), token: Arc::default(), kind, keys };
    stage.transfer(TOTAL, 0);

    let random = |actor: u64| SmallRng::seed_from_u64(seed * 1000 + actor);
    let mut actors: Vec<Pending<()>> =
        (0..READERS).map(|reader| start(stage.clone().read(random(10 + reader)))).collect();
    actors.push(start(stage.clone().write(random(1))));
    actors.push(start(stage.clone().tell(random(2))));
    for actor in actors {
        actor.end().await;
    }
    stage.world.cache.shut_down().await;
    std::mem::take(&mut *stage.history.lock())
}

impl Stage {
    async fn write(self, mut random: SmallRng) {
        for number in 0..WRITES {
            self.time.sleep(ms(random.random_range(1..60))).await;
            if random.random_ratio(1, 4) {
                let first = random.random_range(0..=TOTAL);
                self.transfer(first, TOTAL - first);
                continue;
            }
            let key = random.random_range(0..self.keys);
            let value = random.random_ratio(5, 6).then(|| format!("{number}"));
            if self.keys == SPARSE_KEYS && random.random_ratio(1, 12) {
                let token = self.world.database.commit_in_bulk(&[(key, value.as_deref())]);
                self.committed(&[(key, value)]);
                *self.token.lock() = Some((token, self.time.now()));
                continue;
            }
            let hide = self.kind == Kind::Xids && random.random_ratio(1, 3);
            if hide {
                self.write_hidden(key, value, ms(random.random_range(1..80))).await;
            } else {
                let token = self.world.database.commit(&[(key, value.as_deref())]);
                self.committed(&[(key, value)]);
                *self.token.lock() = Some((token, self.time.now()));
            }
        }
    }

    /// A commit that the feed may deliver before anybody can see it.
    async fn write_hidden(&self, key: i64, value: Option<String>, span: Duration) {
        let xid = self.world.database.commit_hidden(&[(key, value.as_deref())]);
        let index = {
            let mut history = self.history.lock();
            let never = Nanos(u64::MAX);
            history.versions.push(Version { key, value, visible: never, acknowledged: never });
            history.versions.len() - 1
        };
        self.time.sleep(span).await;
        let token = self.world.database.show(xid);
        let now = self.time.now();
        let mut history = self.history.lock();
        history.versions[index].visible = now;
        history.versions[index].acknowledged = now;
        *self.token.lock() = Some((token, now));
    }

    fn transfer(&self, first: i64, second: i64) {
        let (first, second) = (first.to_string(), second.to_string());
        let [a, b] = ACCOUNTS;
        self.world.database.commit(&[(a, Some(&first)), (b, Some(&second))]);
        self.committed(&[(a, Some(first)), (b, Some(second))]);
    }

    fn committed(&self, writes: &[(i64, Option<String>)]) {
        let now = self.time.now();
        let version = |(key, value): &(i64, Option<String>)| Version {
            key: *key,
            value: value.clone(),
            visible: now,
            acknowledged: now,
        };
        self.history.lock().versions.extend(writes.iter().map(version));
    }

    /// The feed: mostly prompt, sometimes late, now and then silent beyond the bound; seldom a new connection or epoch.
    async fn tell(self, mut random: SmallRng) {
        let database = &self.world.database;
        for _ in 0..FEED_STEPS {
            let pause =
                if random.random_ratio(1, 40) { BOUND + ms(200) } else { ms(random.random_range(1..40)) };
            self.time.sleep(pause).await;
            match random.random_range(0..100) {
                0..20 => database.deliver(),
                20..40 => database.deliver_next(),
                40..60 => database.ask(),
                60..96 => database.pump(),
                96..99 => database.reconnect(),
                _ if self.kind == Kind::Sequence => database.new_epoch(),
                _ => database.pump(),
            }
        }
        database.pump();
    }

    async fn read(self, mut random: SmallRng) {
        for _ in 0..READS {
            self.time.sleep(ms(random.random_range(1..50))).await;
            match random.random_range(0..10) {
                0..6 => self.read_one(&mut random).await,
                6..8 => self.read_many(&mut random).await,
                _ => self.read_accounts().await,
            }
        }
    }

    async fn read_one(&self, random: &mut SmallRng) {
        let key = random.random_range(0..self.keys);
        let token = self.token.lock().filter(|_| random.random_ratio(1, 3));
        let bound = if random.random_ratio(1, 4) { ms(random.random_range(20..500)) } else { BOUND };
        let start = self.time.now();
        let mut read = self.world.items.read(&key).max_staleness(bound);
        if let Some((token, _)) = token {
            read = read.token(token);
        }
        let result = read.run().await;
        if random.random_ratio(1, 20) {
            return;
        }
        let answer = result.unwrap();
        self.note(key, &answer, start, self.age_at(start, &answer), bound, token.map(|(_, given)| given));
    }

    async fn read_many(&self, random: &mut SmallRng) {
        let keys: Vec<i64> = (0..self.keys).filter(|key| *key < KEYS && random.random()).collect();
        let start = self.time.now();
        let answers = self.world.items.get_many(&keys).await.unwrap();
        for (key, answer) in keys.into_iter().zip(&answers) {
            // Each is judged by itself, and then waits for the others: its age says nothing of the answer's end.
            self.note(key, answer, start, answer.receipt().age, BOUND, None);
        }
    }

    async fn read_accounts(&self) {
        let start = self.time.now();
        let answers = self.world.items.read_many(&ACCOUNTS).consistent().run().await.unwrap();
        let sum = answers.iter().filter_map(text).map(|held| held.parse::<i64>().unwrap()).sum();
        self.history.lock().sums.push(sum);
        for (key, answer) in ACCOUNTS.into_iter().zip(&answers) {
            self.note(key, answer, start, self.age_at(start, answer), BOUND, None);
        }
    }

    /// How old an answer that has just come was when its read began.
    fn age_at(&self, start: Nanos, answer: &Cached<String>) -> Duration {
        let receipt = answer.receipt();
        // What a load says is true as of the load's start, which may be after the reader's.
        let loaded = receipt.served_by == ServedBy::Source;
        let took = self.time.now().since(start);
        if loaded { receipt.age.saturating_sub(took) } else { receipt.age }
    }

    fn note(
        &self,
        key: i64,
        answer: &Cached<String>,
        start: Nanos,
        age: Duration,
        bound: Duration,
        token: Option<Nanos>,
    ) {
        let (receipt, end) = (answer.receipt(), self.time.now());
        let value = text(answer).map(str::to_owned);
        let by = receipt.served_by;
        self.history.lock().answers.push(Answer { key, value, by, start, end, age, bound, token });
    }
}
