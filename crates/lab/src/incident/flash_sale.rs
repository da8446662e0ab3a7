//! A sale at seventeen times what comes at the busiest hour of a usual day, of things that nobody has looked at for weeks.

use std::{io::Cursor, num::NonZeroU32, sync::Arc, time::Duration};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde::{Deserialize, Serialize};
use trueup::{
    Class,
    engine::read::WarmRules,
    warm::{Routes, Tally},
};
use trueup_core::env::Clock;

use super::{
    Figure, Outcome, Setup, Way,
    counted::loads,
    node::Node,
    series::{Series, Watch},
    shelf::Shelf,
    shop::Shop,
};
use crate::{
    load::{
        Keys,
        open::{Answer, Arrivals, Fate},
    },
    world::LabError,
};

const PRODUCTS: i64 = 12_000;
/// Without their accounts nobody can pay.
const ACCOUNTS: i64 = 200;
/// Reads a second at the busiest hour of a usual day, and in the sale.
const USUAL: f64 = 200.0;
const SALE: f64 = 17.0 * USUAL;
const USUAL_SPAN: Duration = Duration::from_millis(1_500);
const SALE_SPAN: Duration = Duration::from_millis(3_000);
/// One read in so many is for an account.
const ACCOUNTS_ONE_IN: u32 = 5;
const PATIENCE: Duration = Duration::from_secs(2);
const STEP: Duration = Duration::from_millis(100);
/// Loads a second that the database has agreed to, and by how much any second may exceed them.
const BUDGET: u32 = 250;
const OVER: f64 = 1.1;
/// Lines of the access log of the week before, when people looked at what would be on sale.
const LOG_LINES: usize = 40_000;
const PREHEATED_MAX: usize = 4_000;
const PREHEAT_WITHIN: Duration = Duration::from_secs(4);
const LIFE: Duration = Duration::from_secs(60);

#[derive(Clone, Serialize, Deserialize)]
struct Product {
    price: i64,
}

#[derive(Clone, Serialize, Deserialize)]
struct Account {
    balance: i64,
}

enum Cache {
    Naive(Shelf<i64>),
    Trueup { node: Node, products: Class<i64, Product>, accounts: Class<i64, Account> },
}

struct World {
    shop: Shop,
    cache: Cache,
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Page {
    Account(i64),
    Product(i64),
}

pub(super) async fn run(setup: Setup, way: Way) -> Result<Outcome, LabError> {
    let rows = |count: i64| (1..=count).map(|id| format!("({id}, {id})")).collect::<Vec<_>>().join(", ");
    let schema = format!(
        "CREATE TABLE product (id BIGINT NOT NULL PRIMARY KEY, price BIGINT NOT NULL); INSERT INTO product VALUES {}; \
         CREATE TABLE account (id BIGINT NOT NULL PRIMARY KEY, balance BIGINT NOT NULL); INSERT INTO account VALUES {}",
        rows(PRODUCTS),
        rows(ACCOUNTS)
    );
    let shop = Shop::open(&setup, &schema).await?;
    let cache = if way == Way::Naive {
        Cache::Naive(Shelf::open(&setup).await?)
    } else {
        let node = shop.trueup(&plan(way)).await?;
        let (products, accounts) = (node.class("product")?, node.class("account")?);
        Cache::Trueup { node, products, accounts }
    };
    let world = Arc::new(World { shop, cache });
    // The log and the sale come from the same people.
    let mut visitors = Keys::zipf(PRODUCTS, 0.9, setup.seed);
    let log = visitors.take(setup.scaled(LOG_LINES));
    if way == Way::Protected {
        world.preheat(&log).await?;
    }
    let arrivals = Arrivals::new(setup.seed).at_rate(USUAL, USUAL_SPAN).at_rate(SALE, SALE_SPAN);
    let mut dice = StdRng::seed_from_u64(setup.seed);
    let pages: Arc<Vec<Page>> = Arc::new(
        (0..arrivals.len())
            .map(|_| {
                let product = visitors.draw();
                let account = 1 + product % ACCOUNTS;
                if dice.random_ratio(1, ACCOUNTS_ONE_IN) {
                    Page::Account(account)
                } else {
                    Page::Product(product)
                }
            })
            .collect(),
    );
    let clock = Clock::system();
    let watched = Arc::clone(&world);
    let watch = Watch::start(&clock, STEP, move || watched.loads());
    let answers = arrivals
        .send(&clock, PATIENCE, |number| {
            let (world, page) = (Arc::clone(&world), pages[number]);
            async move { world.show(page).await.unwrap_or(Fate::Failed) }
        })
        .await;
    let queries = watch.end("queries to the database", "in 100 ms").await;
    if let Cache::Trueup { node, .. } = &world.cache {
        node.shut_down().await;
    }
    let of_core = |answer: &Answer| matches!(pages[answer.number], Page::Account(_));
    let (core, other) = (answers.only(of_core), answers.only(|answer| !of_core(answer)));
    let second = busiest_second(&queries);
    let answered = core.count(Fate::is_answered);
    let real = other.count(|fate| matches!(fate, Fate::Cached | Fate::Loaded));
    let latency = core.quantiles_ms(0.99, STEP, arrivals.span());
    Ok(Outcome::new(
        second <= f64::from(BUDGET) * OVER
            && answered * 1_000 >= core.len() as u64 * 999
            && answers.count(|fate| fate == Fate::Failed) == 0,
        [
            Figure::count("reads, nearly all in the three seconds of the sale", answers.len()),
            Figure::count("queries in the busiest second (250 were agreed)", second as u64),
            Figure::share("reads of accounts answered", answered, core.len() as u64),
            Figure::millis("99 % of them within", core.quantile(0.99)),
            Figure::share("reads of products answered with the product", real, other.len() as u64),
            Figure::share(
                "and with what stands in",
                other.count(|fate| fate == Fate::StoodIn),
                other.len() as u64,
            ),
            Figure::count("reads without a word", answers.count(|fate| fate == Fate::Failed)),
        ],
    )
    .over_time([
        queries.mark(USUAL_SPAN, "the sale begins"),
        Series::over_time("99 % of reads of accounts within", "ms", STEP, latency)
            .mark(USUAL_SPAN, "the sale begins"),
    ]))
}

/// The most that was asked for in any second.
pub(super) fn busiest_second(queries: &Series) -> f64 {
    let steps = (1.0 / queries.step).round() as usize;
    let sums =
        queries.values.windows(steps.min(queries.values.len()).max(1)).map(|second| second.iter().sum());
    sums.fold(0.0, f64::max)
}

fn plan(way: Way) -> String {
    let account = "[class.account]\ntable = \"account\"\nkey = [\"id\"]\nl2 = false\n";
    let product = "[class.product]\ntable = \"product\"\nkey = [\"id\"]\nl2 = false\n";
    if way == Way::Unprotected {
        return format!("{account}{product}");
    }
    // The address is the shop's, whichever it is.
    format!(
        "[source]\nurl = \"sqlite:shop.db\"\nloads_max = 16\nloads_per_second_max = {BUDGET}\n\
         {account}priority = \"critical\"\n\
         {product}priority = \"sheddable\"\nhard_timeout = \"500ms\"\nhit_rate_floor = \"80%\"\n\
         fallback = {{ value = {{ price = 0 }} }}\n"
    )
}

impl World {
    fn loads(&self) -> u64 {
        match &self.cache {
            Cache::Naive(_) => self.shop.queries(),
            Cache::Trueup { products, accounts, .. } => loads(products) + loads(accounts),
        }
    }

    /// Reads what the access log says is hot, ahead of the sale; and the accounts, which are few.
    async fn preheat(&self, log: &[i64]) -> Result<(), LabError> {
        let Cache::Trueup { products, accounts, .. } = &self.cache else { return Ok(()) };
        let failed = |why: &dyn std::fmt::Display| LabError::failed("the access log", why);
        let line = |id| {
            format!("203.0.113.7 - - [26/Nov/2026:08:00:00 +0000] \"GET /v1/product/{id} HTTP/1.1\" 200 17\n")
        };
        let lines: String = log.iter().map(line).collect();
        let mut tally = Tally::new(Routes::default(), PREHEATED_MAX);
        tally.read(Cursor::new(lines), |_| ()).map_err(|why| failed(&why))?;
        let classes = tally.classes(PREHEATED_MAX);
        let hot = classes.iter().flat_map(|class| &class.keys).filter_map(|(key, ..)| key.parse().ok());
        let rules = WarmRules { loads_max: NonZeroU32::MIN, ..WarmRules::within(PREHEAT_WITHIN) };
        let everybody: Vec<i64> = (1..=ACCOUNTS).collect();
        accounts.warm(&everybody, &rules, |_| ()).await?;
        products.warm(&hot.collect::<Vec<i64>>(), &rules, |_| ()).await?;
        Ok(())
    }

    async fn show(&self, page: Page) -> Result<Fate, LabError> {
        match (&self.cache, page) {
            (Cache::Trueup { products, .. }, Page::Product(id)) => Ok(Fate::of(&products.get(&id).await)),
            (Cache::Trueup { accounts, .. }, Page::Account(id)) => Ok(Fate::of(&accounts.get(&id).await)),
            (Cache::Naive(shelf), page) => {
                let (key, sql, id) = match page {
                    Page::Product(id) => {
                        (format!("product:{id}"), "SELECT price FROM product WHERE id = ?1", id)
                    }
                    Page::Account(id) => {
                        (format!("account:{id}"), "SELECT balance FROM account WHERE id = ?1", id)
                    }
                };
                if shelf.get(&key).await?.is_some() {
                    return Ok(Fate::Cached);
                }
                let value: i64 = self.shop.query(sql, [id]).await?.unwrap_or(0);
                shelf.set(&key, value, LIFE).await?;
                Ok(Fate::Loaded)
            }
        }
    }
}
