//! What a proven hit costs beside the bare `get` of two well-known caches, on the same keys and values, of a class as it is by
//! default and of one with every mechanism switched on.
//!
//! `cargo bench -p trueup-core --bench l1_hit`. Rounds of the four are interleaved, so that a machine that slows down
//! slows all of them; what counts is the ratio of medians.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

mod still;

use std::{
    hint::black_box,
    num::{NonZeroU32, NonZeroU64},
    sync::{Arc, Barrier},
    time::{Duration, Instant},
};

use mimalloc::MiMalloc;
use rand::{SeedableRng, rngs::SmallRng, seq::SliceRandom};
use rand_distr::{Distribution, Zipf};
use trueup_core::{
    cache::{Cache, CacheBuilder},
    class::{
        AdmissionPlan, Bloom, ClassPlan, ClassPlanBuilder, ColdStart, Fallback, Measurement, Priority,
        Stampede, StampedeScope, Strategy,
    },
    entry::{KeyRing, Raw},
    env::Clock,
    key::{ColumnForm, KeyForm, Part},
    read::Class,
    tier::testing::RemoteDouble,
};

use still::{KEYS, Still, VALUE_BYTES};

/// The allocator of the `trueup` command.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const RESIDENT: usize = 100_000;
const READS: usize = 1 << 20;
const ROUNDS: usize = 15;

fn main() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let reads = resident_reads();
    let clock = Clock::system();
    let (cache, class) = runtime.block_on(open(CacheBuilder::new(Arc::new(Still)), plan(), &reads));
    let builder = CacheBuilder::new(Arc::new(Still))
        .remote(Arc::new(RemoteDouble::new(clock, 1)), KeyRing::generate().unwrap())
        .online_checks(true);
    let (cache_of_all, class_with_all) = runtime.block_on(open(builder, with_all(plan()), &reads));
    let quick = quick_cache::sync::Cache::new(RESIDENT * 2);
    let moka = moka::sync::Cache::new(2 * RESIDENT as u64);
    for &key in &reads {
        let value = Arc::new(vec![b'x'; VALUE_BYTES]);
        quick.insert(key, Arc::clone(&value));
        moka.insert(key, value);
    }
    moka.run_pending_tasks();

    println!(
        "| threads | bare quick_cache ns | bare moka ns | trueup proven hit ns | / quick_cache | / moka \
         | all switched on ns | / quick_cache | / moka | / proven hit |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for threads in [1, 2] {
        let mut samples = [const { Vec::new() }; 4];
        for _ in 0..ROUNDS {
            samples[0].push(round(&reads, threads, |key| quick.get(key).is_some()));
            samples[1].push(round(&reads, threads, |key| moka.get(key).is_some()));
            samples[2].push(round(&reads, threads, |key| class.peek(key).unwrap().is_some()));
            samples[3].push(round(&reads, threads, |key| class_with_all.peek(key).unwrap().is_some()));
        }
        let [quick_ns, moka_ns, trueup_ns, all_ns] = samples.map(median);
        println!(
            "| {threads} | {quick_ns:.0} | {moka_ns:.0} | {trueup_ns:.0} | {:.2} | {:.2} | {all_ns:.0} | {:.2} | {:.2} | {:.2} |",
            trueup_ns / quick_ns,
            trueup_ns / moka_ns,
            all_ns / quick_ns,
            all_ns / moka_ns,
            all_ns / trueup_ns,
        );
    }
    runtime.block_on(cache.shut_down());
    runtime.block_on(cache_of_all.shut_down());
}

/// Keys of a Zipf 0.99 stream over a million, those outside the first hundred thousand distinct ones left out.
fn resident_reads() -> Vec<i64> {
    let mut random = SmallRng::seed_from_u64(1);
    let zipf = Zipf::new(KEYS as f64, 0.99).unwrap();
    let mut names: Vec<i64> = (0..KEYS as i64).collect();
    names.shuffle(&mut random);
    let mut resident = std::collections::HashSet::new();
    let mut reads = Vec::with_capacity(READS);
    while reads.len() < READS {
        let key = names[zipf.sample(&mut random) as usize - 1];
        if resident.contains(&key) || (resident.len() < RESIDENT && resident.insert(key)) {
            reads.push(key);
        }
    }
    reads
}

/// A class as it is unless more is asked for.
fn plan() -> ClassPlanBuilder {
    ClassPlan::display("item")
        .table("item")
        .key(["id"])
        .same_for_everyone()
        .max_staleness(Duration::from_secs(3600))
        .l1_capacity_bytes(256 << 20)
}

/// The same with all that protects its source and its readers, shared with other nodes, and checked against the source.
fn with_all(plan: ClassPlanBuilder) -> ClassPlanBuilder {
    let loads_max = NonZeroU32::new(64).unwrap();
    plan.stampede(Stampede {
        strategy: Strategy::Early { beta: 1.0 },
        scope: StampedeScope::Fleet,
        loads_max,
    })
    .l2()
    .cold_start(ColdStart::Warm { keys_max: NonZeroU32::new(1_000).unwrap() })
    .measurement(Measurement { hit_rate_floor: Some(0.5), ..Measurement::default() })
    .priority(Priority::Critical)
    .fallback(Fallback::LastKnownGood)
    .serve_stale(Duration::from_secs(2 * 3600))
    .soft_timeout(Duration::from_millis(100))
    .bloom(Bloom::new(NonZeroU64::new(KEYS).unwrap()))
    .admission(AdmissionPlan::new(NonZeroU32::new(2 * RESIDENT as u32).unwrap()))
}

/// A cache that holds what is read.
async fn open(builder: CacheBuilder, plan: ClassPlanBuilder, reads: &[i64]) -> (Cache, Class<i64, Raw>) {
    let cache = builder.start();
    cache.ready().await;
    let plan = plan.build().unwrap();
    let form = KeyForm::columns([Part::new("id", ColumnForm::Integer)]).unwrap();
    let class = cache.class(plan.cacheable().unwrap().clone(), form, Arc::new(Still)).unwrap();
    for key in reads {
        class.get(key).await.unwrap();
    }
    (cache, class)
}

/// Nanoseconds per read, each thread reading the whole list from its own place.
fn round(reads: &[i64], threads: usize, hit: impl Fn(&i64) -> bool + Sync) -> f64 {
    let start = Barrier::new(threads + 1);
    let done = Barrier::new(threads + 1);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (start, done, hit) = (&start, &done, &hit);
            scope.spawn(move || {
                let (later, first) = reads.split_at(thread * reads.len() / threads);
                start.wait();
                let hits = first.iter().chain(later).filter(|key| hit(black_box(key))).count();
                done.wait();
                assert_eq!(hits, reads.len(), "every read is a hit");
            });
        }
        start.wait();
        let started = Instant::now();
        done.wait();
        started.elapsed().as_nanos() as f64 / reads.len() as f64
    })
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}
