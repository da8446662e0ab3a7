//! Searches whose combinations never end push out what is read again.

use serde::{Deserialize, Serialize};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use rand_distr::Distribution as _;

use super::{Figure, Outcome, Series, Setup, Way, shop::Shop};
use crate::world::LabError;

/// Searches that people make again and again, and of how many a cache has room for.
const COMMON: f64 = 1_500.0;
const KEYS_MAX: usize = 300;
const SEARCHES: usize = 40_000;
/// Share of searches that nobody makes twice.
const ONCE: f64 = 0.55;
/// Bytes of the class on either side: room for about as many results as `KEYS_MAX`.
const L1_CAPACITY: &str = "160KiB";

pub(super) const HITS: &str = "hits (45 % are made again and again)";
/// Searches of one step of the picture.
const STEP: usize = 1_000;

#[derive(Clone, Serialize, Deserialize)]
struct Found {
    hits: i64,
}

/// Both sides are Trueup, with the same memory: what differs is whether a key must be asked for twice to be kept, and how what is
/// kept is chosen. The naive side keeps all that it is asked for and drops what was used longest ago, as Redis does by default.
pub(super) async fn run(setup: Setup, way: Way) -> Result<Outcome, LabError> {
    let shop = Shop::next_door(
        &setup,
        "CREATE TABLE product (id BIGINT NOT NULL PRIMARY KEY, price BIGINT NOT NULL); INSERT INTO product VALUES (1, 10)",
    )
    .await?;
    let kept = if way == Way::Protected {
        format!("admission = {{ keys_max = {KEYS_MAX} }}\n")
    } else {
        "l1_eviction = \"lru\"\n".to_owned()
    };
    let plan = format!(
        "[class.search]\nquery = \"SELECT count(*) + 0 * CAST(:combination AS BIGINT) AS hits FROM product\"\nrows = \"one\"\n\
         key = [\"combination\"]\nscope = []\nl2 = false\nl1_capacity = \"{L1_CAPACITY}\"\nvalue_bytes_max = \"4KiB\"\nmax_staleness = \"1min\"\n{kept}"
    );
    let failed = |why: &dyn std::fmt::Display| LabError::failed("a search", why);
    let node = shop.trueup(&plan).await?;
    let searches = node.class::<i64, Found>("search")?;
    let mut dice = StdRng::seed_from_u64(setup.seed);
    let ranks = rand_distr::Zipf::new(COMMON, 0.9).map_err(|why| failed(&why))?;
    let (asked, mut hits, mut most) = (setup.scaled(SEARCHES), 0_u64, 0);
    let (mut before, mut shares) = (0, Vec::new());
    for number in 0..asked {
        let combination =
            if dice.random_bool(ONCE) { 1_000_000 + number as i64 } else { ranks.sample(&mut dice) as i64 };
        let answer = searches.get(&combination).await.map_err(|why| failed(&why))?;
        hits += u64::from(answer.receipt().served_by == trueup::ServedBy::L1);
        most = most.max(searches.memory().len());
        if (number + 1) % STEP == 0 {
            shares.push((hits - before) as f64 * 100.0 / STEP as f64);
            before = hits;
        }
    }
    node.shut_down().await;
    let share = hits as f64 / asked as f64;
    Ok(Outcome::new(
        most <= KEYS_MAX && share >= 0.24,
        [
            Figure::count("searches", asked),
            Figure::count("keys kept at most", most),
            Figure::share(HITS, hits, asked as u64),
        ],
    )
    .over_time([Series::over_requests("hits", "% of 1,000 requests", STEP, shares)]))
}
