//! A mapper that takes the first column of every table for its key.

use trueup_core::proof::Tag;

use crate::postgres::feed::mapper::{Mapper, Relation, Tuple, Value};

pub(crate) struct ByFirstColumn;

pub(crate) fn name(relation: &Relation) -> String {
    format!("{}.{}", relation.namespace, relation.name)
}

impl Mapper for ByFirstColumn {
    fn row(
        &self,
        relation: &Relation,
        old: Option<&Tuple<'_>>,
        new: Option<&Tuple<'_>>,
        tags: &mut Vec<Tag>,
    ) {
        let table = name(relation);
        tags.push(Tag::any(&table));
        for tuple in [old, new].into_iter().flatten() {
            match tuple.columns.first() {
                Some(Value::Text(key)) => tags.push(Tag::row(&table, [*key])),
                _ => tags.push(Tag::wide(&table)),
            }
        }
    }

    fn whole(&self, relation: &Relation, tags: &mut Vec<Tag>) {
        let table = name(relation);
        tags.extend([Tag::any(&table), Tag::wide(&table)]);
    }
}
