//! The most read key ends, and everybody goes to the database for it at once.

use std::{sync::Arc, time::Duration};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use trueup::Class;
use trueup_core::env::Clock;

use super::{Figure, Outcome, Setup, Way, crowd::together, node::Node, shelf::Shelf, shop::Shop};
use crate::world::LabError;

const READERS: usize = 400;
/// A report that takes the database some milliseconds.
const REPORT: &str = "WITH RECURSIVE step(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM step WHERE n < 20000) \
     SELECT CAST(sum(n) AS BIGINT) + (SELECT total FROM sale WHERE day = :day) AS total FROM step";
/// The same report under a name for each reader, so that nobody finds a load to join.
const REPORT_OF_READER: &str = "WITH RECURSIVE step(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM step WHERE n < 20000) \
     SELECT CAST(sum(n) AS BIGINT) + (SELECT total FROM sale WHERE day = :day) + 0 * CAST(:reader AS BIGINT) AS total FROM step";
const LIFE: Duration = Duration::from_secs(300);

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
    let times = together(readers, |reader| {
        let (world, clock) = (Arc::clone(&world), clock.clone());
        async move {
            let began = clock.now();
            world.1.read(&world.0, reader as i64).await?;
            Ok(clock.now().since(began))
        }
    })
    .await?;
    let (shop, cache) = &*world;
    let loads = match cache {
        Cache::Naive(_) => shop.queries(),
        Cache::Trueup { node, reports } => {
            node.shut_down().await;
            loads(reports)
        }
        Cache::Unprotected { node, reports } => {
            node.shut_down().await;
            loads(reports)
        }
    };
    let slowest = quantile(&times, 0.99)?;
    Ok(Outcome::new(
        loads == 1,
        [
            Figure::count("readers at once", readers),
            Figure::count("loads", loads),
            Figure::millis("99 % of readers have it within", slowest),
        ],
    ))
}

fn loads<K>(reports: &Class<K, Report>) -> u64 {
    reports.stats().counts().loads.iter().map(|(_, times)| times.count()).sum()
}

fn quantile(times: &[Duration], at: f64) -> Result<Duration, LabError> {
    let failed = |why: &dyn std::fmt::Display| LabError::failed("the histogram", why);
    let mut histogram = Histogram::<u64>::new(3).map_err(|why| failed(&why))?;
    for time in times {
        histogram.record(time.as_micros() as u64).map_err(|why| failed(&why))?;
    }
    Ok(Duration::from_micros(histogram.value_at_quantile(at)))
}

impl Cache {
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
