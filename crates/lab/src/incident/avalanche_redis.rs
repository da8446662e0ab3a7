//! The shared cache dies, and the database is asked for everything that it held.

use std::{sync::Arc, time::Duration};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde::{Deserialize, Serialize};
use trueup::Class;
use trueup_core::env::Clock;

use super::{
    Figure, Outcome, Setup, Way,
    counted::loads,
    crowd::together,
    flash_sale::busiest_second,
    node::Node,
    own_redis::{Client, OwnRedis},
    series::{Series, Watch},
    shop::Shop,
};
use crate::{
    load::{
        Keys,
        open::{Answer, Answers, Arrivals, Fate},
    },
    world::LabError,
};

const PRODUCTS: i64 = 3_000;
/// Without their accounts nobody can pay.
const ACCOUNTS: i64 = 100;
/// Bytes of a product's text: all of them together do not fit into the memory that the class has.
const TEXT_BYTES: usize = 200;
const READS: f64 = 1_500.0;
/// One read in so many is for an account.
const ACCOUNTS_ONE_IN: u32 = 10;
const CALM: Duration = Duration::from_millis(1_500);
const DOWN: Duration = Duration::from_millis(2_500);
const BACK: Duration = Duration::from_millis(2_500);
const PATIENCE: Duration = Duration::from_secs(3);
const STEP: Duration = Duration::from_millis(100);
/// Loads a second that the database has agreed to, and by how much any second may exceed them.
const BUDGET: u32 = 150;
const OVER: f64 = 1.1;
const LIFE: Duration = Duration::from_secs(60);
/// Products that are read together to fill the caches, and by how many at once.
const BATCH: usize = 100;
const FILLERS: usize = 40;
/// How long what was filled takes to reach the shared cache at most.
const SHARED_WITHIN: Duration = Duration::from_secs(5);

#[derive(Clone, Serialize, Deserialize)]
struct Product {
    name: String,
}

#[derive(Clone, Serialize, Deserialize)]
struct Account {
    balance: i64,
}

enum Cache {
    Naive(Client),
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
    let text = "x".repeat(TEXT_BYTES);
    let products: Vec<String> = (1..=PRODUCTS).map(|id| format!("({id}, '{text}')")).collect();
    let accounts: Vec<String> = (1..=ACCOUNTS).map(|id| format!("({id}, {id})")).collect();
    let schema = format!(
        "CREATE TABLE product (id BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL); INSERT INTO product VALUES {}; \
         CREATE TABLE account (id BIGINT NOT NULL PRIMARY KEY, balance BIGINT NOT NULL); INSERT INTO account VALUES {}",
        products.join(", "),
        accounts.join(", ")
    );
    let shop = Shop::open(&setup, &schema).await?;
    let mut redis = OwnRedis::start(setup.seed).await?;
    let cache = if way == Way::Naive {
        Cache::Naive(redis.client().await?)
    } else {
        let node = shop.trueup_beside(&plan(way), redis.tier()).await?;
        let (products, accounts) = (node.class("product")?, node.class("account")?);
        Cache::Trueup { node, products, accounts }
    };
    let world = Arc::new(World { shop, cache });
    world.fill().await?;
    let (clock, mut seed) = (Clock::system(), setup.seed);
    let watched = Arc::clone(&world);
    let watch = Watch::start(&clock, STEP, move || watched.loads());
    let began = clock.now();
    let mut phase = async |span| {
        seed += 1;
        world.reads(&clock, seed, span).await
    };
    phase(CALM).await;
    redis.kill();
    let killed = clock.now().since(began);
    let (core, other) = phase(DOWN).await;
    redis.start_again()?;
    let back = clock.now().since(began);
    let (core_after, other_after) = phase(BACK).await;
    let queries = watch.end("queries to the database", "in 100 ms").await;
    if let Cache::Trueup { node, .. } = &world.cache {
        node.shut_down().await;
    }
    let after = |at: Duration| {
        let values = queries.values.iter().skip((at.as_secs_f64() / queries.step) as usize).copied();
        Series { values: values.collect(), ..queries.clone() }
    };
    let (all, recovery) = (busiest_second(&queries), busiest_second(&after(back)));
    let core = Answers([core.0, core_after.0].concat());
    let (answered, failed) =
        (core.count(Fate::is_answered), other.count(failed) + other_after.count(failed) + core.count(failed));
    let shed = other.count(|fate| matches!(fate, Fate::Shed | Fate::StoodIn));
    let budget = f64::from(BUDGET) * OVER;
    Ok(Outcome::new(
        all <= budget && recovery <= budget && answered * 1_000 >= core.len() as u64 * 999 && failed == 0,
        [
            Figure::count("queries in the busiest second (150 were agreed)", all as u64),
            Figure::count("queries in the busiest second after it is back", recovery as u64),
            Figure::share("reads of accounts answered since it died", answered, core.len() as u64),
            Figure::millis("99 % of them within", core.quantile(0.99)),
            Figure::share("reads of products told to come back while it was down", shed, other.len() as u64),
            Figure::count("reads without a word", failed),
        ],
    )
    .over_time([queries.mark(killed, "the shared cache dies").mark(back, "it is back, empty")]))
}

fn failed(fate: Fate) -> bool {
    fate == Fate::Failed
}

/// Memory holds the accounts and a part of the products: what stands between the others and the database is the shared cache.
fn plan(way: Way) -> String {
    // The address is the shop's, whichever it is.
    let budget = match way {
        Way::Unprotected => String::new(),
        _ => format!("[source]\nurl = \"sqlite:shop.db\"\nloads_max = 16\nloads_per_second_max = {BUDGET}\n"),
    };
    format!(
        "{budget}[class.account]\ntable = \"account\"\nkey = [\"id\"]\nl2 = true\npriority = \"critical\"\n\
         [class.product]\ntable = \"product\"\nkey = [\"id\"]\nl2 = true\npriority = \"sheddable\"\nhard_timeout = \"500ms\"\n\
         l1_capacity = \"256KiB\"\nvalue_bytes_max = \"4KiB\"\n"
    )
}

impl World {
    fn loads(&self) -> u64 {
        match &self.cache {
            Cache::Naive(_) => self.shop.queries(),
            Cache::Trueup { products, accounts, .. } => loads(products) + loads(accounts),
        }
    }

    /// Everything is in the shared cache before it dies.
    async fn fill(self: &Arc<Self>) -> Result<(), LabError> {
        let Cache::Trueup { node, products, accounts } = &self.cache else {
            let fillers = together(FILLERS, |filler| {
                let world = Arc::clone(self);
                async move {
                    for id in (1 + filler as i64..=PRODUCTS).step_by(FILLERS) {
                        world.show(Page::Product(id)).await?;
                    }
                    for id in (1 + filler as i64..=ACCOUNTS).step_by(FILLERS) {
                        world.show(Page::Account(id)).await?;
                    }
                    Ok(())
                }
            });
            return fillers.await.map(drop);
        };
        accounts.get_many(&(1..=ACCOUNTS).collect::<Vec<_>>()).await?;
        for ids in (1..=PRODUCTS).collect::<Vec<_>>().chunks(BATCH) {
            products.get_many(ids).await?;
            // At the pace at which they can be shared.
            tokio::time::sleep(STEP / 5).await;
        }
        let (clock, all) = (Clock::system(), (PRODUCTS + ACCOUNTS) as u64);
        let began = clock.now();
        let shared = || node.cache().remote_counts().map_or(0, |counts| counts.stored);
        while shared() < all && clock.now().since(began) < SHARED_WITHIN {
            tokio::time::sleep(STEP).await;
        }
        Ok(())
    }

    /// What became of the reads of accounts, and of the others.
    async fn reads(self: &Arc<Self>, clock: &Clock, seed: u64, span: Duration) -> (Answers, Answers) {
        let arrivals = Arrivals::new(seed).at_rate(READS, span);
        let (mut keys, mut dice) = (Keys::zipf(PRODUCTS, 0.6, seed), StdRng::seed_from_u64(seed));
        let pages: Arc<Vec<Page>> = Arc::new(
            (0..arrivals.len())
                .map(|_| {
                    let product = keys.draw();
                    let account = 1 + product % ACCOUNTS;
                    if dice.random_ratio(1, ACCOUNTS_ONE_IN) {
                        Page::Account(account)
                    } else {
                        Page::Product(product)
                    }
                })
                .collect(),
        );
        let answers = arrivals
            .send(clock, PATIENCE, |number| {
                let (world, page) = (Arc::clone(self), pages[number]);
                async move { world.show(page).await.unwrap_or(Fate::Failed) }
            })
            .await;
        let of_core = |answer: &Answer| matches!(pages[answer.number], Page::Account(_));
        (answers.only(of_core), answers.only(|answer| !of_core(answer)))
    }

    async fn show(&self, page: Page) -> Result<Fate, LabError> {
        match (&self.cache, page) {
            (Cache::Trueup { products, .. }, Page::Product(id)) => Ok(Fate::of(&products.get(&id).await)),
            (Cache::Trueup { accounts, .. }, Page::Account(id)) => Ok(Fate::of(&accounts.get(&id).await)),
            (Cache::Naive(client), page) => {
                let (key, sql, id) = match page {
                    Page::Product(id) => {
                        (format!("product:{id}"), "SELECT name FROM product WHERE id = ?1", id)
                    }
                    Page::Account(id) => (
                        format!("account:{id}"),
                        "SELECT CAST(balance AS TEXT) FROM account WHERE id = ?1",
                        id,
                    ),
                };
                // A cache that cannot be asked holds nothing.
                if let Ok(Some(_)) = client.get(&key).await {
                    return Ok(Fate::Cached);
                }
                let value: String = self.shop.query(sql, [id]).await?.unwrap_or_default();
                let _ = client.set(&key, &value, LIFE).await;
                Ok(Fate::Loaded)
            }
        }
    }
}
