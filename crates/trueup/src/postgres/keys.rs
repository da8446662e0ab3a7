//! All keys of a table, page by page, in the order of its primary key.

use std::{sync::Arc, time::Duration};

use trueup_core::{
    env::BoxFuture,
    key::{Key, KeyBody, KeyForm, OwnedSqlValue},
    proof::{TableTags, Tag},
    source::{KeyPage, KeySet, LoadError, PageEnd},
};

use super::{
    canonical::{KeyColumn, canonical_key, canonical_told},
    discover::{TableInfo, TableKind},
    handle::Postgres,
    load::{LOAD_BYTES_MAX, Reads, Request, SAW, SAW_COLUMNS},
    names::{identifier, qualified},
    value::AsText,
};

/// Columns of [`SAW`], before those of the key.
const SAW_WIDTH: usize = 3;

/// How the keys of a table are read, in one shape of it.
#[derive(Clone, Debug)]
pub(super) struct Pages {
    /// As it stands in tags.
    table: String,
    key: Vec<KeyColumn>,
    from: String,
}

impl Pages {
    /// How the keys of `table` are read.
    ///
    /// # Errors
    /// Why they can't be, or not all of them.
    pub(super) fn of(table: &TableInfo) -> Result<Self, &'static str> {
        if table.kind != TableKind::Plain || !table.descendants.is_empty() {
            return Err(
                "a table with partitions or inheritors has rows that are not its own; name one of those",
            );
        }
        if !table.key.iter().all(|column| column.form.has_row_tag()) {
            return Err("a part of its key has a type whose equal values are written in several ways");
        }
        Ok(Self {
            table: table.name.clone(),
            key: table.key.clone(),
            from: qualified(&table.schema, &table.table),
        })
    }

    /// A page of keys, each part as the feed would tell it: by the output function of its type. The number of rows is
    /// written out, so that the planner knows it.
    fn sql(&self, rows_max: usize, is_first: bool) -> String {
        let listed = |each: &dyn Fn(usize, &KeyColumn) -> String| {
            self.key.iter().enumerate().map(|(i, column)| each(i, column)).collect::<Vec<_>>().join(", ")
        };
        let names = listed(&|_, column| format!("r.{}", identifier(&column.name)));
        let renamed = listed(&|i, column| format!("r.{} AS c{i}", identifier(&column.name)));
        let order = listed(&|i, _| format!("p.c{i}"));
        let texts = listed(&|i, _| format!("array_agg(format('%s', p.c{i}) ORDER BY {order}) AS k{i}"));
        let result = listed(&|i, _| format!("q.k{i}"));
        let after = if is_first {
            String::new()
        } else {
            let params = listed(&|i, column| format!("${}::{}", i + 1, column.parameter));
            format!("WHERE ({names}) > ({params})")
        };
        format!(
            "SELECT {SAW_COLUMNS}, {result} FROM {SAW} CROSS JOIN LATERAL (SELECT {texts} FROM (SELECT {renamed} FROM {} r \
             {after} ORDER BY {names} LIMIT {rows_max}) p) q",
            self.from
        )
    }
}

/// The keys of one table.
pub(super) struct TableKeys {
    pub(super) postgres: Postgres,
    pub(super) form: KeyForm,
    pub(super) pages: Pages,
    pub(super) limit: Duration,
}

impl TableKeys {
    async fn read(&self, after: Option<&PageEnd>, rows_max: usize) -> Result<KeyPage, LoadError> {
        let (shared, pages) = (&self.postgres.shared, &self.pages);
        let sql = pages.sql(rows_max, after.is_none());
        let params: Vec<AsText> = after.iter().flat_map(|end| &end.0).map(AsText::of).collect();
        let request = Request { sql: &sql, params: &params, limit: self.limit, bytes_max: LOAD_BYTES_MAX };
        let rows = shared.rows_in_time(&request, Reads::Statement).await?;
        let seen = shared.seen(&rows)?;
        let row = rows.first().ok_or(LoadError::Lost)?;
        let column = |i| {
            let texts: Result<Option<Vec<String>>, _> = row.try_get(SAW_WIDTH + i);
            texts.map(Option::unwrap_or_default).map_err(|_| LoadError::Lost)
        };
        let columns = (0..pages.key.len()).map(column).collect::<Result<Vec<_>, _>>()?;
        let count = columns.first().map_or(0, Vec::len);
        if columns.iter().any(|column| column.len() != count) {
            return Err(LoadError::Lost);
        }
        let tags = (0..count).map(|at| self.tag_of(&columns, at)).collect::<Result<_, _>>()?;
        let last = |column: &Vec<String>| column.last().cloned().map(OwnedSqlValue::Text);
        let end = if count < rows_max { None } else { columns.iter().map(last).collect() };
        Ok(KeyPage { tags, end: end.map(PageEnd), upper: seen.upper, epoch: seen.epoch })
    }

    fn tag_of(&self, columns: &[Vec<String>], at: usize) -> Result<Tag, LoadError> {
        let keys = self.pages.key.iter().zip(columns);
        let parts: Option<Vec<String>> =
            keys.map(|(key, column)| canonical_told(&key.form, Some(&column[at]))).collect();
        let parts = parts.ok_or_else(|| {
            let why =
                format!("a row of table `{}` has a key that cannot be written in one way", self.pages.table);
            LoadError::Refused(why.into())
        })?;
        Ok(Tag::row(&self.pages.table, parts.iter().map(String::as_str)))
    }
}

impl KeySet<Key> for TableKeys {
    fn tag(&self, key: &Key) -> Option<Tag> {
        let KeyBody::Columns(values) = self.form.values(key).ok()?.body else { return None };
        let columns = self.pages.key.iter().zip(&values);
        let parts: Vec<String> =
            columns.map(|(column, value)| canonical_key(&column.form, value)).collect::<Option<_>>()?;
        (parts.len() == self.pages.key.len())
            .then(|| Tag::row(&self.pages.table, parts.iter().map(String::as_str)))
    }

    fn table(&self) -> TableTags {
        TableTags::of(&self.pages.table)
    }

    fn page<'a>(
        &'a self,
        after: Option<&'a PageEnd>,
        rows_max: usize,
    ) -> BoxFuture<'a, Result<KeyPage, LoadError>> {
        Box::pin(self.read(after, rows_max))
    }
}

/// The keys of a table in its present shape.
///
/// # Errors
/// Why they cannot be told.
pub(super) fn key_set(
    postgres: &Postgres,
    form: &KeyForm,
    pages: Result<Pages, &'static str>,
    limit: Duration,
) -> Result<Arc<dyn KeySet<Key>>, &'static str> {
    Ok(Arc::new(TableKeys { postgres: postgres.clone(), form: form.clone(), pages: pages?, limit }))
}
