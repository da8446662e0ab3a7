//! How long it takes from a commit to its application on each node, and until its writer's token is honoured from memory:
//! measurements, not tests.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use trueup_core::{
    apply::{DELAY_BOUNDS_US, StageDelays},
    env::{Clock, spawn},
    proof::{Carrier, Need, Position, Proof, Seen, Snapshot, Tags, Token, Unproven},
    source::Source as _,
};

use crate::{
    fleet::{Member, TABLE, three},
    support::{row, server, session},
};

const WRITERS: u32 = 4;
const WRITES_EACH: u32 = 2500;
/// Of each writer, so that all of them make 2,000 changes a second.
const PAUSE: Duration = Duration::from_millis(2);
/// One write in so many is followed by reads with its token.
const SAMPLED_ONE_IN: u32 = 5;
/// When a token is used, counted from the acknowledgement of its write.
const AGES_MS: [u64; 4] = [2, 5, 10, 20];
/// Writes of somebody who is alone, and the pause between them.
const LONELY_WRITES: u32 = 100;
const LONELY_PAUSE: Duration = Duration::from_millis(130);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: cargo test --release -p trueup --all-features --test postgres_feed delay -- --ignored --nocapture"]
async fn delay_from_commit_to_application() {
    let server = server(TABLE);
    let members = three(&server).await;
    let mut writers = Vec::new();
    for id in 1..=WRITERS {
        let client = session(&server).await;
        writers.push(spawn("a writer", async move {
            let mut ticks = tokio::time::interval(PAUSE);
            for _ in 0..WRITES_EACH {
                ticks.tick().await;
                client.execute(&format!("UPDATE t SET v = 'w' WHERE id = {id}"), &[]).await.unwrap();
            }
        }));
    }
    for writer in writers {
        writer.ended().await;
    }
    for member in &members {
        member.node.caught_up().await;
        println!("{:?}", member.node.postgres.feed_state().role);
        let stats = &member.node.stats;
        for (stage, delays) in
            [("commit to feed", &stats.to_feed), ("feed to node", &stats.to_node), ("whole", &stats.applied)]
        {
            println!("  {stage:15}{}", shares(delays));
        }
    }
}

/// The share of transactions within each bound.
fn shares(delays: &StageDelays) -> String {
    let counts = delays.counts();
    let all = counts.iter().sum::<u64>().max(1) as f64;
    let mut sum = 0;
    let bounds = DELAY_BOUNDS_US.iter().zip(&counts).filter_map(|(bound_us, count)| {
        sum += count;
        (*count > 0)
            .then(|| format!("<= {} ms: {:.2} %", *bound_us as f64 / 1000.0, 100.0 * sum as f64 / all))
    });
    bounds.collect::<Vec<_>>().join(", ")
}

/// An entry of a row that nobody writes: only a token can keep it from being served.
struct Entry(Proof);

impl Carrier for Entry {
    fn proof(&self) -> &Proof {
        &self.0
    }

    fn settled(self: Arc<Self>) {}
}

/// A member with an entry in memory, and what became of reads of it.
struct Reader {
    member: Member,
    entry: Arc<Entry>,
    clock: Clock,
    /// Of reads whose token had each of the ages: those that were sent to the source because of the token alone.
    bypassed: [AtomicU64; AGES_MS.len()],
    others: AtomicU64,
    reads: AtomicU64,
}

static CLASS_EPOCH: AtomicU64 = AtomicU64::new(1);

impl Reader {
    async fn of(member: Member, server: &trueup_testbed::Postgres) -> Self {
        let (node, clock, client) = (&member.node, Clock::system(), session(server).await);
        let load = node.ledger.begin_load(clock.now(), 1);
        let shown = client.query_one("SELECT pg_current_snapshot()::text", &[]).await.unwrap();
        let snapshot = Snapshot::Xids(shown.get::<_, &str>(0).parse().unwrap());
        let after = node.postgres.token().await.unwrap();
        let seen = Seen { snapshot, upper: after.position, epoch: after.epoch };
        let tags: Tags = [row("t", "1000")].into_iter().collect();
        let (entry, kept) = load.admit(tags, seen, |proof| Arc::new(Entry(proof)));
        kept.unwrap();
        let (bypassed, others, reads) = Default::default();
        Self { member, entry, clock, bypassed, others, reads }
    }

    /// A read as the engine makes it.
    fn read(&self, token: Token, age: usize) {
        let node = &self.member.node;
        assert_eq!(node.ledger.epoch(), Some(token.epoch));
        let need = Need { max_staleness: Duration::from_secs(1), token: Some(token.position) };
        self.reads.fetch_add(1, Ordering::Relaxed);
        match node.ledger.check(&self.entry.0, &CLASS_EPOCH, &need, &self.clock) {
            Ok(_) => {}
            Err(Unproven::TokenAhead) => {
                self.bypassed[age].fetch_add(1, Ordering::Relaxed);
                node.feed.wish(token.position);
            }
            Err(_) => _ = self.others.fetch_add(1, Ordering::Relaxed),
        }
    }

    fn show(&self) {
        let reads = self.reads.load(Ordering::Relaxed).max(1) as f64 / AGES_MS.len() as f64;
        let share = |(age, count): (&u64, &AtomicU64)| {
            format!("after {age} ms: {:.2} %", 100.0 * count.load(Ordering::Relaxed) as f64 / reads)
        };
        let shares: Vec<_> = AGES_MS.iter().zip(&self.bypassed).map(share).collect();
        let others = self.others.load(Ordering::Relaxed);
        let role = self.member.node.postgres.feed_state().role;
        println!("{role:?}: {}; for another reason: {others}", shares.join(", "));
    }
}

/// Writes one by one; reads with the token of some of them on every node, at every age.
async fn write_and_read(
    server: &trueup_testbed::Postgres,
    readers: &Arc<Vec<Reader>>,
    id: u32,
    writes: u32,
    pause: Duration,
    sampled_one_in: u32,
) {
    let client = session(server).await;
    let epoch = readers[0].member.node.ledger.epoch().unwrap();
    let mut ticks = tokio::time::interval(pause);
    let mut samples = Vec::new();
    for number in 0..writes {
        ticks.tick().await;
        client.execute(&format!("UPDATE t SET v = 'w' WHERE id = {id}"), &[]).await.unwrap();
        if number % sampled_one_in != 0 {
            continue;
        }
        let clock = Clock::system();
        let acknowledged = clock.now();
        let position: tokio_postgres::types::PgLsn =
            client.query_one("SELECT pg_current_wal_insert_lsn()", &[]).await.unwrap().get(0);
        let token = Token { epoch, position: Position(position.into()) };
        let readers = Arc::clone(readers);
        samples.push(spawn("readers", async move {
            for (index, age) in AGES_MS.iter().enumerate() {
                let age = Duration::from_millis(*age).saturating_sub(clock.now().since(acknowledged));
                tokio::time::sleep(age).await;
                readers.iter().for_each(|reader| reader.read(token, index));
            }
        }));
    }
    for sample in samples {
        sample.ended().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: cargo test --release -p trueup --all-features --test postgres_feed tokens -- --ignored --nocapture"]
async fn tokens_are_honoured_from_memory() {
    let server = Arc::new(server(TABLE));
    let mut readers = Vec::new();
    for member in three(&server).await {
        readers.push(Reader::of(member, &server).await);
    }
    let readers = Arc::new(readers);
    let mut writers = Vec::new();
    for id in 1..=WRITERS {
        let (server, readers) = (Arc::clone(&server), Arc::clone(&readers));
        writers.push(spawn("a writer", async move {
            write_and_read(&server, &readers, id, WRITES_EACH, PAUSE, SAMPLED_ONE_IN).await;
        }));
    }
    for writer in writers {
        writer.ended().await;
    }
    println!("sent to the source for the token alone, at 2,000 changes a second");
    readers.iter().for_each(Reader::show);
    let take = |count: &AtomicU64| count.store(0, Ordering::Relaxed);
    for reader in readers.iter() {
        reader.bypassed.iter().chain([&reader.reads, &reader.others]).for_each(take);
    }
    write_and_read(&server, &readers, 1, LONELY_WRITES, LONELY_PAUSE, 1).await;
    println!("the same while one program writes about 8 times a second");
    readers.iter().for_each(Reader::show);
}
