//! Who hears every change before the applied position covers it.

use super::{Position, Transaction};
use crate::entry::EpochId;

/// Hears what is applied, under the ledger's lock: in order, and before any reader can take an applied position that
/// covers it. Whatever it does must be short, and must not touch the ledger.
pub trait Listener: Send + Sync {
    /// A transaction is about to be covered by the applied position.
    fn told(&self, transaction: &Transaction);

    /// All transactions through `end` have been told, and the applied position is about to become `end`.
    fn reached(&self, end: Position);

    /// The node begins, or goes on, in the epoch `id`, which this process calls `number`: what is told next ends after
    /// `applied`.
    fn begun(&self, id: EpochId, number: u64, applied: Position, how: Beginning);

    /// Changes of some relations may have gone untold: see [`Ledger::freeze`](super::Ledger::freeze).
    fn frozen(&self);
}

/// What an epoch that begins has to do with what was told before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// Nothing that an earlier process has heard can be held against it.
    Anew,
    /// The source has made sure that what is told next is all that has ended, in the log that the epoch `of` was about, after the
    /// position at which the node begins: also for what an earlier process has heard in that epoch.
    Resumed {
        /// The epoch, which may have gone by another name.
        of: EpochId,
    },
}

/// Where a listener began to hear. Made by [`Ledger::listen`](super::Ledger::listen).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// The epoch.
    pub epoch: EpochId,
    /// The number that this process has given to it.
    pub number: u64,
    /// What ends after this is told to the listener.
    pub applied: Position,
}
