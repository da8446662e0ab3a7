//! Faults: what is broken, for how long, and how it is mended.

mod bulk;
mod catalogue;
mod cluster;
mod network;
mod node;
mod postgres;
mod redis;
mod rewind;
mod schedule;
mod schema;
mod sqlite;

use std::time::Duration;

use rand::rngs::StdRng;
use trueup_core::env::BoxFuture;

pub(crate) use self::{
    catalogue::{CATALOGUE, LOCKED, find, possible},
    schedule::{Plan, Window, run},
};
use crate::world::{L2Kind, LabError, SourceKind, World};

/// What comes of an injection or a repair.
type Done<'a> = BoxFuture<'a, Result<(), LabError>>;

/// One fault, from its injection to its repair. Made anew for each time.
pub(crate) trait Fault: Send {
    /// Breaks it.
    fn inject<'a>(&'a mut self, world: &'a World, dice: &'a mut StdRng) -> Done<'a>;

    /// Mends it.
    fn heal<'a>(&'a mut self, world: &'a World) -> Done<'a>;
}

/// What of the world a fault takes hold of. Two faults at once take hold of different parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// A node, or the way to it.
    Nodes,
    /// The database itself: writes may fail meanwhile.
    Database,
    /// What the database says of changes.
    Feed,
    /// Tables and their rows; writes do not fail.
    Rows,
    /// The remote tier.
    Remote,
}

/// What a fault needs to be there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Needs {
    pub(crate) source: Option<SourceKind>,
    pub(crate) l2: Option<L2Kind>,
    /// Nodes, at least.
    pub(crate) nodes: usize,
}

impl Needs {
    /// Whether a world has it all.
    pub(crate) fn met(self, source: SourceKind, l2: L2Kind, nodes: usize) -> bool {
        self.source.is_none_or(|needed| needed == source)
            && self.l2.is_none_or(|needed| needed == l2)
            && nodes >= self.nodes
    }

    /// In words, for a list.
    pub(crate) fn words(self) -> String {
        let source = self.source.map(|source| match source {
            SourceKind::Sqlite => "sqlite".to_owned(),
            SourceKind::Postgres => "postgres".to_owned(),
        });
        let l2 = self.l2.map(|l2| match l2 {
            L2Kind::None => "no l2".to_owned(),
            L2Kind::Redis => "l2 redis".to_owned(),
            L2Kind::Cluster => "l2 cluster".to_owned(),
        });
        let nodes = (self.nodes > 1).then(|| format!("{} nodes", self.nodes));
        let words: Vec<String> = [source, l2, nodes].into_iter().flatten().collect();
        if words.is_empty() { "any".to_owned() } else { words.join(", ") }
    }
}

/// A fault as it stands in the catalogue.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// What happens, in one sentence.
    pub(crate) what: &'static str,
    pub(crate) needs: Needs,
    pub(crate) part: Part,
    /// Least and most time between injection and repair.
    pub(crate) hold: [Duration; 2],
    pub(crate) make: fn() -> Box<dyn Fault>,
}

impl Kind {
    /// Whether both can be broken at once: they take hold of different parts, and neither has to write while the other holds
    /// the file's write lock.
    fn goes_with(&self, other: &Self) -> bool {
        let waits = |one: &Self, other: &Self| one.name == LOCKED && other.part == Part::Rows;
        self.part != other.part && !waits(self, other) && !waits(other, self)
    }
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Kind").field(&self.name).finish()
    }
}
