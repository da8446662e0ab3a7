//! How long until a commit is seen: after some writes, one client reads the account until it shows the write.

use std::{sync::mpsc, time::Duration};

use anyhow::Result;
use hdrhistogram::Histogram;

use super::{books::Books, client::Client};
use crate::clock::{self, Deadline};

/// Of the transactions, one in so many is watched.
pub(crate) const EVERY: usize = 20;
/// Time after which a write that no read shows is given up: the check of all answers will say why.
const SEEN_WITHIN: Duration = Duration::from_secs(5);
/// Digits of a measured time that are kept.
const DIGITS: u8 = 3;

/// A transaction to watch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    /// Position in [`Books::postings`].
    pub(crate) posting: usize,
    pub(crate) acknowledged_ns: u64,
}

/// What was measured.
pub(crate) struct Delays {
    /// Nanoseconds from acknowledgement to the end of the first read that shows the write.
    pub(crate) histogram: Histogram<u64>,
    /// Writes that no read had shown in time.
    pub(crate) unseen: usize,
}

/// Watches each probe until there are no more.
///
/// # Errors
/// When the server answers with an error.
pub(crate) fn watch(books: &Books, mut client: Client, probes: &mpsc::Receiver<Probe>) -> Result<Delays> {
    let numbers = numbers(books);
    let mut delays = Delays { histogram: Histogram::new(DIGITS)?, unseen: 0 };
    for probe in probes {
        let account = books.postings[probe.posting].account;
        let (before, after) = books.balances[account].split_at(numbers[probe.posting]);
        // A balance that the account had before tells nothing.
        if before.contains(&after[0]) {
            continue;
        }
        let deadline = Deadline::after(SEEN_WITHIN);
        let shows = |balance| after.contains(&balance) && !before.contains(&balance);
        let mut seen = false;
        while !seen && !deadline.passed() {
            seen = shows(client.balance(books.accounts[account])?.0);
        }
        if seen {
            delays.histogram.record(clock::now_ns().saturating_sub(probe.acknowledged_ns))?;
        } else {
            delays.unseen += 1;
        }
        // So that the next one to be watched is cached, and its write has something to invalidate.
        if let Some(next) = books.postings.get(probe.posting + EVERY) {
            client.balance(books.accounts[next.account])?;
        }
    }
    Ok(delays)
}

/// For each transaction, how many its account has up to and with it.
fn numbers(books: &Books) -> Vec<usize> {
    let mut counts = vec![0; books.accounts.len()];
    let count = |account: usize| {
        counts[account] += 1;
        counts[account]
    };
    books.postings.iter().map(|posting| posting.account).map(count).collect()
}
