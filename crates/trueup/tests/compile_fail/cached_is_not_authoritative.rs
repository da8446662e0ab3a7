//! What comes from a cache is for looking at; a decision wants what was locked.

use trueup::{Authoritative, Cached};

fn debit(_: &Authoritative<'_, i64>) {}

fn pay(balance: &Cached<i64>) {
    debit(balance);
}

fn main() {}
