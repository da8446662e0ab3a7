//! A promise that was broken, with its evidence.

use std::fmt;

use trueup_core::env::Nanos;

use super::{Read, Seen, Write};

/// What was promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub(crate) enum Promise {
    /// A proven answer reflects every commit acknowledged longer ago than its bound.
    P1,
    /// A read with a token reflects the write that gave it.
    P2,
    /// A session never goes back.
    P3,
    /// Absence obeys the same.
    P4,
    /// Nothing of another key or of a past that was taken back.
    P5,
    /// No failure becomes a stale answer: a violation of the above while a fault was at work or just after it.
    P6,
    /// No failure of the cache blocks a write.
    P7,
    /// Several rows read as one state are one state.
    P8,
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A broken promise: the read, and the write that it contradicts.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) promise: Promise,
    pub(crate) read: Read,
    /// What the read should have reflected, or what it should not have shown.
    pub(crate) write: Option<Write>,
    pub(crate) why: String,
}

impl Violation {
    /// Both operations in one line, with times counted from `origin`.
    pub(crate) fn evidence(&self, origin: Nanos) -> String {
        let at = |time: Nanos| format!("{:.3} s", time.since(origin).as_secs_f64());
        let read = &self.read;
        let seen = match read.seen {
            Seen::Version(version) => format!("version {version}"),
            Seen::Absent => "no row".to_owned(),
            Seen::Foreign => "another row".to_owned(),
        };
        let mut text = format!(
            "{}; read of object {} at {}..{} by {} on node {}: {seen}",
            self.why,
            read.object,
            at(read.start),
            at(read.end),
            read.served_by.as_str(),
            read.node,
        );
        if let Some(bound) = read.bound {
            text.push_str(&format!(", bound {} ms", bound.as_millis()));
        }
        if read.covers > Nanos::ZERO {
            text.push_str(&format!(", token of {}", at(read.covers)));
        }
        if let Some(session) = read.session {
            text.push_str(&format!(", session {session}"));
        }
        if let Some(write) = &self.write {
            let state = if write.present { "row" } else { "no row" };
            let acked = write.acked.map_or_else(|| "never".to_owned(), at);
            text.push_str(&format!(
                "; write of version {} ({state}) from {}, acknowledged {acked}",
                write.version,
                at(write.start)
            ));
        }
        text
    }
}
