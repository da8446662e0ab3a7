//! Tables and what is published of them change under load.

use std::collections::HashSet;

use rand::rngs::StdRng;

use super::{Done, Fault};
use crate::{history::Object, world::World};

/// A column comes and goes.
#[derive(Default)]
pub(super) struct Altered;

impl Fault for Altered {
    fn inject<'a>(&'a mut self, world: &'a World, _: &'a mut StdRng) -> Done<'a> {
        Box::pin(async { world.batch("ALTER TABLE item ADD COLUMN later TEXT").await })
    }

    fn heal<'a>(&'a mut self, world: &'a World) -> Done<'a> {
        Box::pin(async { world.batch("ALTER TABLE item DROP COLUMN later").await })
    }
}

/// A table is no longer published, and later is again (PostgreSQL): its changes are told to nobody meanwhile.
#[derive(Default)]
pub(super) struct Unpublished;

impl Fault for Unpublished {
    fn inject<'a>(&'a mut self, world: &'a World, _: &'a mut StdRng) -> Done<'a> {
        Box::pin(async { world.batch("ALTER PUBLICATION trueup DROP TABLE item").await })
    }

    fn heal<'a>(&'a mut self, world: &'a World) -> Done<'a> {
        Box::pin(async { world.batch("ALTER PUBLICATION trueup ADD TABLE item").await })
    }
}

/// A partition is detached: its rows are no rows of the table any more, and nobody has deleted them. Later they are again.
#[derive(Default)]
pub(super) struct Detached {
    rows: HashSet<Object>,
}

impl Fault for Detached {
    fn inject<'a>(&'a mut self, world: &'a World, _: &'a mut StdRng) -> Done<'a> {
        Box::pin(async {
            let upper = world.book.layout.upper_shelves();
            let detach = "ALTER TABLE shelf DETACH PARTITION shelf_upper".to_owned();
            // Asked while nobody writes.
            let mut rows = HashSet::new();
            let forget = |object| {
                if world.book.is_present(object) {
                    rows.insert(object);
                }
                false
            };
            world.write_all(upper, &[detach], forget).await?;
            self.rows = rows;
            Ok(())
        })
    }

    fn heal<'a>(&'a mut self, world: &'a World) -> Done<'a> {
        Box::pin(async {
            let layout = world.book.layout;
            let (middle, end) = (layout.shelves / 2 + 1, layout.shelves + 1);
            let number = format!(
                "UPDATE shelf_upper SET version = (SELECT version FROM ledger WHERE object = shelf_upper.id + {} - 1)",
                layout.shelf_objects().start
            );
            let attach = format!(
                "ALTER TABLE shelf ATTACH PARTITION shelf_upper FOR VALUES FROM ({middle}) TO ({end})"
            );
            world
                .write_all(layout.upper_shelves(), &[number, attach], |object| self.rows.contains(&object))
                .await
        })
    }
}
