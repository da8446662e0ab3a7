//! A value that was locked is good for as long as the lock.

use trueup::{Authoritative, SqliteTx};

async fn keep<'long>(
    balances: trueup::Decision<i64, i64>,
    end: impl AsyncFnOnce() -> SqliteTx<'long>,
) -> Option<i64> {
    let balance: Authoritative<'_, i64> = {
        let tx = end().await;
        balances.authoritative(&tx, &1).await.ok()?
    };
    balance.value().copied()
}

fn main() {}
