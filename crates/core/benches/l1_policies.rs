//! What a hit in the memory tier costs under each policy, beside bare `quick_cache`.
//!
//! 100 k resident entries are read in a Zipf 0.99 order. `1` and `2` are the threads; with two, the time is that of
//! one thread's read while the other reads too.

#![expect(clippy::expect_used, reason = "a benchmark has nobody to report to")]

use std::{
    hint::black_box,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use compact_str::CompactString;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rand::{SeedableRng, distr::Distribution, rngs::StdRng};
use rand_distr::Zipf;
use trueup_core::tier::{MemoryConfig, MemoryTier, Policy, Uses, Weighed};

/// Entries held, all of them: every read is a hit.
const RESIDENT: usize = 100_000;
/// Skew of the reads.
const ZIPF_EXPONENT: f64 = 0.99;
/// Room for all of them with half as much to spare, in bytes.
const CAPACITY_BYTES: usize = 64 << 20;
/// Length of the recorded order of reads; a power of two.
const READS: usize = 1 << 20;
/// Value of an entry, in bytes.
const VALUE_BYTES: usize = 256;

struct Entry {
    key: CompactString,
    uses: Uses,
    value: [u8; VALUE_BYTES],
}

impl Weighed for Entry {
    fn weight(&self) -> usize {
        size_of::<Self>()
    }

    fn key(&self) -> &str {
        &self.key
    }

    fn uses(&self) -> &Uses {
        &self.uses
    }
}

fn key(number: usize) -> String {
    format!("products:sku-{number:08}")
}

fn entry(number: usize) -> Arc<Entry> {
    Arc::new(Entry { key: key(number).into(), uses: Uses::default(), value: [number as u8; VALUE_BYTES] })
}

/// The keys in the order they are read, each thread starting elsewhere.
fn reads() -> Vec<String> {
    let zipf = Zipf::new(RESIDENT as f64, ZIPF_EXPONENT).expect("a valid distribution");
    let mut random = StdRng::seed_from_u64(1);
    (0..READS).map(|_| key(zipf.sample(&mut random) as usize - 1)).collect()
}

/// Time of `rounds` reads by each of `threads` threads at once.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures with the system's clock")]
fn timed(threads: usize, rounds: u64, reads: &[String], hit: &(impl Fn(&str) -> u8 + Sync)) -> Duration {
    let begin = Instant::now();
    thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                let offset = thread * READS / threads;
                for round in 0..rounds as usize {
                    black_box(hit(&reads[(round + offset) & (READS - 1)]));
                }
            });
        }
    });
    begin.elapsed()
}

fn compare(criterion: &mut Criterion) {
    let reads = reads();
    let mut group = criterion.benchmark_group("l1_hit");
    group.throughput(Throughput::Elements(1)).sample_size(20);
    for threads in [1, 2] {
        let bare = quick_cache::sync::Cache::<String, Arc<Entry>>::new(RESIDENT * 2);
        (0..RESIDENT).for_each(|number| bare.insert(key(number), entry(number)));
        let hit = |key: &str| bare.get(key).expect("resident").value[0];
        group.bench_function(format!("quick_cache/{threads}"), |bencher| {
            bencher.iter_custom(|rounds| timed(threads, rounds, &reads, &hit));
        });
        for policy in Policy::ALL {
            let tier = MemoryTier::new(&MemoryConfig::new(CAPACITY_BYTES).with_policy(policy));
            (0..RESIDENT).for_each(|number| assert!(tier.insert(entry(number)).is_stored()));
            let hit = |key: &str| tier.get(key).expect("resident").value[0];
            group.bench_function(format!("{policy}/{threads}"), |bencher| {
                bencher.iter_custom(|rounds| timed(threads, rounds, &reads, &hit));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, compare);
criterion_main!(benches);
