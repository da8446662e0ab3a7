//! Rows that change in ways that are not told one by one.

use std::{ops::Range, sync::atomic::Ordering};

use rand::rngs::StdRng;

use super::{Done, Fault};
use crate::{
    history::Object,
    world::{World, schema::body},
};

/// Of a hundred writes to items, so many are of the unusual kind while the fault lasts.
const UNUSUAL_PERCENT: u32 = 50;

/// Writes every item, at the version that the transaction has given it.
pub(super) fn rewrite(items: Range<Object>, writer: &str) -> String {
    format!(
        "UPDATE item SET writer = '{writer}', version = \
         (SELECT version FROM ledger WHERE object = item.id + {} - 1)",
        items.start
    )
}

/// Every item is written by one transaction, together with very many rows of another table.
#[derive(Default)]
pub(super) struct Updated;

impl Fault for Updated {
    fn inject<'a>(&'a mut self, world: &'a World, _: &'a mut StdRng) -> Done<'a> {
        Box::pin(async {
            let rows = world.bulk_rows;
            let ballast = format!(
                "CREATE TABLE IF NOT EXISTS ballast (id INTEGER PRIMARY KEY, n BIGINT NOT NULL); \
                 WITH RECURSIVE series (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM series WHERE id < {rows}) \
                 INSERT INTO ballast SELECT id, 0 FROM series ON CONFLICT (id) DO UPDATE SET n = ballast.n + 1"
            );
            // A SELECT of an upsert needs a WHERE in SQLite, else ON CONFLICT reads as a join.
            let ballast = ballast.replace("FROM series ON CONFLICT", "FROM series WHERE true ON CONFLICT");
            world.batch(&ballast).await?;
            let items = world.book.layout.item_objects();
            let update = rewrite(items.clone(), "bulk");
            world.write_all(items, &[update], |object| world.book.is_present(object)).await?;
            world.batch("UPDATE ballast SET n = n + 1").await
        })
    }

    fn heal<'a>(&'a mut self, _: &'a World) -> Done<'a> {
        Box::pin(async { Ok(()) })
    }
}

/// Every item is gone at once.
pub(super) struct Emptied {
    /// How it is said: `TRUNCATE` or `DELETE` without a condition.
    pub(super) statement: &'static str,
}

impl Fault for Emptied {
    fn inject<'a>(&'a mut self, world: &'a World, _: &'a mut StdRng) -> Done<'a> {
        Box::pin(async {
            let items = world.book.layout.item_objects();
            world.write_all(items, &[self.statement.to_owned()], |_| false).await
        })
    }

    /// All items are there again.
    fn heal<'a>(&'a mut self, world: &'a World) -> Done<'a> {
        Box::pin(async {
            let layout = world.book.layout;
            let rows: Vec<String> = layout
                .item_objects()
                .map(|object| {
                    let row = layout.single(object);
                    let version = format!("(SELECT version FROM ledger WHERE object = {object})");
                    format!("({}, '{}', {}, {version}, 'refill')", row.id, body(row), world.book.slot())
                })
                .collect();
            let refill = format!(
                "INSERT INTO item (id, body, slot, version, writer) VALUES {} ON CONFLICT (id) DO UPDATE SET \
                 version = excluded.version, writer = excluded.writer",
                rows.join(", ")
            );
            world.write_all(layout.item_objects(), &[refill], |_| true).await
        })
    }
}

/// Rows push out other rows by a secondary unique key.
#[derive(Default)]
pub(super) struct Replaced;

impl Fault for Replaced {
    fn inject<'a>(&'a mut self, world: &'a World, _: &'a mut StdRng) -> Done<'a> {
        world.book.mix.replace.store(UNUSUAL_PERCENT, Ordering::Relaxed);
        Box::pin(async { Ok(()) })
    }

    fn heal<'a>(&'a mut self, world: &'a World) -> Done<'a> {
        world.book.mix.replace.store(0, Ordering::Relaxed);
        Box::pin(async { Ok(()) })
    }
}

/// Rows change their primary keys.
#[derive(Default)]
pub(super) struct Rekeyed;

impl Fault for Rekeyed {
    fn inject<'a>(&'a mut self, world: &'a World, _: &'a mut StdRng) -> Done<'a> {
        world.book.mix.rekey.store(UNUSUAL_PERCENT, Ordering::Relaxed);
        Box::pin(async { Ok(()) })
    }

    fn heal<'a>(&'a mut self, world: &'a World) -> Done<'a> {
        world.book.mix.rekey.store(0, Ordering::Relaxed);
        Box::pin(async { Ok(()) })
    }
}
