//! Building a filter: listen first, then read all keys.
//!
//! Why no row is missed. Let `w0` be the applied position at which the filter began to listen. A change that ends after `w0`
//! is told to it before any reader can take an applied position that covers the change. A change that ends at or below `w0`
//! may not have been visible yet, though it was delivered: so nothing is read before the floor has reached `w0`, from where
//! on every new snapshot shows all of these changes. Each page has a snapshot of its own; a later one shows more, and what it
//! shows more was told.
//!
//! Why no row is missed that seemed to be gone. A page may see a deletion that the feed has not told yet, or, where a commit
//! need not be on disk to be seen, one that a crash takes back. So pages count only once the feed has been applied through
//! all that they can have seen, on the connection that it had when they were read; else they are read again.

use std::{sync::Arc, time::Duration};

use super::{Absence, FilterState};
use crate::{
    apply::Feed,
    env::Clock,
    proof::{Ledger, Position, RowFilter},
    source::{KeyPage, KeySet, LoadError, PageEnd},
};

/// Keys of one page.
const PAGE_ROWS: usize = 10_000;
/// Pages that wait for the feed together.
const PAGES_TOGETHER: usize = 8;
/// Longest wait for one page.
const PAGE_WAIT_MAX: Duration = Duration::from_secs(60);
/// Between two attempts to read a page, at first; doubled up to the most.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// A pause is as long as the page before it took, so that no more than half of one connection's time is used, and at most
/// this.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How often the progress is logged.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Why a filter was not completed.
#[derive(Debug)]
pub(super) enum Failed {
    /// It can't be relied on any more: the epoch, the catalogue or the table as a whole moved.
    Moved,
    /// The keys cannot be told: why.
    Refused(Arc<str>),
}

/// What a build needs.
pub(super) struct Build<'a, K> {
    pub(super) class: &'a str,
    pub(super) absence: &'a Absence<K>,
    pub(super) ledger: &'a Arc<Ledger>,
    pub(super) feed: &'a Feed,
    pub(super) clock: &'a Clock,
    pub(super) filter: &'a Arc<RowFilter>,
    pub(super) keys: &'a dyn KeySet<K>,
}

impl<K> Build<'_, K> {
    /// Listens, reads all keys, and has the filter answer.
    pub(super) async fn run(&self) -> Result<u64, Failed> {
        // Before anything is read.
        let listening = self.ledger.listen(self.filter).ok_or(Failed::Moved)?;
        self.absence.notes.set(FilterState::Waiting(
            "it waits until everything that was written before it began can be seen".into(),
        ));
        self.feed.until_visible(listening.applied).await;
        let (rows, upper) = self.read_all().await?;
        self.stands()?;
        self.filter.complete(upper);
        Ok(rows)
    }

    async fn read_all(&self) -> Result<(u64, Position), Failed> {
        let (mut settled, mut rows, mut highest) = (None::<PageEnd>, 0, Position::ZERO);
        let mut told_at = self.clock.now();
        loop {
            let discards = self.ledger.discards();
            let (mut at, mut read, mut upper) = (settled.clone(), 0, Position::ZERO);
            for _ in 0..PAGES_TOGETHER {
                let page = self.page(at.as_ref()).await?;
                page.tags.iter().for_each(|tag| self.filter.insert(*tag));
                read += page.tags.len() as u64;
                upper = upper.max(page.upper);
                at = page.end;
                self.absence.notes.set(FilterState::Building { rows: rows + read });
                if at.is_none() {
                    break;
                }
            }
            self.feed.until_applied(upper).await;
            self.stands()?;
            if self.ledger.discards() != discards {
                // What these pages saw may have been taken back.
                continue;
            }
            rows += read;
            highest = highest.max(upper);
            if at.is_none() {
                return Ok((rows, highest));
            }
            settled = at;
            if self.clock.now().since(told_at) >= TELL_EVERY {
                told_at = self.clock.now();
                let of = self.absence.plan.entries;
                tracing::info!(class = self.class, rows, of, "reading the keys there are");
            }
        }
    }

    /// One page, and a pause. Tried again for as long as the source does not answer.
    async fn page(&self, after: Option<&PageEnd>) -> Result<KeyPage, Failed> {
        let mut pause = RETRY_MIN;
        loop {
            self.stands()?;
            let started = self.clock.now();
            let limit_ms = PAGE_WAIT_MAX.as_millis() as u64;
            let page = tokio::time::timeout(PAGE_WAIT_MAX, self.keys.page(after, PAGE_ROWS)).await;
            match page.unwrap_or(Err(LoadError::TimedOut { limit_ms })) {
                Ok(page) if self.ledger.epoch() == Some(page.epoch) => {
                    if page.end.is_some() {
                        tokio::time::sleep(self.clock.now().since(started).min(PAUSE_MAX)).await;
                    }
                    return Ok(page);
                }
                // Of another server than the one that is followed; the epoch is about to move.
                Ok(_) => {}
                Err(LoadError::Refused(why)) => return Err(Failed::Refused(why)),
                Err(error) => {
                    tracing::debug!(class = self.class, %error, "a page of keys could not be read");
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    /// Whether what was read so far can still become a filter.
    fn stands(&self) -> Result<(), Failed> {
        let filter = self.filter;
        let same = filter.epoch() == self.ledger.epoch_number() && self.ledger.epoch().is_some();
        if same && !filter.is_void() { Ok(()) } else { Err(Failed::Moved) }
    }
}
