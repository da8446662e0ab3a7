//! Entries written together end together, and their readers meet at the database in the same second.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use trueup::Class;
use trueup_core::env::Clock;

use super::{
    Figure, Outcome, Setup, Way, counted::loads, crowd::together, node::Node, series::Watch, shelf::Shelf,
    shop::Shop,
};
use crate::world::LabError;

const KEYS: usize = 1_000;
/// The one life of all entries, and how long readers go round.
const LIFE: Duration = Duration::from_millis(1_500);
const ROUNDS_FOR: Duration = Duration::from_millis(3_500);
const READERS: usize = 64;
/// What counts as "at once".
const MOMENT: Duration = Duration::from_millis(150);
const SELECT: &str = "SELECT price FROM product WHERE id = ?1";

#[derive(Clone, Serialize, Deserialize)]
struct Product {
    price: i64,
}

enum Cache {
    Naive(Shelf<i64>),
    Trueup { node: Node, products: Class<i64, Product> },
}

pub(super) async fn run(setup: Setup, way: Way) -> Result<Outcome, LabError> {
    let keys = setup.scaled(KEYS) as i64;
    let rows: Vec<String> = (0..keys).map(|id| format!("({id}, {id})")).collect();
    let schema = format!(
        "CREATE TABLE product (id BIGINT NOT NULL PRIMARY KEY, price BIGINT NOT NULL); INSERT INTO product VALUES {}",
        rows.join(", ")
    );
    let shop = Shop::open(&setup, &schema).await?;
    let cache = if way == Way::Naive {
        Cache::Naive(Shelf::open(&setup).await?)
    } else {
        let life = LIFE.as_millis();
        let mut plan = format!("[class.product]\ntable = \"product\"\nkey = [\"id\"]\nlife = \"{life}ms\"\n");
        if way == Way::Protected {
            // A machine without a free processor must not look like an avalanche.
            plan.push_str("max_staleness = \"1500ms\"\n");
        } else {
            plan.push_str(
                "jitter = \"0%\"\ninvalidation = { owner = \"nobody\", reason = \"the proof is taken out\" }\n",
            );
        }
        let node = shop.trueup(&plan).await?;
        let products = node.class("product")?;
        Cache::Trueup { node, products }
    };
    let world = Arc::new((shop, cache));
    let clock = Clock::system();
    let began = clock.now();
    // Filled first, as fast as it goes: all entries begin together.
    rounds(&world, &clock, keys, Duration::ZERO).await?;
    let filled = world.1.loads(&world.0);
    let watched = Arc::clone(&world);
    let watch = Watch::start(&clock, MOMENT, move || watched.1.loads(&watched.0));
    let left = ROUNDS_FOR.saturating_sub(clock.now().since(began));
    let read = rounds(&world, &clock, keys, left).await;
    let series = watch.end("loads", "in 150 ms").await;
    read?;
    let (shop, cache) = &*world;
    let again = cache.loads(shop) - filled;
    if let Cache::Trueup { node, .. } = cache {
        node.shut_down().await;
    }
    let busiest = series.most() as u64;
    Ok(Outcome::new(
        busiest * 10 <= keys.unsigned_abs(),
        [
            Figure::count("entries of one life", keys.unsigned_abs()),
            Figure::count("loads when it ended", again),
            Figure::share("of all in the busiest 150 ms", busiest, keys.unsigned_abs()),
        ],
    )
    .over_time([series]))
}

/// Readers go round all keys for so long, once at least.
async fn rounds(
    world: &Arc<(Shop, Cache)>,
    clock: &Clock,
    keys: i64,
    lasting: Duration,
) -> Result<(), LabError> {
    let began = clock.now();
    together(READERS, |reader| {
        let (world, clock) = (Arc::clone(world), clock.clone());
        async move {
            loop {
                for id in (reader as i64..keys).step_by(READERS) {
                    world.1.read(&world.0, id).await?;
                }
                if clock.now().since(began) >= lasting {
                    return Ok(());
                }
                tokio::task::yield_now().await;
            }
        }
    })
    .await
    .map(drop)
}

impl Cache {
    fn loads(&self, shop: &Shop) -> u64 {
        match self {
            Self::Naive(_) => shop.queries(),
            Self::Trueup { products, .. } => loads(products),
        }
    }

    async fn read(&self, shop: &Shop, id: i64) -> Result<(), LabError> {
        match self {
            Self::Naive(shelf) => {
                let key = id.to_string();
                if shelf.get(&key).await?.is_none() {
                    let price = shop.query(SELECT, [id]).await?;
                    shelf.set(&key, price.unwrap_or(0), LIFE).await?;
                }
                Ok(())
            }
            Self::Trueup { products, .. } => {
                products.get(&id).await.map(drop).map_err(|why| LabError::failed("a read", why))
            }
        }
    }
}
