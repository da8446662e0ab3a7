//! Each read goes to the shared cache, which is as far away as the database and is asked by everybody.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use trueup::Class;
use trueup_core::env::Clock;

use super::{
    Figure, Outcome, Setup, Way,
    crowd::together,
    node::Node,
    own_redis::{Client, OwnRedis},
    series::{Series, Watch},
    shop::Shop,
};
use crate::{
    load::{
        Keys,
        open::{Arrivals, Fate},
    },
    world::LabError,
};

const PRODUCTS: i64 = 1_500;
const TEXT_BYTES: usize = 200;
const READS: f64 = 1_500.0;
/// Who looks at each product once, before anybody counts.
const FIRST_READERS: usize = 32;
/// Until all has come to rest, and then the time that counts.
const FIRST: Duration = Duration::from_millis(1_000);
const THEN: Duration = Duration::from_secs(4);
/// A product changes so often.
const CHANGE_EVERY: Duration = Duration::from_millis(400);
const PATIENCE: Duration = Duration::from_secs(3);
const STEP: Duration = Duration::from_millis(250);
/// The share of reads that may reach the shared cache.
const REACH_MAX: f64 = 0.25;
const LIFE: Duration = Duration::from_secs(60);

#[derive(Clone, Serialize, Deserialize)]
struct Product {
    name: String,
}

enum Cache {
    Naive(Client),
    Trueup { node: Node, products: Class<i64, Product> },
}

struct World {
    shop: Shop,
    cache: Cache,
}

pub(super) async fn run(setup: Setup, way: Way) -> Result<Outcome, LabError> {
    let text = "x".repeat(TEXT_BYTES);
    let rows: Vec<String> = (1..=PRODUCTS).map(|id| format!("({id}, '{text}')")).collect();
    let schema = format!(
        "CREATE TABLE product (id BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL); INSERT INTO product VALUES {}",
        rows.join(", ")
    );
    let shop = Shop::open(&setup, &schema).await?;
    let redis = Arc::new(OwnRedis::start(setup.seed).await?);
    let cache = if way == Way::Naive {
        Cache::Naive(redis.client().await?)
    } else {
        let node = shop.trueup_beside(plan(way), redis.tier()).await?;
        let products = node.class("product")?;
        Cache::Trueup { node, products }
    };
    let (world, clock) = (Arc::new(World { shop, cache }), Clock::system());
    world.first_look().await?;
    let arrivals = Arrivals::new(setup.seed).at_rate(READS, FIRST).at_rate(READS, THEN);
    let keys = Arc::new(Keys::zipf(PRODUCTS, 0.99, setup.seed).take(arrivals.len()));
    let counted = Arc::clone(&redis);
    let watch = Watch::start(&clock, STEP, move || counted.asked().unwrap_or(0));
    let reads = arrivals.send(&clock, PATIENCE, |number| {
        let (world, id) = (Arc::clone(&world), keys[number]);
        async move { world.read(id).await.unwrap_or(Fate::Failed) }
    });
    let (answers, ()) = tokio::join!(reads, world.changes(setup.seed));
    let asked = watch.end("keys that Redis is asked for", "in 250 ms").await;
    if let Cache::Trueup { node, .. } = &world.cache {
        node.shut_down().await;
    }
    let latency = answers.quantiles_ms(0.99, STEP, arrivals.span());
    let steps = (FIRST.as_millis() / STEP.as_millis()) as usize;
    let reached: f64 = asked.values.iter().skip(steps).sum();
    let then = answers.only(|answer| answer.at >= FIRST);
    let per_second = reached / THEN.as_secs_f64();
    Ok(Outcome::new(
        reached <= then.len() as f64 * REACH_MAX && then.count(|fate| !fate.is_answered()) == 0,
        [
            Figure::count(READ, then.len()),
            Figure::count(ASKED, per_second as u64),
            Figure::millis(P99, then.quantile(0.99)),
            Figure::count("reads without an answer", then.count(|fate| !fate.is_answered())),
        ],
    )
    .over_time([
        asked.mark(FIRST, "counted from here"),
        Series::over_time("99 % of reads within", "ms", STEP, latency).mark(FIRST, "counted from here"),
    ]))
}

const READ: &str = "reads in four seconds";
pub(super) const ASKED: &str = "keys that Redis is asked for, a second";
pub(super) const P99: &str = "99 % of reads within";

fn plan(way: Way) -> &'static str {
    match way {
        // Room for next to nothing.
        Way::Unprotected => {
            "[class.product]\ntable = \"product\"\nkey = [\"id\"]\nl2 = true\nl1_capacity = \"16KiB\"\nvalue_bytes_max = \"1KiB\"\n"
        }
        _ => "[class.product]\ntable = \"product\"\nkey = [\"id\"]\nl2 = true\n",
    }
}

impl World {
    /// The caches of either side hold what is asked for.
    async fn first_look(self: &Arc<Self>) -> Result<(), LabError> {
        let readers = together(FIRST_READERS, |reader| {
            let world = Arc::clone(self);
            async move {
                for id in (1 + reader as i64..=PRODUCTS).step_by(FIRST_READERS) {
                    world.read(id).await?;
                }
                Ok(())
            }
        });
        readers.await.map(drop)
    }

    async fn changes(&self, seed: u64) {
        let mut keys = Keys::zipf(PRODUCTS, 0.99, seed ^ 0xC4A6);
        let times = ((FIRST + THEN).as_millis() / CHANGE_EVERY.as_millis()) as u32;
        for _ in 0..times {
            tokio::time::sleep(CHANGE_EVERY).await;
            let id = keys.draw();
            // The naive side deletes on write, as most do.
            let changed =
                self.shop.execute("UPDATE product SET name = name || '!' WHERE id = ?1", [id]).await;
            if let (Ok(_), Cache::Naive(client)) = (changed, &self.cache) {
                let _ = client.delete(&id.to_string()).await;
            }
        }
    }

    async fn read(&self, id: i64) -> Result<Fate, LabError> {
        match &self.cache {
            Cache::Naive(client) => {
                let key = id.to_string();
                if client.get(&key).await?.is_some() {
                    return Ok(Fate::Cached);
                }
                let sql = "SELECT name FROM product WHERE id = ?1";
                let name: String = self.shop.query(sql, [id]).await?.unwrap_or_default();
                client.set(&key, &name, LIFE).await?;
                Ok(Fate::Loaded)
            }
            Cache::Trueup { products, .. } => Ok(Fate::of(&products.get(&id).await)),
        }
    }
}
