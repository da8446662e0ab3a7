//! A permit outlives neither the lock nor the transaction that it rests on.

use payments::{
    domain::{Account, Id, Money, Permit},
    store::{DatabaseTx, Locked, WalletOf},
};

async fn kept(tx: DatabaseTx, id: Id, money: Money) -> Permit<'static> {
    let locked = Locked::new(&tx);
    let account = locked.read::<_, Account>(&WalletOf { id, tenant: "t".into() }).await.unwrap();
    Permit::debit(&account, money).unwrap()
}

fn main() {}
