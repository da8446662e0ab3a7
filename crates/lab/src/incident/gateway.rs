//! A payment gateway: it charges, and sometimes its answer comes too late.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::network::Network;

/// One answer in so many comes late, and how late: longer than any client waits.
const LATE_ONE_IN: u32 = 4;
const LATE_MS: std::ops::Range<u64> = 60..140;

/// The gateway.
pub(super) struct Gateway {
    network: Network,
    dice: Mutex<StdRng>,
    books: Mutex<Charges>,
}

#[derive(Default)]
struct Charges {
    /// The order of each charge, by the name that its request gave it.
    named: HashMap<String, i64>,
    by_order: HashMap<i64, u64>,
}

impl Gateway {
    pub(super) fn open(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            network: Network::new(seed ^ 0x6A7E),
            dice: Mutex::new(StdRng::seed_from_u64(seed ^ 0xCA4D)),
            books: Mutex::default(),
        })
    }

    /// Charges the card of `order`, once for each `name`, and answers: sometimes late. Whether the order had been charged before,
    /// by another name.
    pub(super) async fn charge(&self, name: &str, order: i64) -> bool {
        self.network.hop().await;
        let again = {
            let mut books = self.books.lock();
            let is_new = books.named.insert(name.to_owned(), order).is_none();
            let times = books.by_order.entry(order).or_default();
            *times += u64::from(is_new);
            is_new && *times > 1
        };
        let late = {
            let mut dice = self.dice.lock();
            if dice.random_ratio(1, LATE_ONE_IN) { dice.random_range(LATE_MS) } else { 0 }
        };
        tokio::time::sleep(Duration::from_millis(late)).await;
        self.network.hop().await;
        again
    }

    /// How many charges there are.
    pub(super) fn charges(&self) -> u64 {
        self.books.lock().named.len() as u64
    }

    /// How many orders were charged at all, and how many of them more than once.
    pub(super) fn orders(&self) -> (usize, usize) {
        let books = self.books.lock();
        (books.by_order.len(), books.by_order.values().filter(|times| **times > 1).count())
    }
}
