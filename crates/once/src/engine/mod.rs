//! The idempotency engine: who may work on a key, how far it has come, and what was answered.

mod advance;
mod claim;
mod complete;
mod held;
mod options;
mod reap;
mod review;
mod row;
mod run;

use std::sync::Arc;

pub use self::{
    advance::Step,
    claim::{Claim, Known, LookUp, Request},
    complete::{Completer, CompleterReport, Resume, Resumed},
    held::{Held, KeyId, Point},
    options::Options,
    review::Stuck,
    run::Ran,
};
use crate::{
    counters::Counters, inbox::Inbox, jobs::Jobs, lease::Leases, outbox::Outbox, scripts::Scripts,
    store::Store,
};

/// The way in: a store, the options, and counters. Cheap to clone.
///
/// What it does with keys happens in a transaction that the caller opens, passes in, and commits: the caller's own effects
/// belong into the same one. Whatever returns an error is to be rolled back (dropping the transaction does that).
#[derive(Clone, Debug)]
pub struct Once<S> {
    store: S,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: Options,
    counters: Arc<Counters>,
}

impl<S: Store> Once<S> {
    /// The engine on `store`, whose schema is made by [`migrate`](crate::migrate::migrate).
    #[must_use]
    pub fn new(store: S, options: Options) -> Self {
        Self { store, shared: Arc::new(Shared { options, counters: Arc::default() }) }
    }

    /// The store.
    #[must_use]
    pub const fn store(&self) -> &S {
        &self.store
    }

    /// The options.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    /// What has been counted, of everything that was made from this handle.
    #[must_use]
    pub fn counters(&self) -> &Arc<Counters> {
        &self.shared.counters
    }

    /// Messages that leave with the transaction.
    #[must_use]
    pub fn outbox(&self) -> Outbox {
        Outbox::new(Arc::clone(self.counters()))
    }

    /// Messages that arrive.
    #[must_use]
    pub fn inbox(&self) -> Inbox {
        Inbox::new(Arc::clone(self.counters()))
    }

    /// Leases with fences.
    #[must_use]
    pub fn leases(&self) -> Leases<S> {
        Leases::new(self.store.clone(), Arc::clone(self.counters()))
    }

    /// Jobs that can be run again.
    #[must_use]
    pub fn jobs(&self) -> Jobs<S> {
        Jobs::new(self.leases(), Arc::clone(self.counters()))
    }

    /// Scripts that run once.
    #[must_use]
    pub fn scripts(&self) -> Scripts {
        Scripts::new()
    }
}
