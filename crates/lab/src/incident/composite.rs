//! An entry is made of several rows, and ends with one of them.

use std::time::Duration;

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde::{Deserialize, Serialize};

use super::{Figure, Outcome, Setup, Way, shelf::Shelf, shop::Shop};
use crate::world::LabError;

const USERS: i64 = 10;
const ORDERS: i64 = 60;
const RENAMED: usize = 6;
const LIFE: Duration = Duration::from_secs(300);
const BOUND: Duration = Duration::from_millis(250);
const SELECT: &str =
    "SELECT o.total, b.nickname FROM purchase o JOIN buyer b ON b.id = o.buyer WHERE o.id = :id";

#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    total: i64,
    nickname: String,
}

pub(super) async fn run(setup: Setup, way: Way) -> Result<Outcome, LabError> {
    let users: Vec<String> = (0..USERS).map(|id| format!("({id}, 'user {id}')")).collect();
    let orders: Vec<String> = (0..ORDERS).map(|id| format!("({id}, {}, 10)", id % USERS)).collect();
    let schema = format!(
        "CREATE TABLE buyer (id BIGINT NOT NULL PRIMARY KEY, nickname TEXT NOT NULL); INSERT INTO buyer VALUES {}; \
         CREATE TABLE purchase (id BIGINT NOT NULL PRIMARY KEY, buyer BIGINT NOT NULL, total BIGINT NOT NULL); \
         INSERT INTO purchase VALUES {}",
        users.join(", "),
        orders.join(", ")
    );
    let shop = Shop::open(&setup, &schema).await?;
    let failed = |why: &dyn std::fmt::Display| LabError::failed("reading an order", why);
    let shelf = Shelf::<String>::open(&setup).await?;
    let plan = match way {
        Way::Unprotected => format!(
            "[class.order]\norigin = \"external\"\nkey = [\"id\"]\nscope = []\nlife = \"{}s\"\n\
             invalidation = {{ owner = \"nobody\", reason = \"the proof is taken out\" }}\n",
            LIFE.as_secs()
        ),
        _ => format!(
            "[class.order]\nquery = \"{SELECT}\"\nrows = \"one\"\nkey = [\"id\"]\nscope = []\n\
             max_staleness = \"{}ms\"\n",
            BOUND.as_millis()
        ),
    };
    let node = match way {
        Way::Naive => None,
        _ => Some(shop.trueup(&plan).await?),
    };
    let class = node.as_ref().map(|node| node.class::<i64, Order>("order")).transpose()?;
    let sql = SELECT.replace(":id", "?1");
    let read = async |id: i64| match &class {
        Some(orders) if way == Way::Unprotected => {
            let load = async || {
                let found: Option<(i64, String)> = shop.query(&sql, [id]).await?;
                Ok::<_, LabError>(found.map(|(total, nickname)| Order { total, nickname }))
            };
            let found = orders.get_with(&id, load).await?;
            Ok::<_, LabError>(found.value().map(|order| order.nickname.clone()).unwrap_or_default())
        }
        Some(orders) => {
            let found = orders.get(&id).await.map_err(|why| failed(&why))?;
            Ok::<_, LabError>(found.value().map(|order| order.nickname.clone()).unwrap_or_default())
        }
        None => {
            let key = format!("order:{id}");
            if let Some(found) = shelf.get(&key).await? {
                return Ok(found);
            }
            let found: Option<(i64, String)> = shop.query(&sql, [id]).await?;
            let nickname = found.map(|(_, nickname)| nickname).unwrap_or_default();
            shelf.set(&key, nickname.clone(), LIFE).await?;
            Ok(nickname)
        }
    };
    for id in 0..ORDERS {
        read(id).await?;
    }
    let mut dice = StdRng::seed_from_u64(setup.seed);
    for _ in 0..RENAMED {
        let user = dice.random_range(0..USERS);
        shop.execute("UPDATE buyer SET nickname = nickname || '!' WHERE id = ?1", [user]).await?;
        // What the code that renames users knows of: its own entry. Of orders it has never heard.
        shelf.delete(&format!("user:{user}")).await?;
    }
    tokio::time::sleep(BOUND * 2).await;
    let mut stale = 0_u64;
    for id in 0..ORDERS {
        let truth: Option<(i64, String)> = shop.now(&sql, [id]).await?;
        stale += u64::from(truth.map(|(_, nickname)| nickname) != Some(read(id).await?));
    }
    if let Some(node) = &node {
        node.shut_down().await;
    }
    Ok(Outcome::new(
        stale == 0,
        [
            Figure::count("orders that show a nickname", ORDERS.unsigned_abs()),
            Figure::count("of them with a name that is no longer", stale),
        ],
    ))
}
