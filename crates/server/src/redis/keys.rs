//! `TTL`, `DEL`: what memory holds.

use std::sync::Arc;

use trueup::catalog::CatalogClass;
use trueup_core::{entry::Raw, key::Key, tier::Entry};

use super::{Commands, refusal};
use crate::{
    node::{AskError, Target, check_count, find},
    resp::{Outcome, Session, args::Args, command::TtlUnit, reply::Reply},
};

/// Redis's answer for a key without a value.
const NO_VALUE: i64 = -2;

impl Commands {
    /// The remaining life of the entry in this node's memory. A proven entry gets another life at its end, so this is no
    /// promise that the value changes then.
    pub(super) fn ttl(&self, text: &[u8], unit: TtlUnit, reply: &mut Reply<'_>) -> Outcome {
        let (class, key) = match find(&self.node, text) {
            Ok(found) => found,
            Err(error) => return refusal::now(reply, &error),
        };
        let left = match served(class, &key) {
            Some(entry) => {
                let left = entry.expires().since(self.node.clock().now());
                match unit {
                    TtlUnit::Seconds => left.as_millis().div_ceil(1_000) as i64,
                    TtlUnit::Milliseconds => left.as_millis() as i64,
                }
            }
            None => NO_VALUE,
        };
        reply.integer(left);
        Outcome::Done
    }

    pub(super) fn delete(&self, session: &Session, keys: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
        let found = check_count(keys.len()).and_then(|()| {
            keys.iter().map(|text| find(&self.node, text)).collect::<Result<Vec<_>, AskError>>()
        });
        let found = match found {
            Ok(found) => found,
            Err(error) => return refusal::now(reply, &error),
        };
        let held = found.iter().filter(|(class, key)| served(class, key).is_some()).count() as i64;
        // A class that is never cached has nothing to delete, as a key that does not exist has not.
        let cached = found.into_iter().filter(|(class, _)| class.cached().is_some());
        let targets: Vec<Target> = cached.map(|(class, key)| Target::Key(Arc::clone(class), key)).collect();
        if targets.is_empty() {
            reply.integer(0);
            return Outcome::Done;
        }
        let (node, format) = (self.node.clone(), session.format());
        Outcome::pending(async move {
            let done = node.invalidate_here(&targets).await;
            format.encode(|reply| match done {
                Ok(_) => reply.integer(held),
                Err(error) => refusal::of_invalidation(reply, &error),
            })
        })
    }
}

/// The entry with a value from which a read would be answered.
fn served(class: &CatalogClass, key: &Key) -> Option<Arc<Entry<Raw>>> {
    let held = class.cached()?.inspect(key)?;
    (held.verdict.is_ok() && held.entry.value().is_some()).then_some(held.entry)
}
