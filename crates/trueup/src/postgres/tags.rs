//! From changed rows to tags.
//!
//! A change is told under the name of the table it happened in, and counts for every table above that one: partitioned
//! tables and inheritance parents. What cannot be named exactly is named by the whole table.

use trueup_core::{key::ColumnForm, proof::Tag};

use super::{
    canonical::canonical_told,
    discover::TableInfo,
    feed::mapper::{Mapper, Relation, Tuple, Value},
    names::tag_name,
    registry::Registry,
};

impl Mapper for Registry {
    fn row(
        &self,
        relation: &Relation,
        old: Option<&Tuple<'_>>,
        new: Option<&Tuple<'_>>,
        tags: &mut Vec<Tag>,
    ) {
        let images = Images { relation, old, new };
        match self.tables.get(&relation.oid) {
            // Published a moment ago: what was opened before does not read it, and what is opened later is loaded later.
            None => whole(&tag_name(&relation.namespace, &relation.name), tags),
            Some(table) => {
                self.of_table(table, images, tags);
                for above in table.ancestors.iter().filter_map(|oid| self.tables.get(oid)) {
                    self.of_table(above, images, tags);
                }
            }
        }
    }

    fn whole(&self, relation: &Relation, tags: &mut Vec<Tag>) {
        // As it was called when it was changed, and as the registry calls it.
        whole(&tag_name(&relation.namespace, &relation.name), tags);
        if let Some(table) = self.tables.get(&relation.oid) {
            whole(&table.name, tags);
            for above in table.ancestors.iter().filter_map(|oid| self.tables.get(oid)) {
                whole(&above.name, tags);
            }
        }
    }
}

fn whole(name: &str, tags: &mut Vec<Tag>) {
    push(Tag::wide(name), tags);
    push(Tag::any(name), tags);
}

fn push(tag: Tag, tags: &mut Vec<Tag>) {
    if !tags.contains(&tag) {
        tags.push(tag);
    }
}

impl Registry {
    /// What the change of a row raises for `table`: the one that it happened in, or one above.
    fn of_table(&self, table: &TableInfo, images: Images<'_>, tags: &mut Vec<Tag>) {
        push(Tag::any(&table.name), tags);
        if !table.key.is_empty() {
            let columns = table.key.iter().map(|column| (column.name.as_str(), column.form));
            // A key without a text names no row: what reads by it depends on the whole table already.
            if table.key.iter().all(|column| column.form.has_row_tag()) {
                self.named(table, images, columns.collect(), tags, |parts| {
                    Tag::row(&table.name, parts.iter().copied())
                });
            }
        }
        for group in self.groups_of(table) {
            let columns = group.columns.iter().map(|name| Some((name.as_str(), table.column(name)?.form)));
            match columns.collect::<Option<Vec<_>>>() {
                Some(columns) => {
                    self.named(table, images, columns, tags, |parts| {
                        Tag::group(&table.name, &group.name, parts.iter().copied())
                    });
                }
                None => push(Tag::wide(&table.name), tags),
            }
        }
    }

    /// Raises the tag that `tag` makes of the old and of the new values of `columns`, or `wide` where one is not known.
    fn named(
        &self,
        table: &TableInfo,
        images: Images<'_>,
        columns: Vec<(&str, ColumnForm)>,
        tags: &mut Vec<Tag>,
        tag: impl Fn(&[&str]) -> Tag,
    ) {
        match images.values(&columns) {
            Some(values) => {
                for parts in values {
                    push(tag(&parts.iter().map(String::as_str).collect::<Vec<_>>()), tags);
                }
            }
            None => push(Tag::wide(&table.name), tags),
        }
    }
}

/// The row before and after a change, as far as it is told.
#[derive(Clone, Copy)]
struct Images<'a> {
    relation: &'a Relation,
    old: Option<&'a Tuple<'a>>,
    new: Option<&'a Tuple<'a>>,
}

impl Images<'_> {
    /// The canonical texts of `columns` before and after; none where they are not known.
    fn values(&self, columns: &[(&str, ColumnForm)]) -> Option<Vec<Vec<String>>> {
        let place = |(name, form): &(&str, _)| {
            let place = self.relation.columns.iter().position(|column| column.name == *name)?;
            // Outside of the replica identity an old value is told as NULL, or not at all.
            self.relation.columns[place].is_key.then_some((place, *form))
        };
        let places: Vec<(usize, ColumnForm)> = columns.iter().map(place).collect::<Option<_>>()?;
        let texts = |tuple: &Tuple<'_>, instead: Option<&Tuple<'_>>| {
            let text = |(place, form): &(usize, _)| {
                let told = match *tuple.columns.get(*place)? {
                    Value::Unchanged => *instead?.columns.get(*place)?,
                    told => told,
                };
                match told {
                    Value::Null => canonical_told(form, None),
                    Value::Text(text) => canonical_told(form, Some(text)),
                    Value::Unchanged | Value::Opaque => None,
                }
            };
            places.iter().map(text).collect::<Option<Vec<String>>>()
        };
        let mut found = Vec::with_capacity(2);
        if let Some(old) = self.old {
            found.push(texts(old, None)?);
        }
        if let Some(new) = self.new {
            // Without an old image the identity has not changed.
            let after = texts(new, self.old)?;
            if !found.contains(&after) {
                found.push(after);
            }
        }
        Some(found)
    }
}

#[cfg(test)]
mod real;
#[cfg(test)]
mod tests;
