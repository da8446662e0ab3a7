//! The most read key ends, and everybody goes to the database for it at once.

use std::{sync::Arc, time::Duration};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use trueup::{Class, Trueup};
use trueup_core::env::Clock;

use super::{Figure, Outcome, Setup, Way, crowd::together, shelf::Shelf, shop::Shop};
use crate::world::LabError;

const READERS: usize = 400;
/// A report that takes the database some milliseconds.
const REPORT: &str = "WITH RECURSIVE step(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM step WHERE n < 20000) \
     SELECT sum(n) + (SELECT total FROM sale WHERE day = :day) AS total FROM step";
const LIFE: Duration = Duration::from_secs(300);

#[derive(Clone, Serialize, Deserialize)]
struct Report {
    total: i64,
}

enum Cache {
    Naive(Shelf<i64>),
    Trueup { node: Trueup, reports: Class<i64, Report>, each_for_itself: bool },
}

pub(super) async fn run(setup: Setup, way: Way) -> Result<Outcome, LabError> {
    let shop = Shop::open(
        setup.seed,
        "CREATE TABLE sale (day INTEGER PRIMARY KEY, total INTEGER NOT NULL); INSERT INTO sale VALUES (1, 7)",
    )?;
    let cache = if way == Way::Naive {
        Cache::Naive(Shelf::new(setup.seed))
    } else {
        let plan =
            format!("[class.report]\nquery = \"{REPORT}\"\nrows = \"one\"\nkey = [\"day\"]\nscope = []\n");
        let node = shop.trueup(&plan).await?;
        let reports = node.class("report").map_err(|why| LabError::failed("the class", why))?;
        Cache::Trueup { node, reports, each_for_itself: way == Way::Unprotected }
    };
    let world = Arc::new((shop, cache));
    let (clock, readers) = (Clock::system(), setup.scaled(READERS));
    let times = together(readers, |_| {
        let (world, clock) = (Arc::clone(&world), clock.clone());
        async move {
            let began = clock.now();
            world.1.read(&world.0).await?;
            Ok(clock.now().since(began))
        }
    })
    .await?;
    let (shop, cache) = &*world;
    let loads = match cache {
        Cache::Naive(_) => shop.queries(),
        Cache::Trueup { node, reports, each_for_itself } => {
            node.shut_down().await;
            let by_class = reports.stats().counts().loads.iter().map(|(_, times)| times.count()).sum();
            if *each_for_itself { readers as u64 } else { by_class }
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

fn quantile(times: &[Duration], at: f64) -> Result<Duration, LabError> {
    let failed = |why: &dyn std::fmt::Display| LabError::failed("the histogram", why);
    let mut histogram = Histogram::<u64>::new(3).map_err(|why| failed(&why))?;
    for time in times {
        histogram.record(time.as_micros() as u64).map_err(|why| failed(&why))?;
    }
    Ok(Duration::from_micros(histogram.value_at_quantile(at)))
}

impl Cache {
    async fn read(&self, shop: &Shop) -> Result<(), LabError> {
        let failed = |why: &dyn std::fmt::Display| LabError::failed("a read", why);
        match self {
            Self::Naive(shelf) => {
                if shelf.get("1").await.is_none() {
                    let total = shop.query(&REPORT.replace(":day", "?1"), [1], |row| row.get(0)).await?;
                    shelf.set("1", total.unwrap_or(0), LIFE).await;
                }
                Ok(())
            }
            Self::Trueup { node, reports, each_for_itself: true } => node
                .write(async |tx| {
                    reports.authoritative(tx, &1).await.map(|report| drop(report.value().cloned()))
                })
                .await
                .map(drop)
                .map_err(|why| failed(&why)),
            Self::Trueup { reports, .. } => reports.get(&1).await.map(drop).map_err(|why| failed(&why)),
        }
    }
}
