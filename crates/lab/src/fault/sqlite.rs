//! What can happen to a SQLite file and to the log in it.

use std::time::Duration;

use rand::{Rng as _, rngs::StdRng};
use rustix::process::Signal;

use super::{Done, Fault};
use crate::world::{LabError, SqliteSession, World, blocking};

/// How long writes go on while a node does not look.
const UNSEEN: Duration = Duration::from_millis(500);

/// A program holds the write lock: nobody can write, and the feed cannot be kept.
#[derive(Default)]
pub(super) struct Locked {
    session: Option<SqliteSession>,
}

impl Fault for Locked {
    fn inject<'a>(&'a mut self, world: &'a World, _: &'a mut StdRng) -> Done<'a> {
        Box::pin(async {
            let mut session = SqliteSession::open(world.source.sqlite()?)?;
            blocking(|| Ok(session.conn().execute_batch("BEGIN IMMEDIATE")?))?;
            self.session = Some(session);
            Ok(())
        })
    }

    fn heal<'a>(&'a mut self, _: &'a World) -> Done<'a> {
        // Rolls back when it closes.
        Box::pin(async {
            self.session = None;
            Ok(())
        })
    }
}

/// The log loses all but its end while a node stands still: what it had not read yet is gone.
#[derive(Default)]
pub(super) struct Trimmed {
    node: usize,
}

impl Fault for Trimmed {
    fn inject<'a>(&'a mut self, world: &'a World, dice: &'a mut StdRng) -> Done<'a> {
        self.node = dice.random_range(0..world.nodes.len());
        Box::pin(async {
            world.nodes[self.node].signal(Signal::STOP)?;
            tokio::time::sleep(UNSEEN).await;
            let trim = "DELETE FROM _trueup_log WHERE seq < (SELECT max(seq) FROM _trueup_log)";
            let mut session = SqliteSession::open(world.source.sqlite()?)?;
            blocking(|| session.conn().execute_batch(trim).map_err(LabError::from))
        })
    }

    fn heal<'a>(&'a mut self, world: &'a World) -> Done<'a> {
        Box::pin(async { world.nodes[self.node].signal(Signal::CONT) })
    }
}

/// The file is written anew from end to end.
#[derive(Default)]
pub(super) struct Vacuumed;

impl Fault for Vacuumed {
    fn inject<'a>(&'a mut self, world: &'a World, _: &'a mut StdRng) -> Done<'a> {
        Box::pin(async {
            let mut session = SqliteSession::open(world.source.sqlite()?)?;
            blocking(|| Ok(session.conn().execute_batch("VACUUM")?))
        })
    }

    fn heal<'a>(&'a mut self, _: &'a World) -> Done<'a> {
        Box::pin(async { Ok(()) })
    }
}
