//! Tags: what an entry depends on, hashed to 64 bits.

use std::fmt;

use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

/// So many bytes of what a tag names are hashed without an allocation.
const NAME_BYTES: usize = 128;

/// What an entry depends on: a row, a declared group, or a whole table.
///
/// The hash is part of the stored format (see `docs/format.md`) and equal on every node. Two things that share a tag
/// cost a needless miss, never a stale answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub u64);

/// The tags of one entry. Four fit inline: a row and its table's `wide`, and room for two more.
pub type Tags = SmallVec<[Tag; 4]>;

impl Tag {
    /// One row of `table` by its key, whose parts are the database's own canonical values.
    #[must_use]
    pub fn row<'a>(table: &str, key_parts: impl IntoIterator<Item = &'a str>) -> Self {
        Self::hash("row", table, key_parts)
    }

    /// Every row of `table`: raised by each change of one of its rows.
    #[must_use]
    pub fn any(table: &str) -> Self {
        Self::hash("any", table, [])
    }

    /// `table` as a whole: raised by TRUNCATE and by bulk changes that are not told row by row. Every row and group
    /// entry carries it.
    #[must_use]
    pub fn wide(table: &str) -> Self {
        Self::hash("wide", table, [])
    }

    /// The rows of `table` that share canonical `values` in the columns of the declared group `name`.
    #[must_use]
    pub fn group<'a>(table: &str, name: &'a str, values: impl IntoIterator<Item = &'a str>) -> Self {
        Self::hash("group", table, std::iter::once(name).chain(values))
    }

    /// A name that only explicit invalidation raises, such as `promotion:spring`.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self::hash("named", name, [])
    }

    /// Raised together with tags that are raised by name and not by a change of a row: whoever keeps the rows that a table
    /// may have takes those tags for rows, too.
    #[must_use]
    pub fn by_name() -> Self {
        Self::named("")
    }

    fn hash<'a>(kind: &str, table: &str, parts: impl IntoIterator<Item = &'a str>) -> Self {
        // Written down first: a hasher that takes part after part begins with more bytes of its own than most names have.
        let mut name = SmallVec::<[u8; NAME_BYTES]>::new();
        let mut add = |part: &str| {
            // The length in front makes the list of parts unambiguous.
            name.extend_from_slice(&(part.len() as u64).to_le_bytes());
            name.extend_from_slice(part.as_bytes());
        };
        add(kind);
        add(table);
        parts.into_iter().for_each(add);
        Self(xxh3_64(&name))
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({:016x})", self.0)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_kept_apart() {
        assert_ne!(Tag::row("t", ["ab", "c"]), Tag::row("t", ["a", "bc"]));
        assert_ne!(Tag::row("t", ["1"]), Tag::row("t1", []));
        assert_ne!(Tag::any("t"), Tag::wide("t"));
        assert_ne!(Tag::row("t", ["g", "1"]), Tag::group("t", "g", ["1"]));
    }

    #[test]
    fn the_hash_is_part_of_the_format_and_never_moves() {
        assert_eq!(Tag::row("account", ["42"]).to_string(), "ad7ba0ecea6b898f");
        assert_eq!(Tag::any("account").to_string(), "c460541208b8ddd5");
    }
}
