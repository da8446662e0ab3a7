//! What the proof costs: applying changes, checking entries, memory over ten million changes, and collisions.
//!
//! `cargo bench -p trueup-core --bench proof`.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    hint::black_box,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use criterion::{BatchSize, Criterion, Throughput};
use rand::{Rng, SeedableRng, rngs::SmallRng, seq::SliceRandom};
use rand_distr::{Distribution, Zipf};
use trueup_core::{
    entry::EpochId,
    env::{Clock, Nanos},
    limits,
    proof::{
        Ask, Buckets, Carrier, Ledger, Message, Need, Position, Proof, Seen, Snapshot, Tag, Tags,
        Transaction, Xid, XidSnapshot,
    },
};

const EPOCH: EpochId = EpochId::from_bytes([7; 16]);
const START: u64 = 1;
const TAGS_PER_CHANGE: usize = 3;
const ROWS: u64 = 1_000_000;
const ENTRIES: usize = 100_000;
const READS: usize = 1 << 16;
const FLAT_CHANGES: u64 = 10_000_000;
/// Messages between two questions to the source, each of which raises the floor.
const MESSAGES_PER_ASK: u64 = 20;
static CLASS_EPOCH: AtomicU64 = AtomicU64::new(1);

fn ledger() -> Arc<Ledger> {
    let ledger = Ledger::new(limits::BUCKETS_DEFAULT, limits::RECENT_CHANGES_MAX_DEFAULT);
    ledger.begin_epoch(EPOCH, Position(START), None);
    ledger
}

/// A feed of changes of one row each: the row's tag, the tag of its group, the table's `any`.
struct Changes {
    random: SmallRng,
    end: u64,
}

impl Changes {
    fn new() -> Self {
        Self { random: SmallRng::seed_from_u64(1), end: START }
    }

    fn message(&mut self, transactions: u64) -> Message {
        let previous = Position(self.end);
        let transactions = (0..transactions)
            .map(|_| {
                self.end += 1;
                let row = self.random.random_range(0..ROWS);
                let tags = vec![spread(row), spread(ROWS + row % 1000), Tag(1)];
                Transaction { xid: Xid(self.end), end: Position(self.end), tags }
            })
            .collect();
        Message { epoch: EPOCH, connection: 1, previous, end: Position(self.end), transactions }
    }
}

/// A tag is a hash: its bits are spread evenly.
fn spread(number: u64) -> Tag {
    Tag(number.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29))
}

fn ask(ledger: &Ledger, clock: &Clock, end: u64) {
    let at = clock.now();
    let ask = Ask { at, position: Position(end), discards: ledger.discards() };
    let next = Xid(end + 1);
    let snapshot = XidSnapshot { xmin: next, xmax: next, running: Box::default() };
    ledger.answered(EPOCH, ask, Some(&Snapshot::Xids(snapshot)));
}

fn apply(criterion: &mut Criterion) {
    let clock = Clock::system();
    let mut group = criterion.benchmark_group("apply");
    for transactions in [1, 10, 1000] {
        let (ledger, mut changes) = (ledger(), Changes::new());
        group.throughput(Throughput::Elements(transactions));
        group.bench_function(format!("{transactions} transactions of {TAGS_PER_CHANGE} tags"), |bencher| {
            let next = || {
                let message = changes.message(transactions);
                // As the questions do in service, so that `recent` does not grow for ever.
                if message.previous.0 % MESSAGES_PER_ASK < transactions {
                    ask(&ledger, &clock, message.previous.0);
                }
                message
            };
            bencher.iter_batched(next, |message| ledger.apply(&message).unwrap(), BatchSize::PerIteration);
        });
    }
    group.finish();
}

struct Entry(Proof);

impl Carrier for Entry {
    fn proof(&self) -> &Proof {
        &self.0
    }

    fn settled(self: Arc<Self>) {}
}

fn check(criterion: &mut Criterion) {
    let (ledger, clock) = (ledger(), Clock::system());
    ask(&ledger, &clock, START);
    let entry = |number: u64| {
        let tags = Tags::from_slice(&[spread(number), Tag(2)]);
        let seen =
            Seen { snapshot: Snapshot::Sequence(Position(START)), upper: Position(START), epoch: EPOCH };
        ledger.begin_load(Nanos(1), 1).admit(tags, seen, |proof| Arc::new(Entry(proof))).0
    };
    let mut entries: Vec<_> = (0..ENTRIES as u64).map(entry).collect();
    let mut random = SmallRng::seed_from_u64(2);
    entries.shuffle(&mut random);
    let zipf = Zipf::new(ENTRIES as f64, 0.99).unwrap();
    let reads: Vec<_> = (0..READS).map(|_| zipf.sample(&mut random) as usize - 1).collect();
    let need = Need { max_staleness: Duration::from_secs(3600), token: None };
    let mut group = criterion.benchmark_group("check");
    group.throughput(Throughput::Elements(READS as u64));
    group.bench_function("settled, 2 tags, Zipf 0.99 over 100 k entries", |bencher| {
        bencher.iter(|| {
            for index in &reads {
                let proof = &entries[*index].0;
                black_box(ledger.check(proof, &CLASS_EPOCH, &need, &clock)).unwrap();
            }
        });
    });
    group.finish();
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Memory after a warm-up and after ten million changes, with the floor moving and with a writer that hangs.
fn flat_memory() {
    const WARM_UP: u64 = 4_000_000;
    for hangs in [false, true] {
        let (ledger, clock, mut changes) = (ledger(), Clock::system(), Changes::new());
        let mut before = 0;
        for applied in 0..(WARM_UP + FLAT_CHANGES) / 10 {
            if applied == WARM_UP / 10 {
                before = resident_kib();
            }
            ledger.apply(&changes.message(10)).unwrap();
            if !hangs && applied % MESSAGES_PER_ASK == 0 {
                ask(&ledger, &clock, changes.end);
            }
        }
        let (after, recent) = (resident_kib(), ledger.status().recent);
        let writer = if hangs { "with a hanging writer" } else { "with the floor moving" };
        println!(
            "memory {writer}: {before} KiB, after {FLAT_CHANGES} more changes {after} KiB ({recent} held)"
        );
    }
}

/// The share of entries that nothing changed and that are unproven nevertheless, because another tag shares a bucket.
fn collisions() {
    const CHANGES_PER_SECOND: u64 = 2_000;
    const SAMPLES: u64 = 100_000;
    println!("unproven by collision alone, at {CHANGES_PER_SECOND} spread changes a second:");
    for buckets in [1_usize << 20, 4 << 20, 16 << 20] {
        let (ledger, mut random) = (Buckets::new(buckets), SmallRng::seed_from_u64(3));
        for minute in 1..=8_u64 {
            for _ in 0..CHANGES_PER_SECOND * 60 {
                ledger.raise(Tag(random.random()), Position(1));
            }
            if minute == 1 || minute == 8 {
                let lost =
                    (0..SAMPLES).filter(|_| ledger.last(Tag(random.random())) > Position::ZERO).count();
                let share = 100.0 * lost as f64 / SAMPLES as f64;
                println!("  {:2} M buckets, not read for {minute} min: {share:.1} %", buckets >> 20);
            }
        }
    }
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    apply(&mut criterion);
    check(&mut criterion);
    criterion.final_summary();
    flat_memory();
    collisions();
}
