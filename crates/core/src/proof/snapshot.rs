//! What a load saw of the database.

use std::{fmt, str::FromStr};

use super::{Position, Tag, Xid};

/// One change as the feed tells it: something on `tag` was changed by the transaction `xid`, whose commit ends at
/// `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    /// What was changed.
    pub tag: Tag,
    /// The writer's top-level transaction. Sources without transaction ids (SQLite) set zero.
    pub xid: Xid,
    /// Where the commit ends in the feed.
    pub end: Position,
}

/// PostgreSQL's `pg_current_snapshot()`: the exact answer to "which transactions does this read see".
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct XidSnapshot {
    /// Every id below is visible (or was rolled back).
    pub xmin: Xid,
    /// No id at or above is visible, although it may be assigned, committed and even delivered by the feed already.
    pub xmax: Xid,
    /// Ids in between that were still running, ascending.
    pub running: Box<[Xid]>,
}

impl XidSnapshot {
    /// A snapshot of these parts.
    ///
    /// # Errors
    /// [`BadSnapshot`] unless `running` is in ascending order and lies between the two.
    pub fn new(xmin: Xid, xmax: Xid, running: Box<[Xid]>) -> Result<Self, BadSnapshot> {
        let ordered = running.is_sorted() && running.iter().all(|id| xmin <= *id && *id < xmax);
        if xmin <= xmax && ordered { Ok(Self { xmin, xmax, running }) } else { Err(BadSnapshot) }
    }

    /// Whether the effects of `xid` are visible.
    #[must_use]
    pub fn sees(&self, xid: Xid) -> bool {
        xid < self.xmin || (xid < self.xmax && self.running.binary_search(&xid).is_err())
    }
}

/// What should be a snapshot is none; as text it is of the form `xmin:xmax:xip,xip,...`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a transaction snapshot: expected `xmin:xmax:` and running ids in ascending order")]
pub struct BadSnapshot;

impl FromStr for XidSnapshot {
    type Err = BadSnapshot;

    fn from_str(text: &str) -> Result<Self, BadSnapshot> {
        let mut parts = text.splitn(3, ':');
        let number = |part: Option<&str>| part.and_then(|p| p.parse().ok()).map(Xid).ok_or(BadSnapshot);
        let (xmin, xmax) = (number(parts.next())?, number(parts.next())?);
        let running: Box<[Xid]> = match parts.next().ok_or(BadSnapshot)? {
            "" => Box::default(),
            list => list
                .split(',')
                .map(|id| id.parse().map(Xid).map_err(|_| BadSnapshot))
                .collect::<Result<_, _>>()?,
        };
        Self::new(xmin, xmax, running)
    }
}

impl fmt::Display for XidSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.xmin, self.xmax)?;
        for (i, id) in self.running.iter().enumerate() {
            write!(f, "{}{id}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// What a read saw, in the terms of its source.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Snapshot {
    /// A read on a PostgreSQL primary. Commit order and visibility order differ, so only the ids tell.
    Xids(XidSnapshot),
    /// A read in SQLite: one writer at a time, so every change through this sequence is seen and no later one.
    Sequence(Position),
    /// A read on a PostgreSQL standby that had replayed this far before the read: it covers changes that end at or
    /// below, and nothing is known of others (a standby's own `pg_current_snapshot()` has an empty xip and lies).
    Replayed(Position),
}

impl Snapshot {
    /// Whether the read certainly saw `change`.
    #[must_use]
    pub fn sees(&self, change: &Change) -> bool {
        match self {
            Self::Xids(snapshot) => snapshot.sees(change.xid),
            Self::Sequence(through) | Self::Replayed(through) => change.end <= *through,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(xid: u64, end: u64) -> Change {
        Change { tag: Tag(1), xid: Xid(xid), end: Position(end) }
    }

    #[test]
    fn visibility_follows_ids_not_positions() {
        let snapshot = Snapshot::Xids("10:15:11,13".parse().unwrap());
        for (xid, seen) in
            [(9, true), (10, true), (11, false), (12, true), (13, false), (14, true), (15, false)]
        {
            assert_eq!(snapshot.sees(&change(xid, 1)), seen, "xid {xid}");
        }
    }

    #[test]
    fn sequence_and_replay_follow_positions() {
        for snapshot in [Snapshot::Sequence(Position(7)), Snapshot::Replayed(Position(7))] {
            assert!(snapshot.sees(&change(99, 7)));
            assert!(!snapshot.sees(&change(1, 8)));
        }
    }

    #[test]
    fn text_round_trips_and_nonsense_is_refused() {
        for text in ["10:10:", "10:12:10", "10:15:11,13"] {
            assert_eq!(text.parse::<XidSnapshot>().unwrap().to_string(), text);
        }
        for text in ["", "10", "10:12", "a:b:", "12:10:", "10:15:13,11", "10:15:9", "10:15:15", "10:15:11,"] {
            assert_eq!(text.parse::<XidSnapshot>(), Err(BadSnapshot), "{text:?}");
        }
    }
}
