//! A row that was locked is good for as long as the lock.

use payments::{
    domain::{Account, Id},
    store::{DatabaseTx, Locked, WalletOf},
};
use trueup::Authoritative;

async fn keep(tx: DatabaseTx, id: Id) -> Authoritative<'static, Account> {
    let locked = Locked::new(&tx);
    locked.read::<WalletOf, Account>(&WalletOf { id, tenant: "t".into() }).await.unwrap()
}

fn main() {}
