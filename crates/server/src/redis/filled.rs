//! `TRUEUP.LEASE` and `TRUEUP.FILL`: cache-aside.
//!
//! | reply to `TRUEUP.LEASE class key` | meaning |
//! |---|---|
//! | `["found", value, version, age_ms, served_by]` | the value; nil for one that its filler knows to be absent |
//! | `["lease", lease, life_ms]` | nobody has it: load it, then `TRUEUP.FILL class key lease value` |
//! | `["wait", lapses_in_ms]` | another client loads it: ask again soon, or go without |

use std::sync::Arc;

use trueup_core::{LeaseId, entry::Raw, error::FillError, read::Leased};

use super::{
    Commands,
    evidence::{evidence_of, key},
    refusal,
};
use crate::resp::{Outcome, Session, reply::Reply};

impl Commands {
    /// `TRUEUP.LEASE`.
    pub(super) fn lease(
        &self,
        session: &Session,
        class: &[u8],
        text: &[u8],
        reply: &mut Reply<'_>,
    ) -> Outcome {
        let asked = self.class(class).and_then(|class| Ok((Arc::clone(class), key(class, text)?)));
        let (class, key) = match asked {
            Ok(asked) => asked,
            Err(error) => return refusal::now(reply, &error),
        };
        if !class.is_filled() {
            return refusal::not_filled(reply, class.name());
        }
        let format = session.format();
        Outcome::pending(async move {
            let leased = class.lease(&key).await;
            format.encode(|reply| match leased {
                Ok(Leased::Found(found)) => {
                    reply.array(5);
                    reply.bulk(b"found");
                    evidence_of(reply, &found.into());
                }
                Ok(Leased::Granted(lease)) => {
                    reply.array(3);
                    reply.bulk(b"lease");
                    reply.bulk(lease.id.to_string().as_bytes());
                    reply.integer(millis(lease.life));
                }
                Ok(Leased::Wait { lapses_in }) => {
                    reply.array(2);
                    reply.bulk(b"wait");
                    reply.integer(millis(lapses_in));
                }
                Err(error) => refusal::write(reply, &error.into()),
            })
        })
    }

    /// `TRUEUP.FILL`.
    pub(super) fn fill(
        &self,
        class: &[u8],
        text: &[u8],
        lease: &[u8],
        value: &[u8],
        reply: &mut Reply<'_>,
    ) -> Outcome {
        let asked = self.class(class).and_then(|class| Ok((class, key(class, text)?)));
        let (class, key) = match asked {
            Ok(asked) => asked,
            Err(error) => return refusal::now(reply, &error),
        };
        if !class.is_filled() {
            return refusal::not_filled(reply, class.name());
        }
        let lease = std::str::from_utf8(lease).ok().and_then(|text| text.parse::<LeaseId>().ok());
        let filled = lease
            .ok_or(FillError::LeaseLost)
            .and_then(|lease| class.fill(&key, lease, Some(Raw(bytes::Bytes::copy_from_slice(value)))));
        match filled {
            Ok(()) => reply.simple("OK"),
            Err(error) => refusal::of_fill(reply, &error),
        }
        Outcome::Done
    }
}

fn millis(span: std::time::Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
