//! A permit is given, not made.

use std::marker::PhantomData;

use payments::domain::{Currency, Id, Permit};

fn make(account: Id) -> Permit<'static> {
    Permit { account, currency: Currency::EUR, balance_change: -1, held_change: 0, transaction: PhantomData }
}

fn main() {}
