//! Positions in the feed, and transaction ids.

use std::fmt;

/// A place in the source's ordered stream of committed changes: a PostgreSQL LSN (the END of a commit), or the
/// sequence number of a SQLite log row. Positions of different epochs are not comparable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Position {
    /// Before the first change. No real position is zero, so zero may stand for "none yet".
    pub const ZERO: Self = Self(0);
    /// Beyond every change: reserved, never told by a source.
    pub const MAX: Self = Self(u64::MAX);
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A 64-bit transaction id (PostgreSQL's `xid8`): the epoch of 32-bit ids in the upper half.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Xid(pub u64);

impl Xid {
    /// Widens the 32-bit id of a feed message to the 64-bit id nearest to `near`, an id seen lately.
    ///
    /// Sound while the two are less than 2^31 apart, which PostgreSQL itself guarantees: it stops assigning ids before
    /// running transactions are that far behind.
    #[must_use]
    pub const fn widen(feed_id: u32, near: Self) -> Self {
        let distance = feed_id.wrapping_sub(near.0 as u32) as i32;
        Self(near.0.wrapping_add_signed(distance as i64))
    }
}

impl fmt::Display for Xid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn widening_crosses_the_32_bit_boundary_both_ways() {
        let near = Xid(0x1_0000_0005);
        assert_eq!(Xid::widen(7, near), Xid(0x1_0000_0007));
        assert_eq!(Xid::widen(0xFFFF_FFFE, near), Xid(0xFFFF_FFFE));
        assert_eq!(Xid::widen(3, Xid(0x1_FFFF_FFFF)), Xid(0x2_0000_0003));
    }

    proptest! {
        #[test]
        fn widening_restores_any_id_within_two_billion(near in (1_u64 << 32)..u64::MAX / 2, step in -0x7FFF_FFFF_i64..0x7FFF_FFFF) {
            let id = near.wrapping_add_signed(step);
            prop_assert_eq!(Xid::widen(id as u32, Xid(near)), Xid(id));
        }
    }
}
