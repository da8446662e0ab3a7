//! The floor: how far back every change is certainly visible to a new load.

use super::{Position, Recent, Snapshot, Xid};

/// Changes that are no longer (or were never) held one by one, so that nobody can ask which of them a load saw.
///
/// Nothing may be stored until a snapshot proves that all of them are visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Barrier {
    /// No change behind the barrier has a higher transaction id.
    pub xid: Xid,
    /// No change behind the barrier ends later.
    pub end: Position,
}

impl Barrier {
    /// Whether a read with `snapshot` certainly saw every change behind the barrier.
    #[must_use]
    pub fn passed_by(&self, snapshot: &Snapshot) -> bool {
        match snapshot {
            Snapshot::Xids(snapshot) => snapshot.xmin > self.xid,
            Snapshot::Sequence(through) | Snapshot::Replayed(through) => *through >= self.end,
        }
    }

    fn merged(self, other: Self) -> Self {
        Self { xid: self.xid.max(other.xid), end: self.end.max(other.end) }
    }
}

/// The highest position, never above the applied one, such that every change at or below it is visible to a snapshot
/// that this node has taken; and so to every load that starts later.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Floor {
    position: Position,
    barrier: Option<Barrier>,
}

impl Floor {
    /// A floor at `position`; below `barrier`, if there is one, nothing is known yet.
    #[must_use]
    pub const fn new(position: Position, barrier: Option<Barrier>) -> Self {
        Self { position, barrier }
    }

    /// The floor, unless a barrier stands.
    #[must_use]
    pub const fn defined(&self) -> Option<Position> {
        if self.barrier.is_some() { None } else { Some(self.position) }
    }

    /// Where the floor is, or was when a barrier came up.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// What a snapshot must have passed before anything can be stored.
    #[must_use]
    pub const fn barrier(&self) -> Option<Barrier> {
        self.barrier
    }

    /// Freezes the floor: changes up to `barrier` were lost from [`Recent`].
    pub fn freeze(&mut self, barrier: Barrier) {
        self.barrier = Some(self.barrier.map_or(barrier, |standing| standing.merged(barrier)));
    }

    /// Learns from a snapshot taken by this node on the primary. `applied` is the position through which the feed has
    /// been applied, and `recent` holds every applied change above the floor that is not behind the barrier.
    pub fn raise(&mut self, snapshot: &Snapshot, recent: &Recent, applied: Position) {
        if let Some(barrier) = self.barrier {
            if !barrier.passed_by(snapshot) {
                return;
            }
            self.barrier = None;
        }
        // Nothing ends between an unseen change and the position just before it.
        let seen_through = match recent.first_unseen(self.position, snapshot) {
            Some(unseen) => Position(unseen.end.0 - 1),
            None => applied,
        };
        self.position = self.position.max(seen_through);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::{Change, Tag};

    fn recent(changes: &[(u64, u64)]) -> Recent {
        let mut recent = Recent::new(100);
        for &(xid, end) in changes {
            recent.push(Change { tag: Tag(1), xid: Xid(xid), end: Position(end) }).unwrap();
        }
        recent
    }

    fn xids(text: &str) -> Snapshot {
        Snapshot::Xids(text.parse().unwrap())
    }

    #[test]
    fn stops_below_the_first_unseen_change_although_later_ones_are_seen() {
        let recent = recent(&[(10, 100), (12, 200), (11, 300)]);
        let mut floor = Floor::new(Position(50), None);
        floor.raise(&xids("12:13:12"), &recent, Position(300));
        assert_eq!(floor.defined(), Some(Position(199)));
        floor.raise(&xids("13:13:"), &recent, Position(300));
        assert_eq!(floor.defined(), Some(Position(300)));
    }

    #[test]
    fn never_goes_back_for_an_older_snapshot() {
        let recent = recent(&[(10, 100)]);
        let mut floor = Floor::new(Position(0), None);
        floor.raise(&xids("11:11:"), &recent, Position(100));
        floor.raise(&xids("10:10:"), &recent, Position(100));
        assert_eq!(floor.defined(), Some(Position(100)));
    }

    #[test]
    fn a_barrier_stands_until_xmin_is_above_its_highest_id() {
        let mut floor = Floor::new(Position(50), None);
        floor.freeze(Barrier { xid: Xid(20), end: Position(90) });
        floor.freeze(Barrier { xid: Xid(15), end: Position(95) });
        assert_eq!(floor.barrier(), Some(Barrier { xid: Xid(20), end: Position(95) }));
        for text in ["10:30:12", "20:30:20"] {
            floor.raise(&xids(text), &recent(&[]), Position(100));
            assert_eq!(floor.defined(), None, "{text}");
        }
        floor.raise(&xids("21:30:22"), &recent(&[]), Position(100));
        assert_eq!(floor.defined(), Some(Position(100)));
    }

    #[test]
    fn a_sequence_passes_a_barrier_where_it_has_reached_its_end() {
        let barrier = Barrier { xid: Xid(20), end: Position(90) };
        for (snapshot, passes) in [
            (Snapshot::Sequence(Position(89)), false),
            (Snapshot::Sequence(Position(90)), true),
            (Snapshot::Replayed(Position(89)), false),
            (Snapshot::Replayed(Position(91)), true),
        ] {
            assert_eq!(barrier.passed_by(&snapshot), passes, "{snapshot:?}");
        }
    }
}
