//! A key that forgets whose answer it is.

use std::time::Duration;

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde::{Deserialize, Serialize};
use trueup::{KeyPart, ScopeDimension, Scoped, SqlValue};

use super::{Figure, Outcome, Setup, Way, shelf::Shelf, shop::Shop};
use crate::world::LabError;

const TENANTS: [&str; 3] = ["north", "south", "west"];
const CUSTOMERS: i64 = 20;
const READS: usize = 600;
const LIFE: Duration = Duration::from_secs(300);

#[derive(Clone)]
struct Tenant(&'static str);

impl KeyPart for Tenant {
    fn value(&self) -> SqlValue<'_> {
        SqlValue::Text(self.0)
    }
}

impl ScopeDimension for Tenant {
    const NAME: &'static str = "tenant";
}

#[derive(Clone, Serialize, Deserialize)]
struct Statement {
    tenant: String,
}

pub(super) async fn run(setup: Setup, way: Way) -> Result<Outcome, LabError> {
    let rows: Vec<String> = TENANTS
        .iter()
        .flat_map(|tenant| (0..CUSTOMERS).map(move |customer| format!("('{tenant}', {customer}, 1)")))
        .collect();
    let schema = format!(
        "CREATE TABLE statement (tenant TEXT NOT NULL, customer BIGINT NOT NULL, total BIGINT NOT NULL, \
         PRIMARY KEY (tenant, customer)); INSERT INTO statement VALUES {}",
        rows.join(", ")
    );
    let shop = Shop::open(&setup, &schema).await?;
    let (mut dice, reads) = (StdRng::seed_from_u64(setup.seed), setup.scaled(READS));
    let mut reader = || (TENANTS[dice.random_range(0..TENANTS.len())], dice.random_range(0..CUSTOMERS));
    let failed = |why: &dyn std::fmt::Display| LabError::failed("reading a statement", why);
    let mut wrong = 0_u64;
    match way {
        Way::Naive => {
            let shelf = Shelf::<String>::open(&setup).await?;
            for _ in 0..reads {
                let (tenant, customer) = reader();
                // The query names the tenant; the key was written before there were any.
                let key = format!("statement:{customer}");
                let owner = match shelf.get(&key).await? {
                    Some(owner) => owner,
                    None => {
                        let owner: Option<String> = shop.query(SELECT, (tenant, customer)).await?;
                        let owner = owner.unwrap_or_default();
                        shelf.set(&key, owner.clone(), LIFE).await?;
                        owner
                    }
                };
                wrong += u64::from(owner != tenant);
            }
        }
        Way::Protected => {
            let plan = "[class.statement]\nquery = \"SELECT tenant, total FROM statement WHERE tenant = :tenant AND \
                customer = :customer\"\nrows = \"one\"\nkey = [\"customer\"]\nscope = [\"tenant\"]\n";
            let node = shop.trueup(plan).await?;
            // With a customer alone as the key this does not open: the class declares whose it is.
            let unscoped = node.class::<i64, Statement>("statement").is_ok();
            let statements = node.class::<Scoped<Tenant, i64>, Statement>("statement")?;
            for _ in 0..reads {
                let (tenant, customer) = reader();
                let key = Scoped::new(Tenant(tenant), customer);
                let found = statements.get(&key).await.map_err(|why| failed(&why))?;
                wrong += u64::from(found.value().is_none_or(|statement| statement.tenant != tenant));
            }
            wrong += u64::from(unscoped);
            node.shut_down().await;
        }
        Way::Unprotected => {
            // Nobody declared the tenant.
            let plan = "[class.statement]\nquery = \"SELECT tenant, total FROM statement WHERE customer = :customer LIMIT 1\"\n\
                rows = \"one\"\nkey = [\"customer\"]\nscope = []\n";
            let node = shop.trueup(plan).await?;
            let statements = node.class::<i64, Statement>("statement")?;
            for _ in 0..reads {
                let (tenant, customer) = reader();
                let found = statements.get(&customer).await.map_err(|why| failed(&why))?;
                wrong += u64::from(found.value().is_none_or(|statement| statement.tenant != tenant));
            }
            node.shut_down().await;
        }
    }
    Ok(Outcome::new(
        wrong == 0,
        [
            Figure::count("reads", reads),
            Figure::count("of them answered with another tenant's statement", wrong),
        ],
    ))
}

const SELECT: &str = "SELECT tenant FROM statement WHERE tenant = ?1 AND customer = ?2";
