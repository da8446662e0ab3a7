//! Redis's commands, answered from the catalogue.
//!
//! | command | meaning here |
//! |---|---|
//! | `GET`, `MGET` | the value as JSON; nil where the source has no such row |
//! | `EXISTS` | how many of the keys have a row |
//! | `TTL`, `PTTL` | how long this node's memory may still serve the entry before it is renewed; -2 where memory holds no value |
//! | `DEL`, `UNLINK` | invalidate by way of the source, on every node; answers how many this node held |
//! | `SET` | refused: writes go to the database of record |
//! | `TRUEUP.LEASE`, `TRUEUP.FILL` | fill a class whose values its clients load |
//! | `TRUEUP.*` | reads with evidence, tokens, invalidation: see [`crate::resp::command`] |

mod evidence;
mod filled;
mod keys;
mod refusal;
mod several;

use std::sync::Arc;

use trueup::catalog::Demand;
use trueup_core::{error::ReadError, source::LoadError};

use crate::{
    node::{Node, find},
    resp::{Info, Outcome, Service, Session, command::Data, reply::Reply},
};

/// Answers the commands of one node.
#[derive(Clone, Debug)]
pub struct Commands {
    node: Node,
}

impl Commands {
    /// The commands of `node`.
    #[must_use]
    pub const fn new(node: Node) -> Self {
        Self { node }
    }

    /// `GET`: a hit is written from the entry itself.
    #[inline]
    fn get(&self, session: &Session, text: &[u8], reply: &mut Reply<'_>) -> Outcome {
        let (class, key) = match find(&self.node, text) {
            Ok(found) => found,
            Err(error) => return refusal::now(reply, &error),
        };
        if let Some(answer) = class.peek(&key, Demand::default()) {
            match answer.value() {
                Some(value) => reply.bulk(value),
                None => reply.nil(),
            }
            return Outcome::Done;
        }
        let (class, format) = (Arc::clone(class), session.format());
        Outcome::pending(async move {
            let answer = class.read(&key, Demand::default()).await;
            format.encode(|reply| match answer {
                Ok(answer) if several::stands_in(&answer) => refusal::unlabelled(reply),
                Ok(answer) => several::value(reply, &answer),
                // Cache-aside as its clients know it: nil, and whoever wants to fill it takes a lease.
                Err(ReadError::Load(LoadError::Unfilled)) => reply.nil(),
                Err(error) => refusal::write(reply, &error.into()),
            })
        })
    }
}

impl Service for Commands {
    #[inline]
    fn execute(&self, session: &Session, command: &Data<'_>, reply: &mut Reply<'_>) -> Outcome {
        match command {
            Data::Get { key } => self.get(session, key, reply),
            Data::Mget { keys } => self.mget(session, *keys, reply),
            Data::Exists { keys } => self.exists(session, *keys, reply),
            Data::Ttl { key, unit } => self.ttl(key, *unit, reply),
            Data::Delete { keys } => self.delete(session, *keys, reply),
            Data::Set(_) => refusal::set(reply),
            Data::Read(read) => self.read(session, read, reply),
            Data::ReadMany(read) => self.read_many(session, read, reply),
            Data::Token => self.token(session),
            Data::Invalidate { tag } => self.invalidate(session, tag, reply),
            Data::Lease { class, key } => self.lease(session, class, key, reply),
            Data::Fill { class, key, lease, value } => self.fill(class, key, lease, value, reply),
        }
    }

    fn info(&self, info: &mut Info<'_>) {
        let status = self.node.status();
        info.section("Trueup", |section| {
            section
                .line("ready", u8::from(status.ready))
                .line("source", &status.source)
                .line("epochs", status.feed.epochs)
                .line("feed_position", status.feed.position)
                .line("watermark_lag_ms", status.feed.lag_ms.map_or(-1.0, f64::round))
                .line("reads", status.totals.reads)
                .line("hit_rate", format_args!("{:.4}", status.totals.hit_rate.unwrap_or(0.0)))
                .line("loads", status.totals.loads)
                .line("entries", status.totals.entries)
                .line("stored_bytes", status.totals.bytes);
            for (verdict, count) in &status.totals.checks {
                section.line(&format!("checks_{verdict}"), count);
            }
        });
        info.section("Keyspace", |section| {
            section.line("db0", format_args!("keys={},expires=0,avg_ttl=0", status.totals.entries));
        });
    }
}
