//! Two updates of one balance, each computed from what a cache said: 1,200, 850, 1,200. One of them is lost.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use trueup::Class;

use super::{Figure, Outcome, Setup, Way, crowd::together, node::Node, shelf::Shelf, shop::Shop};
use crate::world::LabError;

const CLIENTS: usize = 8;
const DEPOSITS: usize = 40;
const LIFE: Duration = Duration::from_secs(300);

#[derive(Clone, Serialize, Deserialize)]
struct Account {
    balance: i64,
}

enum Bank {
    Naive(Shelf<i64>),
    Trueup { node: Node, accounts: Class<i64, Account>, decides_on_cached: bool },
}

pub(super) async fn run(setup: Setup, way: Way) -> Result<Outcome, LabError> {
    let shop = Shop::open(
        &setup,
        "CREATE TABLE account (id BIGINT NOT NULL PRIMARY KEY, balance BIGINT NOT NULL); INSERT INTO account VALUES (1, 0)",
    )
    .await?;
    let bank = if way == Way::Naive {
        Bank::Naive(Shelf::open(&setup).await?)
    } else {
        let node = shop.trueup("[class.account]\ntable = \"account\"\nkey = [\"id\"]\n").await?;
        let accounts = node.class("account")?;
        Bank::Trueup { node, accounts, decides_on_cached: way == Way::Unprotected }
    };
    let world = Arc::new((shop, bank));
    let deposits = setup.scaled(DEPOSITS);
    let back: u64 = together(CLIENTS, |_| {
        let world = Arc::clone(&world);
        async move {
            let (mut shown_before, mut back) = (0, 0);
            for _ in 0..deposits {
                let shown = world.1.deposit(&world.0).await?;
                back += u64::from(shown < shown_before);
                shown_before = shown;
            }
            Ok(back)
        }
    })
    .await?
    .into_iter()
    .sum();
    let (shop, bank) = &*world;
    if let Bank::Trueup { node, .. } = bank {
        node.shut_down().await;
    }
    let balance: i64 = shop.now(BALANCE, [1]).await?.unwrap_or(0);
    let made = (CLIENTS * deposits) as i64;
    let lost = made - balance;
    Ok(Outcome::new(
        lost == 0 && back == 0,
        [
            Figure::count("deposits acknowledged", made.unsigned_abs()),
            Figure::count("of them lost", lost.unsigned_abs()),
            Figure::count("times a client saw its balance go back", back),
        ],
    ))
}

const BALANCE: &str = "SELECT balance FROM account WHERE id = ?1";

impl Bank {
    /// Deposits 1, and returns the balance that the client is shown then.
    async fn deposit(&self, shop: &Shop) -> Result<i64, LabError> {
        let failed = |why: &dyn std::fmt::Display| LabError::failed("a deposit", why);
        match self {
            Self::Naive(shelf) => {
                let balance = match shelf.get("1").await? {
                    Some(balance) => balance,
                    None => shop.query(BALANCE, [1]).await?.unwrap_or(0),
                };
                shop.execute("UPDATE account SET balance = ?1 WHERE id = 1", [balance + 1]).await?;
                shelf.set("1", balance + 1, LIFE).await?;
                Ok(shelf.get("1").await?.unwrap_or(balance + 1))
            }
            Self::Trueup { node, accounts, decides_on_cached } => {
                let cached = accounts.get(&1).await.map_err(|why| failed(&why))?;
                let cached = cached.value().map_or(0, |account| account.balance);
                let (_, token) = node
                    .write(async |tx| {
                        let balance = if *decides_on_cached {
                            cached
                        } else {
                            let account = tx.authoritative(accounts, &1).await?;
                            account.value().map_or(0, |account| account.balance)
                        };
                        tx.execute("UPDATE account SET balance = ?1 WHERE id = 1", [balance + 1]).await?;
                        Ok(())
                    })
                    .await?;
                let shown = accounts.read(&1).token(token).run().await.map_err(|why| failed(&why))?;
                Ok(shown.value().map_or(0, |account| account.balance))
            }
        }
    }
}
