//! There is no permit without an account that was locked.

use payments::domain::{Account, Money, Permit};

fn pay(account: &Account, money: Money) {
    let _ = Permit::debit(account, money);
}

fn main() {}
