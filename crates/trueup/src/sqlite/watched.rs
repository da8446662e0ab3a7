//! Loads whose dependencies are found while they run.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rusqlite::Connection;
use trueup_core::{
    key::OwnedSqlValue,
    proof::{Seen, Tag, Tags},
    source::LoadError,
};

use super::{
    canonical::canonical,
    depend::{Collector, Dependencies},
    error::SqliteError,
    handle::{READ_LOCK_WAIT, Sqlite},
    load::Fault,
    names::same_name,
    pool::{Access, Pool, Watch},
    registry::{Followed, Registry},
    state::State,
};

/// Attempts to judge a load under the very schema that it ran under, while DDL is going on.
const SCHEMA_ATTEMPTS_MAX: usize = 5;

/// Which rows of a table a load depends on, where that is less than all of them.
#[derive(Clone, Debug, PartialEq)]
pub enum Narrow {
    /// One row, by its key's columns.
    Row(Vec<OwnedSqlValue>),
    /// The rows of an installed group, by the group's columns.
    Group {
        /// The group's name.
        name: String,
        /// Values in the order of its columns.
        values: Vec<OwnedSqlValue>,
    },
}

/// Connections whose statements are watched, and what they were seen to read.
pub(super) struct Watched {
    sqlite: Sqlite,
    pool: Pool,
    collector: Arc<Collector>,
    /// Answers may change without a change of the tables.
    age_bounded: bool,
    /// Tables that the owner says are all that is read.
    declared: Option<Vec<String>>,
    judged: Mutex<Option<Judged>>,
}

#[derive(Clone)]
struct Judged {
    schema_version: i64,
    count: u64,
    found: Arc<Found>,
}

/// What a load depends on, under one schema.
pub(super) struct Found {
    pub(super) dependencies: Dependencies,
    registry: Arc<Registry>,
}

impl Watched {
    pub(super) fn new(sqlite: &Sqlite, age_bounded: bool, declared: Option<Vec<String>>) -> Self {
        let collector = Arc::new(Collector::default());
        let clock = sqlite.options().clock.clone();
        let watch = Some(Arc::clone(&collector) as Arc<dyn Watch>);
        let pool = Pool::new(sqlite.path(), Access::Read, READ_LOCK_WAIT, clock, watch);
        Self { sqlite: sqlite.clone(), pool, collector, age_bounded, declared, judged: Mutex::new(None) }
    }

    pub(super) fn sqlite(&self) -> &Sqlite {
        &self.sqlite
    }

    /// Runs `work` in one read transaction, and says what it saw and what it depends on.
    pub(super) fn read<T>(
        &self,
        limit: Duration,
        mut work: impl FnMut(&Connection) -> Result<T, Fault>,
    ) -> Result<(T, Seen, Arc<Found>), LoadError> {
        for _ in 0..SCHEMA_ATTEMPTS_MAX {
            let ran = self
                .sqlite
                .shared
                .read(&self.pool, limit, |conn, state| Ok((work(conn)?, state.schema_version)));
            let ((value, schema_version), seen) = ran.map_err(|error| self.explain(error))?;
            if let Some(found) = self.found(schema_version).map_err(|error| error.to_load_error())? {
                return Ok((value, seen, found));
            }
        }
        Err(LoadError::Unavailable("the schema changes all the time".into()))
    }

    /// A statement that the watch forbade fails with a code alone.
    fn explain(&self, error: LoadError) -> LoadError {
        match (self.collector.forbidden(), error) {
            (Some(why), LoadError::Refused(_)) => {
                LoadError::Refused(format!("a loader {why}; only SELECT is allowed").into())
            }
            (_, error) => error,
        }
    }

    /// What was seen so far, judged under `schema_version`; none when the schema has moved on since.
    fn found(&self, schema_version: i64) -> Result<Option<Arc<Found>>, SqliteError> {
        // Counted before judging: what is named meanwhile is judged the next time.
        let count = self.collector.count();
        if let Some(judged) = &*self.judged.lock()
            && judged.schema_version == schema_version
            && judged.count == count
        {
            return Ok(Some(Arc::clone(&judged.found)));
        }
        let shared = &self.sqlite.shared;
        let at = shared.at("looking for dependencies");
        let conn = shared.readers.lease(None)?;
        let tx = conn.unchecked_transaction().map_err(|e| at.error(e))?;
        if State::read(&tx).map_err(|e| at.error(e))?.schema_version != schema_version {
            return Ok(None);
        }
        let registry = shared.registry(&tx, schema_version).map_err(|e| at.error(e))?;
        let judged = self.collector.judge(&tx, &registry).map_err(|e| at.error(e))?;
        let dependencies =
            judged.and_then(|found| self.accept(found)).map_err(|reason| SqliteError::Query { reason })?;
        let found = Arc::new(Found { dependencies, registry });
        *self.judged.lock() = Some(Judged { schema_version, count, found: Arc::clone(&found) });
        Ok(Some(found))
    }

    /// Compares what was found with what was declared.
    fn accept(&self, found: Dependencies) -> Result<Dependencies, String> {
        if let (Some(why), false) = (&found.nondeterministic, self.age_bounded) {
            return Err(format!(
                "cannot be proven: {why}; give the class a life and declare it age-bounded, or leave the call out"
            ));
        }
        let Some(declared) = &self.declared else { return Ok(found) };
        match found.tables.iter().find(|table| !declared.iter().any(|name| same_name(name, table))) {
            Some(table) => Err(format!("reads table `{table}`, which its declaration leaves out; add it")),
            None => Ok(found),
        }
    }
}

impl Found {
    /// Tags of a load whose dependence on some tables is narrower than the whole table.
    pub(super) fn tags(&self, narrow: &BTreeMap<String, Narrow>) -> Result<Tags, LoadError> {
        let mut tags = Tags::new();
        for table in &self.dependencies.tables {
            match narrow.iter().find(|(name, _)| same_name(name, table)) {
                None => tags.push(Tag::any(table)),
                Some((_, rows)) => {
                    let tag = self.registry.table(table).map(|followed| narrow_tag(followed, rows));
                    tags.push(tag.unwrap_or(Err("is gone".into())).map_err(|why| refused(table, &why))?);
                    tags.push(Tag::wide(table));
                }
            }
        }
        Ok(tags)
    }

    pub(super) fn table(&self, name: &str) -> Option<&Followed> {
        self.registry.table(name)
    }
}

fn refused(table: &str, why: &str) -> LoadError {
    LoadError::Refused(format!("the declared dependence on table `{table}` {why}").into())
}

fn narrow_tag(table: &Followed, rows: &Narrow) -> Result<Tag, String> {
    let (columns, values): (Vec<_>, _) = match rows {
        Narrow::Row(values) => (table.logged.key.iter().collect(), values),
        Narrow::Group { name, values } => {
            let group = table.groups.iter().find(|group| group.name == *name).ok_or_else(|| {
                format!("names group `{name}`, which is not installed; run `trueup init --apply` with it")
            })?;
            (table.group_columns(group).map(|(_, column)| column).collect(), values)
        }
    };
    if columns.is_empty() || columns.len() != values.len() {
        return Err(format!("gives {} value(s), {} are needed", values.len(), columns.len()));
    }
    let part = |(column, value): (&&super::canonical::KeyColumn, &OwnedSqlValue)| {
        canonical(&column.form, value.as_value())
    };
    let parts: Vec<String> = columns
        .iter()
        .zip(values)
        .map(part)
        .collect::<Option<_>>()
        .ok_or("gives a value that is not of its column's type")?;
    let parts = parts.iter().map(String::as_str);
    Ok(match rows {
        Narrow::Row(_) => Tag::row(&table.name, parts),
        Narrow::Group { name, .. } => Tag::group(&table.name, name, parts),
    })
}
