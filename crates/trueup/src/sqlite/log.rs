//! From rows of the log to tags.

use std::collections::BTreeSet;

use rusqlite::{Connection, Row, types::ValueRef};
use trueup_core::proof::{Tag, Transaction, Xid};

use super::{
    canonical::canonical_parts,
    names::{LOG, kind},
    registry::{Followed, Registry},
    state::position,
};

/// Log rows in one message.
pub(super) const MESSAGE_ROWS_MAX: usize = 4096;
/// When more rows than these wait, tables with more changes than these are told as a whole, so that a bulk change costs
/// neither memory nor time per row.
pub(super) const BULK_ROWS: i64 = 10_000;
/// Where the value columns begin in a row of the log.
const FIRST_VALUE: usize = 5;

/// Some rows of the log, read.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) transactions: Vec<Transaction>,
    /// When the rows were written, milliseconds since 1970.
    pub(super) written_at_ms: Vec<u64>,
    /// Readers that want to join.
    pub(super) joining: Vec<i64>,
    /// Sequence number of the last row read.
    pub(super) last: i64,
}

/// Tables that changed in more than [`BULK_ROWS`] rows after `after`.
pub(super) fn bulk_tables(conn: &Connection, after: i64, through: i64) -> rusqlite::Result<BTreeSet<i64>> {
    if through - after <= BULK_ROWS {
        return Ok(BTreeSet::new());
    }
    let mut counts = conn.prepare_cached(&format!(
        "SELECT tbl FROM {LOG} WHERE seq > ?1 AND seq <= ?2 AND tbl > 0 GROUP BY tbl HAVING count(*) > ?3"
    ))?;
    counts.query_map([after, through, BULK_ROWS], |row| row.get(0))?.collect()
}

/// The tags of a table told as a whole.
pub(super) fn whole(registry: &Registry, ids: &BTreeSet<i64>) -> Vec<Tag> {
    let tables = ids.iter().filter_map(|id| registry.by_id(*id));
    tables.flat_map(|followed| [Tag::wide(&followed.name), Tag::any(&followed.name)]).collect()
}

/// Reads the rows after `after` through `through`, at most [`MESSAGE_ROWS_MAX`], leaving out tables in `bulk`.
pub(super) fn read(
    conn: &Connection,
    registry: &Registry,
    bulk: &BTreeSet<i64>,
    after: i64,
    through: i64,
) -> rusqlite::Result<Batch> {
    // Where nothing is left out the plain statement is the cheaper one.
    let skip = if bulk.is_empty() { "" } else { "AND tbl NOT IN (SELECT value FROM json_each(?4))" };
    let mut statement = conn.prepare_cached(&format!(
        "SELECT * FROM {LOG} WHERE seq > ?1 AND seq <= ?2 {skip} ORDER BY seq LIMIT ?3"
    ))?;
    let mut rows = if bulk.is_empty() {
        statement.query((after, through, MESSAGE_ROWS_MAX as i64))?
    } else {
        let left_out: Vec<String> = bulk.iter().map(i64::to_string).collect();
        statement.query((after, through, MESSAGE_ROWS_MAX as i64, format!("[{}]", left_out.join(","))))?
    };
    let mut batch = Batch { last: after, ..Batch::default() };
    let mut count = 0;
    while let Some(row) = rows.next()? {
        batch.last = row.get(0)?;
        count += 1;
        let tags = match (row.get::<_, i64>(4)?, registry.by_id(row.get(3)?)) {
            (kind::ROW, Some(table)) => row_tags(table, row),
            (kind::WIDE, Some(table)) => vec![Tag::wide(&table.name), Tag::any(&table.name)],
            (kind::TAG, _) => vec![Tag(row.get::<_, i64>(FIRST_VALUE)?.cast_unsigned())],
            (kind::JOIN, _) => {
                batch.joining.push(row.get(FIRST_VALUE)?);
                continue;
            }
            _ => continue,
        };
        batch.transactions.push(Transaction { xid: Xid::default(), end: position(batch.last), tags });
        batch.written_at_ms.push(row.get::<_, i64>(2)?.max(0).cast_unsigned());
    }
    if count < MESSAGE_ROWS_MAX {
        batch.last = through.max(batch.last);
    }
    Ok(batch)
}

/// What one row image raises: its row, its table, its groups.
fn row_tags(table: &Followed, row: &Row<'_>) -> Vec<Tag> {
    exact_row_tags(table, row).unwrap_or_else(|| vec![Tag::wide(&table.name), Tag::any(&table.name)])
}

/// None where the image cannot be read as the table is now: other columns, or text that is not UTF-8.
fn exact_row_tags(table: &Followed, row: &Row<'_>) -> Option<Vec<Tag>> {
    if table.outdated.is_some() {
        return None;
    }
    let value = |index: usize| row.get_ref(FIRST_VALUE + index).ok();
    let images: Vec<ValueRef<'_>> = (0..table.logged.width()).map(value).collect::<Option<_>>()?;
    let (key, grouped) = images.split_at(table.logged.key.len());
    let mut tags = vec![Tag::any(&table.name)];
    if !key.is_empty() {
        let parts = canonical_parts(&table.logged.key, key.iter().copied())?;
        tags.push(Tag::row(&table.name, parts.iter().map(String::as_str)));
    }
    let values = canonical_parts(&table.logged.groups, grouped.iter().copied())?;
    for group in &table.groups {
        let of_group = table.group_columns(group).map(|(index, _)| values[index].as_str());
        tags.push(Tag::group(&table.name, &group.name, of_group));
    }
    Some(tags)
}
