//! Two accounts in one state of the database: a transfer between them is never seen half done.
//!
//! ```sh
//! cargo run -p trueup --example consistent
//! ```

mod shop;

use std::error::Error;

use trueup::Trueup;

use shop::{Account, Shop};

/// Transfers that are made while the sum is read.
const TRANSFERS: i64 = 200;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let shop = Shop::open()?;
    let trueup = Trueup::builder().source(shop.source()?).build().await?;
    let accounts = trueup.class::<i64, Account>("account")?;
    let other = shop.other_program()?;
    // On a thread of its own, as another program would be.
    let transfers = std::thread::spawn(move || {
        (0..TRANSFERS).try_for_each(|amount| {
            other.execute_batch(&format!(
                "BEGIN IMMEDIATE;
                 UPDATE account SET balance = balance - {amount} WHERE id = 1;
                 UPDATE account SET balance = balance + {amount} WHERE id = 2;
                 COMMIT;"
            ))
        })
    });
    let mut reads = 0;
    while !transfers.is_finished() || reads == 0 {
        let pair = accounts.read_many(&[1, 2]).consistent().run().await?;
        let sum: i64 = pair.iter().filter_map(|account| account.value()).map(|account| account.balance).sum();
        assert_eq!(sum, shop::SUM_OF_BALANCES, "a transfer was seen half done");
        reads += 1;
    }
    transfers.join().map_err(|_| "the other program failed")??;
    println!("{reads} reads of both accounts during {TRANSFERS} transfers: the sum was right each time");
    trueup.shut_down().await;
    Ok(())
}
