//! A balance that a cache shows authorises nothing.

use payments::domain::{Account, Money, Permit};
use trueup::Cached;

fn pay(shown: &Cached<Account>, money: Money) {
    let _ = Permit::debit(shown, money);
}

fn main() {}
