//! `TTL`, `DEL`: what memory holds.

use std::sync::Arc;

use trueup::catalog::CatalogClass;
use trueup_core::key::Key;

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
        let held = class.cached().and_then(|class| class.inspect(&key));
        let left = match held {
            Some((entry, Ok(_))) if entry.value().is_some() => {
                let left = entry.expires().since(self.node.clock().now());
                match unit {
                    TtlUnit::Seconds => left.as_millis().div_ceil(1_000) as i64,
                    TtlUnit::Milliseconds => left.as_millis() as i64,
                }
            }
            _ => NO_VALUE,
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
        let held = found.iter().filter(|(class, key)| is_held(class, key)).count() as i64;
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

fn is_held(class: &CatalogClass, key: &Key) -> bool {
    let held = class.cached().and_then(|class| class.inspect(key));
    matches!(held, Some((entry, Ok(_))) if entry.value().is_some())
}
