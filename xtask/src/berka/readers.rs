//! Clients that read balances while the books are replayed, and keep every answer.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use anyhow::Result;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use rand_distr::{Distribution as _, Zipf};

use super::{
    books::Books,
    client::{Client, Origin},
};
use crate::clock;

/// Exponent of the popularity of accounts with transactions.
const ZIPF_EXPONENT: f64 = 1.0;
/// Share of reads that go to any account alike.
const UNIFORM_SHARE: f64 = 0.3;

/// One answer: 32 bytes, for there are millions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    /// Position of the account in [`Books::accounts`].
    pub(crate) account: u32,
    pub(crate) origin: Origin,
    pub(crate) balance: i64,
    /// Before the request was sent, `CLOCK_BOOTTIME`.
    pub(crate) start_ns: u64,
    /// After the answer was read.
    pub(crate) end_ns: u64,
}

/// Which accounts a client asks for: some by popularity, some at random.
pub(crate) struct Choice {
    random: StdRng,
    popular: Vec<u32>,
    zipf: Zipf<f64>,
    accounts: u32,
}

impl Choice {
    /// The choice of client `number`. All clients of one `seed` share what is popular.
    pub(crate) fn new(books: &Books, seed: u64, number: u64) -> Result<Self> {
        let active = |position: &u32| books.balances[*position as usize].len() > 1;
        let mut popular: Vec<u32> = (0..books.accounts.len() as u32).filter(active).collect();
        popular.shuffle(&mut StdRng::seed_from_u64(seed));
        let zipf = Zipf::new(popular.len() as f64, ZIPF_EXPONENT)?;
        let random = StdRng::seed_from_u64(seed.wrapping_add(number + 1));
        Ok(Self { random, popular, zipf, accounts: books.accounts.len() as u32 })
    }

    /// Position of the next account.
    pub(crate) fn next(&mut self) -> u32 {
        if self.random.random_bool(UNIFORM_SHARE) {
            return self.random.random_range(0..self.accounts);
        }
        let rank = self.zipf.sample(&mut self.random) as usize;
        self.popular[(rank - 1).min(self.popular.len() - 1)]
    }
}

/// What a client reads, and when it stops.
pub(crate) struct Reading<'a> {
    pub(crate) server: SocketAddr,
    pub(crate) books: &'a Books,
    pub(crate) max_staleness: Duration,
    pub(crate) stop: &'a AtomicBool,
    /// Reads so far, of all clients: for the progress bar.
    pub(crate) count: &'a AtomicU64,
}

/// Reads until it is told to stop.
///
/// # Errors
/// At the first answer that is an error: none is allowed.
pub(crate) fn read(reading: &Reading<'_>, mut choice: Choice) -> Result<Vec<Answer>> {
    let mut client = Client::connect(reading.server, reading.max_staleness)?;
    let mut answers = Vec::new();
    while !reading.stop.load(Ordering::Relaxed) {
        let account = choice.next();
        let start_ns = clock::now_ns();
        let (balance, origin) = client.balance(reading.books.accounts[account as usize])?;
        answers.push(Answer { account, origin, balance, start_ns, end_ns: clock::now_ns() });
        reading.count.fetch_add(1, Ordering::Relaxed);
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_repeat_by_seed_and_differ_by_client() {
        let mut balances = vec![vec![0]; 100];
        balances[..10].iter_mut().for_each(|history| history.push(1));
        let books = Books {
            accounts: (0..100).collect(),
            postings: Vec::new(),
            balances,
            findings: Default::default(),
        };
        let draw = |seed, number| {
            let mut choice = Choice::new(&books, seed, number).unwrap();
            (0..1000).map(|_| choice.next()).collect::<Vec<_>>()
        };
        assert_eq!(draw(1, 0), draw(1, 0));
        assert_ne!(draw(1, 0), draw(1, 1));
        assert_ne!(draw(1, 0), draw(2, 0));
        let popular = draw(1, 0).iter().filter(|account| **account < 10).count();
        assert!((650..850).contains(&popular), "{popular} of 1000 reads on accounts with transactions");
    }
}
