//! One writer, several loaders and readers, real threads: a proof at position w never misses a change at or below w.
//!
//! The writes are the same in every run; what the threads make of them is not. The source is SQLite-like: its order is
//! its visibility.
#![allow(clippy::unwrap_used)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use arc_swap::ArcSwapOption;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use trueup_core::{
    entry::EpochId,
    env::{Clock, Nanos},
    proof::{
        Ask, Carrier, Ledger, Message, Need, Position, Proof, Seen, Snapshot, Tag, Tags, Transaction, Xid,
    },
};

const KEYS: u64 = 24;
const CHANGES: u64 = 20_000;
const READERS: u64 = 2;
/// A new epoch begins after so many changes.
const EPOCH_EVERY: u64 = 2_000;
/// So that readers get their turns on a machine with few cores.
const YIELD_EVERY: u64 = 16;
/// The writer goes on in the middle of an epoch when so many reads have been proven in it, or when it has looked so often: on a busy
/// machine it would be done before anybody else has begun.
const PROVEN_EACH: u64 = 150;
const LOOKS_MAX: u32 = 300_000;
const LOOK_EVERY: Duration = Duration::from_micros(200);
/// The clock says, in these units, how many changes had been acknowledged.
const MOMENT: u64 = 1_000_000_000;
static CLASS_EPOCH: AtomicU64 = AtomicU64::new(1);

struct Entry {
    proof: Proof,
    key: u64,
    /// The last change of the key that the load saw.
    version: u64,
}

impl Carrier for Entry {
    fn proof(&self) -> &Proof {
        &self.proof
    }

    fn settled(self: Arc<Self>) {}
}

struct World {
    ledger: Arc<Ledger>,
    clock: Clock,
    /// The highest committed (and acknowledged) change.
    committed: AtomicU64,
    epoch: AtomicU64,
    slots: Vec<ArcSwapOption<Entry>>,
    /// Positions of each key's changes, ascending: what will be written is known beforehand.
    changes: Vec<Vec<u64>>,
    done: AtomicBool,
    proven: AtomicU64,
}

fn key_of(position: u64) -> u64 {
    (position.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % KEYS
}

fn epoch(number: u64) -> EpochId {
    EpochId::from_bytes((u128::from(number) + 1).to_be_bytes())
}

impl World {
    fn new() -> Self {
        let changes = |key| (2..=CHANGES).filter(|position| key_of(*position) == key).collect();
        let ledger = Ledger::new(1024, 1000);
        ledger.begin_epoch(epoch(0), Position(1), None);
        Self {
            ledger,
            clock: Clock::stepped(),
            committed: AtomicU64::new(1),
            epoch: AtomicU64::new(0),
            slots: (0..KEYS).map(|_| ArcSwapOption::empty()).collect(),
            changes: (0..KEYS).map(changes).collect(),
            done: AtomicBool::new(false),
            proven: AtomicU64::new(0),
        }
    }

    /// The last change of `key` at or below `position`, and the first above.
    fn around(&self, key: u64, position: u64) -> (u64, u64) {
        let changes = &self.changes[key as usize];
        let index = changes.partition_point(|change| *change <= position);
        (index.checked_sub(1).map_or(0, |i| changes[i]), changes.get(index).copied().unwrap_or(u64::MAX))
    }

    fn write(&self) {
        for position in 2..=CHANGES {
            self.committed.store(position, Ordering::SeqCst);
            let number = self.epoch.load(Ordering::SeqCst);
            let (previous, end) = (Position(position - 1), Position(position));
            let transactions = vec![Transaction { xid: Xid(0), end, tags: vec![Tag(key_of(position))] }];
            let message = Message { epoch: epoch(number), connection: 1, previous, end, transactions };
            self.ledger.apply(&message).unwrap();
            if position.is_multiple_of(YIELD_EVERY) {
                thread::yield_now();
            }
            if position % EPOCH_EVERY == EPOCH_EVERY / 2 {
                self.await_readers((number + 1) * PROVEN_EACH);
            }
            if position.is_multiple_of(EPOCH_EVERY) {
                self.epoch.store(number + 1, Ordering::SeqCst);
                self.ledger.begin_epoch(epoch(number + 1), end, None);
            }
        }
        self.done.store(true, Ordering::SeqCst);
    }

    fn await_readers(&self, proven: u64) {
        let mut looks = 0;
        while self.proven.load(Ordering::Relaxed) < proven && looks < LOOKS_MAX {
            thread::sleep(LOOK_EVERY);
            looks += 1;
        }
    }

    fn ask(&self) {
        while !self.done.load(Ordering::SeqCst) {
            let discards = self.ledger.discards();
            let position = self.committed.load(Ordering::SeqCst);
            // The moment just after the acknowledgement of `position`.
            let ask = Ask { at: Nanos(MOMENT + position + 1), position: Position(position), discards };
            let number = self.epoch.load(Ordering::SeqCst);
            self.ledger.answered(epoch(number), ask, Some(&Snapshot::Sequence(Position(position))));
            thread::yield_now();
        }
    }

    fn load_and_read(&self, seed: u64) {
        let mut random = SmallRng::seed_from_u64(seed);
        while !self.done.load(Ordering::SeqCst) {
            let key = random.random_range(0..KEYS);
            let slot = &self.slots[key as usize];
            let entry = slot.load_full();
            if entry.is_none_or(|entry| !self.read(&entry)) {
                slot.store(Some(self.load(key)));
            }
        }
    }

    fn load(&self, key: u64) -> Arc<Entry> {
        let load = self.ledger.begin_load(Nanos(1), 1);
        let number = self.epoch.load(Ordering::SeqCst);
        let position = self.committed.load(Ordering::SeqCst);
        let (version, _) = self.around(key, position);
        let snapshot = Snapshot::Sequence(Position(position));
        let upper = Position(self.committed.load(Ordering::SeqCst));
        let seen = Seen { snapshot, upper, epoch: epoch(number) };
        let tags = Tags::from_slice(&[Tag(key)]);
        load.admit(tags, seen, |proof| Arc::new(Entry { proof, key, version })).0
    }

    /// Whether the entry is proven; if so, it reflects everything that it is said to.
    fn read(&self, entry: &Entry) -> bool {
        let need = Need { max_staleness: Duration::from_secs(3600), token: None };
        let Ok(proven) = self.ledger.check(&entry.proof, &CLASS_EPOCH, &need, &self.clock) else {
            return false;
        };
        let (_, next) = self.around(entry.key, entry.version);
        assert!(
            next > proven.at.0,
            "version {} is proven at {:?}, but {next} changed it",
            entry.version,
            proven
        );
        // Acknowledged before the moment: every position below it.
        assert!(
            MOMENT.saturating_add(next) >= proven.moment.0,
            "{next} was acknowledged before {:?}",
            proven
        );
        self.proven.fetch_add(1, Ordering::Relaxed);
        true
    }
}

#[test]
fn readers_beside_a_writer_never_prove_what_has_changed() {
    let world = World::new();
    thread::scope(|scope| {
        scope.spawn(|| world.write());
        scope.spawn(|| world.ask());
        for seed in 0..READERS {
            let world = &world;
            scope.spawn(move || world.load_and_read(seed));
        }
    });
    let proven = world.proven.load(Ordering::Relaxed);
    assert!(proven > 1000, "only {proven} reads were proven");
    let status = world.ledger.status();
    assert_eq!(status.unsettled, 0);
}
