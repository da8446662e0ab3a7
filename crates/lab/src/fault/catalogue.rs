//! Every fault by name.

use std::time::Duration;

use super::{
    Fault, Kind, Needs, Part, bulk, cluster,
    network::{Network, To},
    node, postgres, redis, rewind, schema, sqlite,
};
use crate::{
    proxy::Weather,
    world::{L2Kind, SourceKind},
};

const ANY: Needs = Needs { source: None, l2: None, nodes: 0 };
const NODE: Needs = Needs { nodes: 1, ..ANY };
const SQLITE: Needs = Needs { source: Some(SourceKind::Sqlite), ..ANY };
const SQLITE_NODE: Needs = Needs { nodes: 1, ..SQLITE };
const POSTGRES: Needs = Needs { source: Some(SourceKind::Postgres), ..ANY };
const POSTGRES_NODE: Needs = Needs { nodes: 1, ..POSTGRES };
const FLEET: Needs = Needs { nodes: 2, ..POSTGRES };
const REDIS: Needs = Needs { l2: Some(L2Kind::Redis), ..ANY };
const CLUSTER: Needs = Needs { l2: Some(L2Kind::Cluster), ..ANY };

/// For what is over in a moment: how long it is watched.
const MOMENT: [Duration; 2] = [Duration::from_millis(500), Duration::from_millis(1_500)];
/// Long enough that every bound is exceeded.
const SECONDS: [Duration; 2] = [Duration::from_millis(1_500), Duration::from_millis(4_000)];
/// Long enough for a takeover.
const TAKEOVER: [Duration; 2] = [Duration::from_secs(8), Duration::from_secs(12)];
/// Long enough for everything to give the silent one up.
const MINUTE: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(61)];

/// How slow a slow network is.
const LATENCY: Duration = Duration::from_millis(300);
/// Bytes a second of a narrow one.
const NARROW: u32 = 20_000;
/// The share of a server's answers that a bad network corrupts.
const GARBAGE: f64 = 0.3;

/// Its program holds the file's write lock until it is mended.
pub(crate) const LOCKED: &str = "database-locked";

const fn kind(
    name: &'static str,
    what: &'static str,
    needs: Needs,
    part: Part,
    hold: [Duration; 2],
    make: fn() -> Box<dyn Fault>,
) -> Kind {
    Kind { name, what, needs, part, hold, make }
}

/// A server that says of a setting what it says when it is well.
fn setting(name: &'static str, broken: &'static str, well: &'static str) -> Box<dyn Fault> {
    Box::new(postgres::Setting { name, broken, well })
}

fn slow() -> Weather {
    Weather::slow(LATENCY)
}

fn narrow() -> Weather {
    Weather::narrow(NARROW)
}

fn garbage() -> Weather {
    Weather::garbage(GARBAGE)
}

/// All faults.
#[rustfmt::skip]
pub(crate) const CATALOGUE: &[Kind] = &[
    kind("node-killed", "a node is killed -9 in the middle of its work and started again", NODE, Part::Nodes, SECONDS, || Box::<node::Killed>::default()),
    kind("node-stopped", "a node stands still (SIGSTOP) and wakes with what it knew before", NODE, Part::Nodes, SECONDS, || Box::<node::Stopped>::default()),
    kind("node-blinks", "a node stands still for some milliseconds, again and again", NODE, Part::Nodes, MOMENT, || Box::<node::Blinking>::default()),
    kind("alter-table", "a column is added and dropped under load", ANY, Part::Rows, MOMENT, || Box::<schema::Altered>::default()),
    kind("bulk-update", "one transaction writes every item, others very many rows beside it", ANY, Part::Rows, MOMENT, || Box::<bulk::Updated>::default()),
    kind("rekey", "rows change their primary keys", ANY, Part::Rows, SECONDS, || Box::<bulk::Rekeyed>::default()),

    kind(LOCKED, "a program holds the file's write lock", SQLITE, Part::Database, SECONDS, || Box::<sqlite::Locked>::default()),
    kind("log-trimmed", "the log loses what a node that stands still has not read", SQLITE_NODE, Part::Database, MOMENT, || Box::<sqlite::Trimmed>::default()),
    kind("vacuum", "the file is written anew from end to end", SQLITE, Part::Database, MOMENT, || Box::<sqlite::Vacuumed>::default()),
    kind("delete-all", "DELETE without a condition, then all items again", SQLITE, Part::Rows, MOMENT, || Box::new(bulk::Emptied { statement: "DELETE FROM item" })),
    kind("replace", "REPLACE pushes rows out by a secondary unique key", SQLITE, Part::Rows, SECONDS, || Box::<bulk::Replaced>::default()),
    kind("restore-in-place", "an older copy is restored through SQLite, under load", SQLITE, Part::Database, MOMENT, || Box::new(rewind::Restored::InPlace)),
    kind("restore-renamed", "an older copy is renamed over the file", SQLITE, Part::Database, MOMENT, || Box::new(rewind::Restored::Renamed)),

    kind("ghost-standby", "a synchronous standby that never answers: commits are delivered, and invisible", POSTGRES, Part::Database, SECONDS, || setting("synchronous_standby_names", "ghost", "")),
    kind("star-standby", "`synchronous_standby_names = '*'`: commits wait for whoever streams", POSTGRES, Part::Database, SECONDS, || setting("synchronous_standby_names", "*", "")),
    kind("async-crash", "commits acknowledged before they are written, then a crash: they are lost and their ids used again", POSTGRES, Part::Database, MOMENT, || Box::<postgres::AsyncCrash>::default()),
    kind("database-restarted", "the server ends and is started again", POSTGRES, Part::Database, SECONDS, || Box::<postgres::Restarted>::default()),
    kind("walsender-killed", "the process that sends the feed ends", POSTGRES_NODE, Part::Feed, MOMENT, || Box::<postgres::WalsenderKilled>::default()),
    kind("walsender-stopped", "the process that sends the feed stands still", POSTGRES_NODE, Part::Feed, SECONDS, || Box::<postgres::WalsenderStopped>::default()),
    kind("slot-dropped", "the slot is dropped with all it held back", POSTGRES_NODE, Part::Feed, SECONDS, || Box::<postgres::SlotDropped>::default()),
    kind("wal-beyond-cap", "every node stands still while more WAL is written than the slot may keep", POSTGRES_NODE, Part::Database, MOMENT, || Box::<postgres::WalBeyondCap>::default()),
    kind("holder-stopped", "the feed's holder stands still until another has taken over, and wakes", FLEET, Part::Nodes, TAKEOVER, || Box::<postgres::HolderStopped>::default()),
    kind("holder-stopped-a-minute", "the same for a whole minute", FLEET, Part::Nodes, MINUTE, || Box::<postgres::HolderStopped>::default()),
    kind("source-cut", "a node's connections to the database are closed and refused", POSTGRES_NODE, Part::Nodes, SECONDS, || Network::one(To::Database, Weather::cut)),
    kind("source-silent", "a node's connections to the database carry nothing", POSTGRES_NODE, Part::Nodes, TAKEOVER, || Network::one(To::Database, Weather::silent)),
    kind("source-cut-for-all", "no node reaches the database; writers do", POSTGRES_NODE, Part::Nodes, SECONDS, || Network::all(To::Database, Weather::cut)),
    kind("source-slow", "a node's connections to the database are 300 ms late each way", POSTGRES_NODE, Part::Nodes, SECONDS, || Network::one(To::Database, slow)),
    kind("source-narrow", "a node's connections to the database carry 20 kB a second", POSTGRES_NODE, Part::Nodes, SECONDS, || Network::one(To::Database, narrow)),
    kind("truncate", "TRUNCATE, then all items again", POSTGRES, Part::Rows, MOMENT, || Box::new(bulk::Emptied { statement: "TRUNCATE item" })),
    kind("detach-partition", "a partition is detached, and later attached again", POSTGRES, Part::Rows, MOMENT, || Box::<schema::Detached>::default()),
    kind("alter-publication", "a table is no longer published, and later is again", POSTGRES_NODE, Part::Rows, SECONDS, || Box::<schema::Unpublished>::default()),
    kind("promotion", "the standby becomes the primary on a new timeline; the old one is fenced", POSTGRES, Part::Database, SECONDS, || Box::new(postgres::Promoted { fenced: true })),
    kind("promotion-unfenced", "the same, and somebody writes to the old one", POSTGRES, Part::Database, SECONDS, || Box::new(postgres::Promoted { fenced: false })),
    kind("restore-files", "an older copy of the server's files is put back", POSTGRES, Part::Database, MOMENT, || Box::<postgres::Restored>::default()),

    kind("redis-flushed", "FLUSHALL", REDIS, Part::Remote, MOMENT, || Box::<redis::Flushed>::default()),
    kind("redis-killed", "the remote tier ends and comes back empty", REDIS, Part::Remote, SECONDS, || Box::<redis::Killed>::default()),
    kind("redis-stopped", "the remote tier stands still with its connections open", REDIS, Part::Remote, SECONDS, || Box::<redis::Stopped>::default()),
    kind("redis-full", "the remote tier is full and may evict nothing", REDIS, Part::Remote, SECONDS, || Box::<redis::Full>::default()),
    kind("redis-cut", "every node's connections to the remote tier are closed and refused", REDIS, Part::Remote, SECONDS, || Network::all(To::Remote, Weather::cut)),
    kind("redis-silent", "every node's connections to the remote tier carry nothing", REDIS, Part::Remote, SECONDS, || Network::all(To::Remote, Weather::silent)),
    kind("redis-slow", "every node's connections to the remote tier are 300 ms late each way", REDIS, Part::Remote, SECONDS, || Network::all(To::Remote, slow)),
    kind("redis-garbage", "answers of the remote tier are corrupted on their way", REDIS, Part::Remote, SECONDS, || Network::all(To::Remote, garbage)),

    kind("cluster-primary-killed", "a primary dies while its replica hears nothing: acknowledged writes are lost", CLUSTER, Part::Remote, TAKEOVER, || Box::<cluster::PrimaryKilled>::default()),
    kind("cluster-primary-stopped", "a primary stands still until its replica has taken over, and wakes", CLUSTER, Part::Remote, TAKEOVER, || Box::<cluster::PrimaryStopped>::default()),
    kind("cluster-promoted", "a replica takes over although nothing is wrong", CLUSTER, Part::Remote, SECONDS, || Box::<cluster::Promoted>::default()),
    kind("cluster-migrated", "slots move between primaries under load", CLUSTER, Part::Remote, MOMENT, || Box::<cluster::Migrated>::default()),
    kind("cluster-flushed", "FLUSHALL on every primary", CLUSTER, Part::Remote, MOMENT, || Box::<cluster::Flushed>::default()),
];

/// The fault of that name.
pub(crate) fn find(name: &str) -> Option<&'static Kind> {
    CATALOGUE.iter().find(|kind| kind.name == name)
}

/// Faults that a world can suffer. The minute is left to those who ask for it by name.
pub(crate) fn possible(source: SourceKind, l2: L2Kind, nodes: usize) -> Vec<&'static Kind> {
    let fits = |kind: &&Kind| kind.needs.met(source, l2, nodes) && kind.hold != MINUTE;
    CATALOGUE.iter().filter(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_world_has_faults() {
        let names: std::collections::HashSet<_> = CATALOGUE.iter().map(|kind| kind.name).collect();
        assert_eq!(names.len(), CATALOGUE.len());
        let count = |source, l2, nodes| possible(source, l2, nodes).len();
        assert!(count(SourceKind::Sqlite, L2Kind::None, 1) >= 10);
        assert!(
            count(SourceKind::Postgres, L2Kind::Cluster, 3) > count(SourceKind::Postgres, L2Kind::None, 3)
        );
        let alone = possible(SourceKind::Postgres, L2Kind::None, 1);
        assert!(alone.iter().all(|kind| kind.name != "holder-stopped"), "nobody could take over");
        assert!(find("node-killed").is_some() && find("node-kiled").is_none());
    }
}
