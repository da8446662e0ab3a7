//! Two payments authorised against the same cached balance.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use trueup::Class;

use super::{Figure, Outcome, Setup, Way, crowd::together, node::Node, shelf::Shelf, shop::Shop};
use crate::world::LabError;

const CLIENTS: i64 = 64;
const PRICE: i64 = 10;
/// What half of the clients can spend.
const BALANCE: i64 = CLIENTS / 2 * PRICE;
const LIFE: Duration = Duration::from_secs(10);
const SELECT: &str = "SELECT balance FROM account WHERE id = 1";

#[derive(Clone, Serialize, Deserialize)]
struct Account {
    balance: i64,
}

enum Bank {
    Naive(Shelf<i64>),
    Trueup { node: Node, accounts: Class<i64, Account>, decides_on_cached: bool },
}

pub(super) async fn run(setup: Setup, way: Way) -> Result<Outcome, LabError> {
    let schema = format!(
        "CREATE TABLE account (id BIGINT NOT NULL PRIMARY KEY, balance BIGINT NOT NULL); INSERT INTO account VALUES (1, {BALANCE})"
    );
    let shop = Shop::open(&setup, &schema).await?;
    let bank = if way == Way::Naive {
        Bank::Naive(Shelf::open(&setup).await?)
    } else {
        let node = shop.trueup("[class.account]\ntable = \"account\"\nkey = [\"id\"]\n").await?;
        let accounts = node.class("account")?;
        Bank::Trueup { node, accounts, decides_on_cached: way == Way::Unprotected }
    };
    let world = Arc::new((shop, bank));
    let accepted = together(CLIENTS as usize, |_| {
        let world = Arc::clone(&world);
        async move { world.1.pay(&world.0).await }
    })
    .await?;
    let paid = accepted.into_iter().filter(|accepted| *accepted).count() as u64;
    let (shop, bank) = &*world;
    if let Bank::Trueup { node, .. } = bank {
        node.shut_down().await;
    }
    let left: i64 = shop.now(SELECT, ()).await?.unwrap_or(0);
    Ok(Outcome::new(
        left >= 0 && paid == CLIENTS as u64 / 2,
        [
            Figure::count("payments of 10 accepted (covered: 32)", paid),
            Figure::count("overdraft", (-left).max(0).unsigned_abs()),
        ],
    ))
}

impl Bank {
    /// Pays if the balance allows it; whether it did.
    async fn pay(&self, shop: &Shop) -> Result<bool, LabError> {
        let failed = |why: &dyn std::fmt::Display| LabError::failed("a payment", why);
        match self {
            Self::Naive(shelf) => {
                let balance = match shelf.get("1").await? {
                    Some(balance) => balance,
                    None => {
                        let balance = shop.query(SELECT, ()).await?.unwrap_or(0);
                        shelf.set("1", balance, LIFE).await?;
                        balance
                    }
                };
                if balance < PRICE {
                    return Ok(false);
                }
                shop.execute("UPDATE account SET balance = balance - ?1 WHERE id = 1", [PRICE]).await?;
                shelf.delete("1").await?;
                Ok(true)
            }
            Self::Trueup { node, accounts, decides_on_cached } => {
                let shown = accounts.get(&1).await.map_err(|why| failed(&why))?;
                let shown = shown.value().map_or(0, |account| account.balance);
                let (accepted, _) = node
                    .write(async |tx| {
                        let balance = if *decides_on_cached {
                            shown
                        } else {
                            let account = tx.authoritative(accounts, &1).await?;
                            account.value().map_or(0, |account| account.balance)
                        };
                        if balance < PRICE {
                            return Ok(false);
                        }
                        tx.execute("UPDATE account SET balance = balance - ?1 WHERE id = 1", [PRICE]).await?;
                        Ok(true)
                    })
                    .await?;
                Ok(accepted)
            }
        }
    }
}
