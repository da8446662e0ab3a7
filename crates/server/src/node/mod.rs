//! What both protocols share: the classes, how keys are found in a client's words, and how the node is.

mod absent;
mod ask;
pub mod explain;
mod guard;
mod invalidate;
mod remote;
mod status;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use trueup::catalog::Catalog;
use trueup_core::env::{Clock, Nanos};

pub use self::{
    absent::FilterFacts,
    ask::{AskError, KEYS_PER_READ_MAX, check_count, find, fold_scope, parse_token},
    guard::GuardStatus,
    invalidate::{InvalidateError, Target},
    remote::{RemoteEntryFacts, RemoteFacts, RemoteServerStatus, RemoteStatus},
    status::{ClassStatus, FeedStatus, Status, Totals},
};
use crate::{resp::Counters, warm::WarmState};

/// One serving process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Node {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    catalog: Catalog,
    clock: Clock,
    started: Nanos,
    resp: Arc<Counters>,
    stopping: AtomicBool,
    warm: WarmState,
}

impl Node {
    /// A node that serves `catalog`.
    #[must_use]
    pub fn new(catalog: Catalog) -> Self {
        let clock = catalog.cache().feed().clock().clone();
        let started = clock.now();
        let (resp, stopping, warm) = Default::default();
        Self { inner: Arc::new(Inner { catalog, clock, started, resp, stopping, warm }) }
    }

    /// The classes.
    #[inline]
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.inner.catalog
    }

    /// The node's clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// What the RESP side has done.
    #[must_use]
    pub fn resp_counters(&self) -> &Arc<Counters> {
        &self.inner.resp
    }

    /// From now on the node says that it is not ready, so that nobody sends it more.
    pub fn begin_to_stop(&self) {
        self.inner.stopping.store(true, Ordering::Release);
    }

    /// How warm the node is.
    #[must_use]
    pub fn warm_state(&self) -> &WarmState {
        &self.inner.warm
    }

    /// Why the node should not be sent requests; `None` when it should.
    #[must_use]
    pub fn not_ready(&self) -> Option<String> {
        self.not_fresh().or_else(|| self.inner.warm.not_ready())
    }

    /// Why the node can prove nothing at the moment, or should not be asked to.
    #[must_use]
    pub fn not_fresh(&self) -> Option<String> {
        let cache = self.catalog().cache();
        if self.inner.stopping.load(Ordering::Acquire) {
            return Some("the node is shutting down".to_owned());
        }
        if let Some(problem) = cache.feed_stats().problem() {
            return Some(format!("the feed is interrupted: {problem}"));
        }
        if cache.is_ready() {
            return None;
        }
        Some(match (cache.waiting_for(), cache.status().barrier) {
            (Some(what), _) => format!("the feed waits for {what}"),
            (None, Some(barrier)) => {
                format!(
                    "the feed has begun; it waits until transaction {} can be seen by readers",
                    barrier.xid
                )
            }
            (None, None) => "the feed has not caught up yet".to_owned(),
        })
    }
}
