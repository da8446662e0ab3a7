//! What the engine's own part of a fill costs: the miss, the flight, the proof, memory and what leaves it, around a source that
//! answers at once.
//!
//! `cargo bench -p trueup-core --bench fill`. Warm, one fill follows the other; cold, more memory than the second cache holds is
//! written in between, as a database on the same processor would. What counts is the ratio to another build, in turns.
//! Then beside threads that have read: whoever changes the index looks through what each thread has noted, and a fill that nobody
//! reads is to change it not at all.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

mod still;

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use mimalloc::MiMalloc;
use trueup_core::{
    cache::CacheBuilder,
    class::ClassPlan,
    entry::Raw,
    key::{ColumnForm, KeyForm, Part},
    read::Class,
};

use still::{KEYS, Still, VALUE_BYTES};

/// The allocator of the `trueup` command.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Few enough that nearly each fill has another entry leave.
const L1_BYTES: usize = 256 << 10;
const WARM_FILLS: usize = 200_000;
const COLD_FILLS: usize = 3_000;
/// Written before each cold fill.
const WRITTEN_BYTES: usize = 8 << 20;
const LINE_BYTES: usize = 64;
/// Threads that have read, in turn.
const READERS: [usize; 3] = [8, 32, 64];

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let cache = CacheBuilder::new(Arc::new(Still)).start();
        cache.ready().await;
        let plan = ClassPlan::display("item").table("item").key(["id"]).same_for_everyone();
        let plan = plan
            .max_staleness(Duration::from_secs(3600))
            .value_bytes_max(64 << 10)
            .l1_capacity_bytes(L1_BYTES);
        let form = KeyForm::columns([Part::new("id", ColumnForm::Integer)]).unwrap();
        let plan = plan.build().unwrap().cacheable().unwrap().clone();
        let class: Class<i64, Raw> = cache.class(plan, form, Arc::new(Still)).unwrap();
        let lines: Vec<AtomicU64> =
            (0..WRITTEN_BYTES / size_of::<u64>()).map(|_| AtomicU64::new(0)).collect();
        let mut keys = (0..KEYS as i64).cycle();
        let warm = fill(&class, keys.by_ref().take(WARM_FILLS), || ()).await;
        let cold = fill(&class, keys.by_ref().take(COLD_FILLS), || {
            let each = lines.iter().step_by(LINE_BYTES / size_of::<u64>());
            each.for_each(|line| line.store(1, Ordering::Relaxed));
        });
        let cold = cold.await;
        println!(
            "a fill of {VALUE_BYTES} bytes by the engine alone: warm {warm} ns, cold {cold} ns (medians)"
        );
        let mut readers = Vec::new();
        for threads in READERS {
            while readers.len() < threads {
                readers.push(Reader::start(&class));
            }
            let warm = fill(&class, keys.by_ref().take(WARM_FILLS), || ()).await;
            println!("  beside {threads} threads that have read: warm {warm} ns");
        }
        drop(readers);
        cache.shut_down().await;
    });
}

/// A thread that has read once, and stays.
struct Reader(Option<(mpsc::Sender<()>, JoinHandle<()>)>);

impl Reader {
    fn start(class: &Class<i64, Raw>) -> Self {
        let ((stay, leave), (has_read, read)) = (mpsc::channel(), mpsc::channel());
        let class = class.clone();
        let thread = thread::spawn(move || {
            // The key filled last is there.
            let found = (0..KEYS as i64).rev().find_map(|key| class.peek(&key).unwrap());
            assert!(found.is_some(), "something is in memory");
            has_read.send(()).unwrap();
            let _: Result<(), _> = leave.recv();
        });
        read.recv().unwrap();
        Self(Some((stay, thread)))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some((stay, thread)) = self.0.take() {
            drop(stay);
            thread.join().unwrap();
        }
    }
}

/// The median of so many fills, in nanoseconds.
async fn fill(class: &Class<i64, Raw>, keys: impl Iterator<Item = i64>, before: impl Fn()) -> u128 {
    let mut spans = Vec::new();
    for key in keys {
        before();
        let began = Instant::now();
        let answer = class.get(&key).await.unwrap();
        spans.push(began.elapsed().as_nanos());
        assert!(black_box(answer).receipt().miss.is_some(), "every read is a fill");
    }
    spans.sort_unstable();
    spans[spans.len() / 2]
}
