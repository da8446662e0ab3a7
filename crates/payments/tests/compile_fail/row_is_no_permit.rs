//! Nor does a row, however it was read.

use payments::domain::{Account, Money, Permit};

fn pay(row: &Account, money: Money) {
    let _ = Permit::credit(row, money);
}

fn main() {}
