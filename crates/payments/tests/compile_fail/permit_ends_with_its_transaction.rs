//! So is what it permits: not after the commit.

use once::store::Owned as _;
use payments::{
    domain::{Account, Id, Money, Permit},
    store::{DatabaseTx, Locked, WalletOf},
};

async fn keep(tx: DatabaseTx, id: Id, money: Money) -> i64 {
    let locked = Locked::new(&tx);
    let account = locked.read::<WalletOf, Account>(&WalletOf { id, tenant: "t".into() }).await.unwrap();
    let permit = Permit::debit(&account, money).unwrap();
    tx.commit().await.unwrap();
    permit.balance_change()
}

fn main() {}
