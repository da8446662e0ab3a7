//! A new version is deployed, and its memory is empty.

use std::{collections::HashMap, num::NonZeroU32, sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use trueup::{Class, engine::read::WarmRules};
use trueup_core::env::Clock;

use super::{
    Figure, Outcome, Setup, Way,
    counted::loads,
    crowd::together,
    node::Node,
    series::{Series, Watch},
    shop::Shop,
};
use crate::{
    load::{
        Keys,
        open::{Answers, Arrivals, Fate},
    },
    world::LabError,
};

const PRODUCTS: i64 = 1_000;
/// Reads of the old version before anybody looks at the clock: they fill its memory, and tell what is hot.
const DAY: usize = 200_000;
const READERS: usize = 40;
/// Reads a second.
const READS: f64 = 2_000.0;
const BEFORE: Duration = Duration::from_secs(1);
/// The story's five minutes.
const AFTER: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(100);
/// What the database can spare in such a step.
const SPARE: f64 = 50.0;
const HOT_KEYS_MAX: usize = 1_000;
const WARM_WITHIN: Duration = Duration::from_secs(5);
const SELECT: &str = "SELECT price FROM product WHERE id = ?1";

#[derive(Clone, Serialize, Deserialize)]
struct Product {
    price: i64,
}

/// One process of the application, with what it holds in its memory.
enum Process {
    Naive(Mutex<HashMap<i64, i64>>),
    Trueup { node: Node, products: Class<i64, Product> },
}

struct World {
    shop: Shop,
    process: Process,
}

pub(super) async fn run(setup: Setup, way: Way) -> Result<Outcome, LabError> {
    let rows: Vec<String> = (1..=PRODUCTS).map(|id| format!("({id}, {id})")).collect();
    let schema = format!(
        "CREATE TABLE product (id BIGINT NOT NULL PRIMARY KEY, price BIGINT NOT NULL); INSERT INTO product VALUES {}",
        rows.join(", ")
    );
    let shop = Shop::open(&setup, &schema).await?;
    // What was asked for yesterday is asked for today.
    let trace = Keys::zipf(PRODUCTS, 1.0, setup.seed).take(setup.scaled(DAY));
    let old = start(&shop, way).await?;
    let old = Arc::new(World { shop, process: old });
    let (readers, keys) = (Arc::clone(&old), Arc::new(trace.clone()));
    together(READERS, |reader| {
        let (world, keys) = (Arc::clone(&readers), Arc::clone(&keys));
        async move {
            for id in keys.iter().skip(reader).step_by(READERS) {
                world.read(*id).await?;
            }
            Ok(())
        }
    })
    .await?;
    drop(readers);
    let (_, before) = phase(&old, &trace, setup.seed, BEFORE).await;
    let hot = match &old.process {
        Process::Trueup { products, .. } if way == Way::Protected => products.hot_keys(HOT_KEYS_MAX),
        _ => Vec::new(),
    };
    let World { shop, process } = Arc::into_inner(old)
        .ok_or_else(|| LabError::failed("the deployment", "somebody still asks the old version"))?;
    let new = start(&shop, way).await?;
    if let Process::Trueup { node, .. } = process {
        node.shut_down().await;
    }
    if let Process::Trueup { node, products } = &new
        && way == Way::Protected
    {
        // Before it says that it is ready; then what is not warm comes in slowly.
        let rules = WarmRules { loads_max: NonZeroU32::MIN, ..WarmRules::within(WARM_WITHIN) };
        products.warm(&hot, &rules, |_| ()).await?;
        node.cache().source_guard().begin_ramp();
    }
    let new = Arc::new(World { shop, process: new });
    let (answers, after) = phase(&new, &trace, setup.seed + 1, AFTER).await;
    if let Process::Trueup { node, .. } = &new.process {
        node.shut_down().await;
    }
    let (busiest, usual) = (after.most(), before.most());
    let first = answers.only(|answer| answer.at < STEP * 5);
    let unanswered = answers.count(|fate| !fate.is_answered());
    let mut series = before;
    series.values.extend(&after.values);
    Ok(Outcome::new(
        busiest <= SPARE && unanswered == 0,
        [
            Figure::count("queries in the busiest 100 ms before the deployment", usual as u64),
            Figure::count("queries in the busiest 100 ms after it (50 can be borne)", busiest as u64),
            Figure::share(
                "hits in the first 500 ms",
                first.count(|fate| fate == Fate::Cached),
                first.len() as u64,
            ),
            Figure::count(
                "reads after it answered by what stands in",
                answers.count(|fate| fate == Fate::StoodIn),
            ),
            Figure::count("reads after it without an answer", unanswered),
        ],
    )
    .over_time([series.mark(BEFORE, "deployed")]))
}

/// Reads for `span`; what came of them, and what the database was asked meanwhile.
async fn phase(world: &Arc<World>, trace: &[i64], seed: u64, span: Duration) -> (Answers, Series) {
    let clock = Clock::system();
    let arrivals = Arrivals::new(seed).at_rate(READS, span);
    let keys = Keys::trace(trace.to_vec(), seed).take(arrivals.len());
    let watched = Arc::clone(world);
    let watch = Watch::start(&clock, STEP, move || watched.loads());
    let answers = arrivals
        .send(&clock, PATIENCE, |number| {
            let (world, id) = (Arc::clone(world), keys[number]);
            async move { world.read(id).await.unwrap_or(Fate::Failed) }
        })
        .await;
    let mut series = watch.end("queries to the database", "in 100 ms").await;
    // As long as it was meant to be, so that the next one begins where it ends.
    series.values.truncate((span.as_millis() / STEP.as_millis()) as usize);
    (answers, series)
}

async fn start(shop: &Shop, way: Way) -> Result<Process, LabError> {
    if way == Way::Naive {
        return Ok(Process::Naive(Mutex::default()));
    }
    let class = "[class.product]\ntable = \"product\"\nkey = [\"id\"]\nl2 = false\n";
    // The address is the shop's, whichever it is.
    let plan = if way == Way::Protected {
        format!(
            "[source]\nurl = \"sqlite:shop.db\"\nramp = \"2s\"\nramp_floor = \"10%\"\n\
             [warm]\nstate_dir = \"hot-keys\"\n{class}cold_start = \"warm\"\nwarm_keys_max = {HOT_KEYS_MAX}\n\
             fallback = {{ value = {{ price = 0 }} }}\n"
        )
    } else {
        class.to_owned()
    };
    let node = shop.trueup(&plan).await?;
    let products = node.class("product")?;
    Ok(Process::Trueup { node, products })
}

impl World {
    fn loads(&self) -> u64 {
        match &self.process {
            Process::Naive(_) => self.shop.queries(),
            Process::Trueup { products, .. } => loads(products),
        }
    }

    async fn read(&self, id: i64) -> Result<Fate, LabError> {
        match &self.process {
            Process::Naive(map) => {
                if map.lock().contains_key(&id) {
                    return Ok(Fate::Cached);
                }
                let price: i64 = self.shop.query(SELECT, [id]).await?.unwrap_or(0);
                map.lock().insert(id, price);
                Ok(Fate::Loaded)
            }
            Process::Trueup { products, .. } => Ok(Fate::of(&products.get(&id).await)),
        }
    }
}
