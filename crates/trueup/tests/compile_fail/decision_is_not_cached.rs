//! A class on which decisions rest has no way to read from a tier.

async fn read(balances: trueup::Decision<i64, i64>) {
    let _ = balances.get(&1).await;
}

fn main() {}
