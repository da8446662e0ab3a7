//! A transaction that has not ended yet, as far as it has been told.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use trueup_core::proof::Tag;

use crate::postgres::feed::{
    mapper::{Mapper, Tuple},
    pgoutput::{Relation, Row, Value},
};

/// Distinct tags of one transaction beyond which its tables are told as a whole.
pub(in crate::postgres::feed) const TRANSACTION_TAGS_MAX: usize = 10_000;
/// Most tags that messages of one transaction may raise: there is no table that could stand for them.
pub(in crate::postgres::feed) const NAMED_TAGS_MAX: usize = 1_000_000;

/// The connection tells what cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::postgres::feed) enum AssembleError {
    #[error("the log is out of order: {0}")]
    Order(&'static str),
    #[error("the log tells a change of the relation with oid {0}, but not what that is")]
    Relation(u32),
    #[error("the log tells a row of `{table}` with {told} values, but {columns} columns")]
    Width { table: String, told: usize, columns: usize },
    #[error(
        "one transaction invalidates more than {NAMED_TAGS_MAX} tags by name; invalidate in several transactions"
    )]
    TooManyNamed,
}

/// See the module.
pub(super) struct Open {
    xid: u32,
    /// What each subtransaction changed, by its id, so that a part that is rolled back can be forgotten.
    parts: HashMap<u32, Part>,
    /// Tags in all parts.
    tags: usize,
    /// Tags raised by name, once the transaction is told as a whole.
    named: HashSet<Tag>,
    /// Relations told within a stream.
    relations: HashMap<u32, Arc<Relation>>,
    /// Too many tags: the tables that are told as a whole.
    whole: Option<HashMap<u32, Arc<Relation>>>,
}

#[derive(Default)]
struct Part {
    tags: HashSet<Tag>,
    named: HashSet<Tag>,
    touched: HashMap<u32, Arc<Relation>>,
}

impl Open {
    pub(super) fn new(xid: u32) -> Self {
        Self {
            xid,
            parts: HashMap::new(),
            tags: 0,
            named: HashSet::new(),
            relations: HashMap::new(),
            whole: None,
        }
    }

    pub(super) const fn xid(&self) -> u32 {
        self.xid
    }

    pub(super) fn learn(&mut self, relation: Arc<Relation>) {
        self.relations.insert(relation.oid, relation);
    }

    pub(super) fn relation(&self, oid: u32) -> Option<&Arc<Relation>> {
        self.relations.get(&oid)
    }

    pub(super) fn take_relations(&mut self) -> HashMap<u32, Arc<Relation>> {
        std::mem::take(&mut self.relations)
    }

    /// A row changed.
    pub(super) fn row(
        &mut self,
        part: u32,
        relation: &Arc<Relation>,
        old: Option<Row<'_>>,
        new: Option<Row<'_>>,
        mapper: &dyn Mapper,
    ) -> Result<(), AssembleError> {
        if let Some(whole) = &mut self.whole {
            whole.entry(relation.oid).or_insert_with(|| Arc::clone(relation));
            return Ok(());
        }
        let old = old.map(|row| values(relation, row)).transpose()?;
        let mut new = new.map(|row| values(relation, row)).transpose()?;
        if let (Some(old), Some(new)) = (&old, &mut new) {
            fill_unchanged(old, new);
        }
        let tuple = |columns| Tuple { columns };
        let (old, new) = (old.as_deref().map(tuple), new.as_deref().map(tuple));
        let mut tags = Vec::new();
        mapper.row(relation, old.as_ref(), new.as_ref(), &mut tags);
        self.raise(part, relation, tags);
        Ok(())
    }

    /// A table was emptied.
    pub(super) fn whole(&mut self, part: u32, relation: &Arc<Relation>, mapper: &dyn Mapper) {
        if let Some(whole) = &mut self.whole {
            whole.insert(relation.oid, Arc::clone(relation));
            return;
        }
        let mut tags = Vec::new();
        mapper.whole(relation, &mut tags);
        self.raise(part, relation, tags);
    }

    /// A message raises tags by name.
    pub(super) fn name(
        &mut self,
        part: u32,
        tags: impl ExactSizeIterator<Item = Tag>,
    ) -> Result<(), AssembleError> {
        let held = self.named.len() + self.parts.values().map(|part| part.named.len()).sum::<usize>();
        if held + tags.len() > NAMED_TAGS_MAX {
            return Err(AssembleError::TooManyNamed);
        }
        if self.whole.is_some() {
            self.named.extend(tags);
        } else {
            self.parts.entry(part).or_default().named.extend(tags);
        }
        Ok(())
    }

    /// A subtransaction was rolled back. Nothing is forgotten once tables are told as a whole: too much is harmless.
    pub(super) fn forget(&mut self, part: u32) {
        if let Some(part) = self.parts.remove(&part) {
            self.tags -= part.tags.len();
        }
    }

    /// Everything that the transaction raises, each tag once.
    pub(super) fn into_tags(self, mapper: &dyn Mapper) -> Vec<Tag> {
        let mut tags: Vec<Tag> = self.named.into_iter().collect();
        for part in self.parts.into_values() {
            tags.extend(part.tags);
            tags.extend(part.named);
        }
        for relation in self.whole.iter().flat_map(HashMap::values) {
            mapper.whole(relation, &mut tags);
        }
        tags.sort_unstable();
        tags.dedup();
        tags
    }

    fn raise(&mut self, part: u32, relation: &Arc<Relation>, tags: Vec<Tag>) {
        // Noted also where nothing is raised: by another mapping it would be.
        let part = self.parts.entry(part).or_default();
        part.touched.entry(relation.oid).or_insert_with(|| Arc::clone(relation));
        let before = part.tags.len();
        part.tags.extend(tags);
        self.tags += part.tags.len() - before;
        if self.tags > TRANSACTION_TAGS_MAX {
            self.tell_as_whole();
        }
    }

    /// Tells the tables touched so far, and those that will be, as a whole.
    pub(super) fn tell_as_whole(&mut self) {
        let mut whole = self.whole.take().unwrap_or_default();
        for part in std::mem::take(&mut self.parts).into_values() {
            whole.extend(part.touched);
            self.named.extend(part.named);
        }
        self.tags = 0;
        self.whole = Some(whole);
    }
}

fn values<'a>(relation: &Relation, row: Row<'a>) -> Result<Vec<Value<'a>>, AssembleError> {
    let values: Vec<_> = row.values().collect();
    if values.len() == relation.columns.len() {
        return Ok(values);
    }
    let table = format!("{}.{}", relation.namespace, relation.name);
    Err(AssembleError::Width { table, told: values.len(), columns: relation.columns.len() })
}

/// A large value that was not changed is told with the old row or not at all.
fn fill_unchanged<'a>(old: &[Value<'a>], new: &mut [Value<'a>]) {
    for (new, old) in new.iter_mut().zip(old) {
        if *new == Value::Unchanged && matches!(old, Value::Text(_)) {
            *new = *old;
        }
    }
}
