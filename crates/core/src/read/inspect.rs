//! What tiers hold under a key, for people who ask why.

use std::{sync::Arc, time::Duration};

use super::Class;
use crate::{
    entry::CacheValue,
    fill::Looked,
    key::Key,
    proof::{Position, Standing, Unproven},
    receipt::Receipt,
    tier::{Entry, RemoteError, RemoteKey, RemotePlace},
};

/// What memory holds under a key. Made by [`Class::inspect`].
#[derive(Debug)]
pub struct Inspected<V> {
    /// The entry.
    pub entry: Arc<Entry<V>>,
    /// Whether a read would be answered from it, and why not.
    pub verdict: Result<Receipt, Unproven>,
}

/// What the remote tier holds under a key. Made by [`Class::inspect_remote`].
#[derive(Debug)]
pub struct InspectedRemote {
    /// The name under which it is kept.
    pub key: RemoteKey,
    /// Where that is.
    pub place: RemotePlace,
    /// What was found there.
    pub found: RemoteFinding,
}

/// What was found in the remote tier.
#[derive(Debug)]
pub enum RemoteFinding {
    /// Nothing.
    Nothing,
    /// The tier gave no answer.
    NoAnswer(RemoteError),
    /// An envelope that this node does not use.
    Refused {
        /// The short name of the reason.
        reason: &'static str,
        /// The reason.
        why: String,
    },
    /// A genuine entry of this node's epoch.
    Genuine(RemoteEntry),
}

/// A genuine entry of the remote tier.
#[derive(Debug)]
pub struct RemoteEntry {
    /// Whether the source had no such row.
    pub absent: bool,
    /// The value's version.
    pub version: u64,
    /// How long it has lain there, by the wall clocks of two machines.
    pub age: Duration,
    /// The position through which it was known to be true.
    pub proven_at: Position,
    /// The position that bounds what it can reflect.
    pub upper: Position,
    /// Whether a read would be answered from it, and why not.
    pub verdict: Result<Receipt, Unproven>,
}

impl<V: CacheValue> Class<Key, V> {
    /// What memory holds under `key`, and what a read would find there now. Counted nowhere: for people who ask why.
    pub fn inspect(&self, key: &Key) -> Option<Inspected<V>> {
        let entry = self.core.tier.get(key.as_str())?;
        let verdict = self.core.judge(&entry, &self.core.need);
        Some(Inspected { entry, verdict })
    }

    /// What the remote tier holds under `key`; none where the class has no part of one. Asks the tier, and keeps nothing.
    pub async fn inspect_remote(&self, key: &Key) -> Option<InspectedRemote> {
        let core = &self.core;
        let outbox = core.outbox.as_ref()?;
        let remote = core.remote_key(key);
        let place = outbox.place(&remote);
        let started = core.clock.now();
        let found = match outbox.look(&remote, core.wanted(), &core.ledger).await {
            Looked::Nothing => RemoteFinding::Nothing,
            Looked::Failed(error) => RemoteFinding::NoAnswer(error),
            Looked::Refused(why) => RemoteFinding::Refused { reason: why.as_str(), why: why.to_string() },
            Looked::Held(fetched) => {
                let (absent, version, age) = (fetched.value.is_none(), fetched.version, fetched.age);
                let upper = fetched.proof.upper();
                // Before it is judged, which may raise it.
                let proven_at = match fetched.proof.standing() {
                    Standing::Settled(at) => at,
                    Standing::Unsettled | Standing::Discarded => Position::ZERO,
                };
                match core.entry_of(key, fetched, started) {
                    Some(entry) => {
                        let verdict = core.judge(&entry, &core.need);
                        let entry = RemoteEntry { absent, version, age, proven_at, upper, verdict };
                        RemoteFinding::Genuine(entry)
                    }
                    None => {
                        let why = "its value can't be read by this class".to_owned();
                        RemoteFinding::Refused { reason: "bad_value", why }
                    }
                }
            }
        };
        Some(InspectedRemote { key: remote, place, found })
    }
}
