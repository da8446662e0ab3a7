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
    "SELECT o.total, u.nickname FROM purchase o JOIN user u ON u.id = o.user WHERE o.id = :id";

#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    total: i64,
    nickname: String,
}

pub(super) async fn run(setup: Setup, way: Way) -> Result<Outcome, LabError> {
    let users: Vec<String> = (0..USERS).map(|id| format!("({id}, 'user {id}')")).collect();
    let orders: Vec<String> = (0..ORDERS).map(|id| format!("({id}, {}, 10)", id % USERS)).collect();
    let schema = format!(
        "CREATE TABLE user (id INTEGER PRIMARY KEY, nickname TEXT NOT NULL); INSERT INTO user VALUES {}; \
         CREATE TABLE purchase (id INTEGER PRIMARY KEY, user INTEGER NOT NULL, total INTEGER NOT NULL); \
         INSERT INTO purchase VALUES {}",
        users.join(", "),
        orders.join(", ")
    );
    let shop = Shop::open(setup.seed, &schema)?;
    let failed = |why: &dyn std::fmt::Display| LabError::failed("reading an order", why);
    let shelf = Shelf::new(setup.seed);
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
    let class = node
        .as_ref()
        .map(|node| node.class::<i64, Order>("order"))
        .transpose()
        .map_err(|why| failed(&why))?;
    let sql = SELECT.replace(":id", "?1");
    let read = async |id: i64| match &class {
        Some(orders) if way == Way::Unprotected => {
            let load = async || {
                let made = |row: &rusqlite::Row<'_>| Ok(Order { total: row.get(0)?, nickname: row.get(1)? });
                shop.query(&sql, [id], made).await
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
            if let Some(found) = shelf.get(&key).await {
                return Ok(found);
            }
            let nickname = shop.query(&sql, [id], |row| row.get::<_, String>(1)).await?.unwrap_or_default();
            shelf.set(&key, nickname.clone(), LIFE).await;
            Ok(nickname)
        }
    };
    for id in 0..ORDERS {
        read(id).await?;
    }
    let mut dice = StdRng::seed_from_u64(setup.seed);
    for _ in 0..RENAMED {
        let user = dice.random_range(0..USERS);
        shop.execute("UPDATE user SET nickname = nickname || '!' WHERE id = ?1", [user]).await?;
        // What the code that renames users knows of: its own entry. Of orders it has never heard.
        shelf.delete(&format!("user:{user}")).await;
    }
    tokio::time::sleep(BOUND * 2).await;
    let mut stale = 0_u64;
    for id in 0..ORDERS {
        let truth: Option<String> = shop.now(&sql, [id], |row| row.get(1))?;
        stale += u64::from(truth != Some(read(id).await?));
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
