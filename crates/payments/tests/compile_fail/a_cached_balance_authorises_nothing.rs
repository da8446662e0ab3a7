//! A balance that is shown may have been spent a millisecond ago.

use payments::domain::{Account, Money, Permit};
use trueup::Cached;

fn pay(balance: &Cached<Account>, money: Money) {
    let _ = Permit::debit(balance, money);
}

fn main() {}
