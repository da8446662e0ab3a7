//! A search whose combinations of parameters never end: what is kept, with admission and without, at the same memory.
//!
//! The combinations are drawn as a real site's requests are: rank and frequency of the 1,498 addresses in 10,000 requests of a
//! public access log (the sample log of Elastic's examples) fit a Zipf law with exponent 1.02.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail their test"
)]

use std::{num::NonZeroU32, sync::Arc};

use bytes::Bytes;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use rand_distr::{Distribution, Zipf};
use trueup_core::{
    apply::Feed,
    cache::{Cache, CacheBuilder},
    class::{AdmissionPlan, ClassPlan},
    entry::{EpochId, Raw},
    env::{BoxFuture, Clock},
    key::{ColumnForm, KeyForm, Part},
    proof::{Ask, Position, Seen, Snapshot, Tag, Tags, Token},
    read::Class,
    receipt::ServedBy,
    source::{LoadError, Loaded, LoadedMany, Loader, Source},
};

const COMBINATIONS: f64 = 120_000.0;
const EXPONENT: f64 = 1.02;
const KEPT_MAX: u32 = 18_000;
const EPOCH: EpochId = EpochId::from_bytes([9; 16]);
const HERE: Position = Position(100);
/// Bytes of one page of results.
const PAGE_BYTES: usize = 600;

/// A shop in which nothing changes.
struct Shop;

impl Source for Shop {
    fn describe(&self) -> String {
        "a shop".into()
    }

    fn follow(self: Arc<Self>, feed: Feed) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            feed.begin_epoch(EPOCH, HERE, None);
            let ask = Ask { at: feed.clock().now(), position: HERE, discards: feed.discards() };
            feed.answered(EPOCH, ask, Some(&Snapshot::Sequence(HERE)));
            feed.until_stopped().await;
        })
    }

    fn token(&self) -> BoxFuture<'_, Result<Token, LoadError>> {
        Box::pin(async { Ok(Token { epoch: EPOCH, position: HERE }) })
    }

    fn invalidate<'a>(&'a self, _: &'a [Tag]) -> BoxFuture<'a, Result<Token, LoadError>> {
        self.token()
    }
}

struct Search;

impl Loader<i64, Raw> for Search {
    fn load<'a>(&'a self, _: &'a i64) -> BoxFuture<'a, Result<Loaded<Raw>, LoadError>> {
        let seen = Seen { snapshot: Snapshot::Sequence(HERE), upper: HERE, epoch: EPOCH };
        let value = Some(Raw(Bytes::from(vec![b'x'; PAGE_BYTES])));
        Box::pin(async { Ok(Loaded { value, tags: Tags::from_slice(&[Tag::any("product")]), seen }) })
    }

    fn load_many<'a>(&'a self, _: &'a [i64]) -> BoxFuture<'a, Result<LoadedMany<Raw>, LoadError>> {
        Box::pin(async { Err(LoadError::Lost) })
    }
}

/// A class with the memory of 18,000 pages, whoever decides which.
async fn search_class(admission: Option<AdmissionPlan>) -> (Cache, Class<i64, Raw>) {
    let (_cache, roomy) = class(1 << 20, None).await;
    roomy.get(&1).await.unwrap();
    class(KEPT_MAX as usize * roomy.memory().weight(), admission).await
}

async fn class(bytes: usize, admission: Option<AdmissionPlan>) -> (Cache, Class<i64, Raw>) {
    let cache = CacheBuilder::new(Arc::new(Shop)).clock(Clock::stepped()).buckets(1 << 10).start();
    cache.ready().await;
    let mut plan = ClassPlan::display("search")
        .query("SELECT 1 WHERE 1 = :id")
        .key(["id"])
        .same_for_everyone()
        .l1_capacity_bytes(bytes);
    if let Some(admission) = admission {
        plan = plan.admission(admission);
    }
    let plan = plan.build().unwrap().cacheable().unwrap().clone();
    let form = KeyForm::columns([Part::new("id", ColumnForm::Integer)]).unwrap();
    (cache.clone(), cache.class(plan, form, Arc::new(Search)).unwrap())
}

struct Figures {
    hit_ratio: f64,
    later_hit_ratio: f64,
    kept_most: usize,
    stored: u64,
}

async fn play(requests: u32, admission: Option<AdmissionPlan>) -> Figures {
    let (_cache, class) = search_class(admission).await;
    let mut random = SmallRng::seed_from_u64(2026);
    let popularity = Zipf::new(COMBINATIONS, EXPONENT).unwrap();
    let (mut hits, mut later_hits, mut kept_most) = (0_u32, 0_u32, 0);
    for number in 0..requests {
        let combination = popularity.sample(&mut random) as i64;
        let hit = class.get(&combination).await.unwrap().receipt().served_by == ServedBy::L1;
        hits += u32::from(hit);
        later_hits += u32::from(hit && number >= requests / 2);
        if random.random_ratio(1, 1_000) {
            kept_most = kept_most.max(class.memory().len());
        }
    }
    let counts = class.stats().counts();
    let loads: u64 = counts.loads.iter().map(|(_, loads)| loads.count()).sum();
    let refused: u64 = counts.rejected.iter().map(|(_, count)| count).sum();
    Figures {
        hit_ratio: f64::from(hits) / f64::from(requests),
        later_hit_ratio: f64::from(later_hits) / f64::from(requests / 2),
        kept_most: kept_most.max(class.memory().len()),
        stored: loads - refused,
    }
}

fn admission() -> Option<AdmissionPlan> {
    Some(AdmissionPlan::new(NonZeroU32::new(KEPT_MAX).unwrap()))
}

#[tokio::test]
#[ignore = "a figure: a minute"]
async fn search_at_the_same_memory() {
    println!(
        "| 120,000 combinations, 600,000 searches | keys kept at most | stored | hit ratio | of the second half |"
    );
    println!("|---|---|---|---|---|");
    for (title, plan) in [("every key is kept", None), ("admission", admission())] {
        let figures = play(600_000, plan).await;
        println!(
            "| {title} | {} | {} | {:.2} % | {:.2} % |",
            figures.kept_most,
            figures.stored,
            figures.hit_ratio * 100.0,
            figures.later_hit_ratio * 100.0
        );
    }
}

#[tokio::test]
async fn fewer_keys_are_stored_and_no_more_kept_than_the_plan_says() {
    let (all, some) = (play(120_000, None).await, play(120_000, admission()).await);
    assert!(some.kept_most <= KEPT_MAX as usize, "{}", some.kept_most);
    assert!(some.stored < all.stored, "{} of {}", some.stored, all.stored);
    assert!(some.hit_ratio > all.hit_ratio - 0.01, "{} and {}", some.hit_ratio, all.hit_ratio);
}
