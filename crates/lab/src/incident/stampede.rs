//! The most read key ends, and everybody goes to the database for it at once.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use trueup::Class;
use trueup_core::env::Clock;

use super::{
    Figure, Outcome, Setup, Way, counted::loads, crowd::together, node::Node, series::Watch, shelf::Shelf,
    shop::Shop,
};
use crate::{load::open::quantile, world::LabError};

const READERS: usize = 400;
/// A report that takes the database some milliseconds.
const REPORT: &str = "WITH RECURSIVE step(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM step WHERE n < 20000) \
     SELECT CAST(sum(n) AS BIGINT) + (SELECT total FROM sale WHERE day = :day) AS total FROM step";
/// The same report under a name for each reader, so that nobody finds a load to join.
const REPORT_OF_READER: &str = "WITH RECURSIVE step(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM step WHERE n < 20000) \
     SELECT CAST(sum(n) AS BIGINT) + (SELECT total FROM sale WHERE day = :day) + 0 * CAST(:reader AS BIGINT) AS total FROM step";
const LIFE: Duration = Duration::from_secs(300);
/// Loads are counted together for so long.
const STEP: Duration = Duration::from_millis(20);

#[derive(Clone, Serialize, Deserialize)]
struct Report {
    total: i64,
}

enum Cache {
    Naive(Shelf<i64>),
    Trueup { node: Node, reports: Class<i64, Report> },
    Unprotected { node: Node, reports: Class<(i64, i64), Report> },
}

pub(super) async fn run(setup: Setup, way: Way) -> Result<Outcome, LabError> {
    let shop = Shop::open(
        &setup,
        "CREATE TABLE sale (day BIGINT NOT NULL PRIMARY KEY, total BIGINT NOT NULL); INSERT INTO sale VALUES (1, 7)",
    )
    .await?;
    let class = |sql: &str, key: &str| {
        format!("[class.report]\nquery = \"{sql}\"\nrows = \"one\"\nkey = [{key}]\nscope = []\n")
    };
    let cache = match way {
        Way::Naive => Cache::Naive(Shelf::open(&setup).await?),
        Way::Protected => {
            let node = shop.trueup(&class(REPORT, "\"day\"")).await?;
            Cache::Trueup { reports: node.class("report")?, node }
        }
        Way::Unprotected => {
            let node = shop.trueup(&class(REPORT_OF_READER, "\"day\", \"reader\"")).await?;
            Cache::Unprotected { reports: node.class("report")?, node }
        }
    };
    let world = Arc::new((shop, cache));
    let (clock, readers) = (Clock::system(), setup.scaled(READERS));
    let watched = Arc::clone(&world);
    let watch = Watch::start(&clock, STEP, move || watched.1.loads(&watched.0));
    let times = together(readers, |reader| {
        let (world, clock) = (Arc::clone(&world), clock.clone());
        async move {
            let began = clock.now();
            world.1.read(&world.0, reader as i64).await?;
            Ok(clock.now().since(began))
        }
    })
    .await?;
    let series = watch.end("loads", "in 20 ms").await;
    let (shop, cache) = &*world;
    let loads = cache.loads(shop);
    if let Cache::Trueup { node, .. } | Cache::Unprotected { node, .. } = cache {
        node.shut_down().await;
    }
    let slowest = quantile(times, 0.99);
    Ok(Outcome::new(
        loads == 1,
        [
            Figure::count("readers at once", readers),
            Figure::count("loads", loads),
            Figure::millis("99 % of readers have it within", slowest),
        ],
    )
    .over_time([series]))
}

impl Cache {
    fn loads(&self, shop: &Shop) -> u64 {
        match self {
            Self::Naive(_) => shop.queries(),
            Self::Trueup { reports, .. } => loads(reports),
            Self::Unprotected { reports, .. } => loads(reports),
        }
    }

    async fn read(&self, shop: &Shop, reader: i64) -> Result<(), LabError> {
        match self {
            Self::Naive(shelf) => {
                if shelf.get("1").await?.is_none() {
                    let total = shop.query(&REPORT.replace(":day", "?1"), [1]).await?;
                    shelf.set("1", total.unwrap_or(0), LIFE).await?;
                }
            }
            Self::Trueup { reports, .. } => drop(reports.get(&1).await?),
            Self::Unprotected { reports, .. } => drop(reports.get(&(1, reader)).await?),
        }
        Ok(())
    }
}
