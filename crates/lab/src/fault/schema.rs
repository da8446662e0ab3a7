//! Tables and what is published of them change under load.

use rand::rngs::StdRng;

use super::{Done, Fault};
use crate::world::World;

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
