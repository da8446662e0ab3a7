//! From changed rows to tags: what the registry of relations in use provides.

use trueup_core::proof::Tag;

pub(in crate::postgres) use super::pgoutput::{Relation, Value};
#[cfg(test)]
pub(in crate::postgres) use super::pgoutput::{RelationColumn, ReplicaIdentity};

/// A row of a change.
#[derive(Clone, Copy, Debug)]
pub(in crate::postgres) struct Tuple<'a> {
    /// A value for each column of the relation.
    pub(in crate::postgres) columns: &'a [Value<'a>],
}

/// Knows which tags a change raises.
pub(in crate::postgres) trait Mapper: Send + Sync {
    /// Tags raised by a change of one row; `old` is what the replica identity carries (key columns, or all with FULL).
    fn row(&self, relation: &Relation, old: Option<&Tuple<'_>>, new: Option<&Tuple<'_>>, tags: &mut Vec<Tag>);

    /// Tags raised by a change of the table as a whole (TRUNCATE, bulk).
    fn whole(&self, relation: &Relation, tags: &mut Vec<Tag>);
}
