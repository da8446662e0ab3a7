//! What names a row to be locked is no key of a cache.

use payments::{domain::Account, store::WalletOf};
use trueup::Class;

async fn look(balances: Class<WalletOf, Account>, wallet: WalletOf) {
    let _ = balances.get(&wallet).await;
}

fn main() {}
