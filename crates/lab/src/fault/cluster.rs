//! What a Redis Cluster goes through: primaries that die, replicas that take over, slots that move.

use std::time::Duration;

use rand::{Rng as _, rngs::StdRng};
use rustix::process::Signal;
use trueup_testbed::{Cluster, Failed};

use super::{Done, Fault};
use crate::world::{LabError, World};

/// How long a replica hears nothing before its primary dies: those writes were acknowledged, and are lost.
const STALLED: Duration = Duration::from_millis(500);
/// Slots that move at once.
const SLOTS_MOVED: &str = "2000";

/// A line of `CLUSTER NODES`.
struct Line {
    id: String,
    port: u16,
    is_primary: bool,
    primary: String,
}

fn lines(cluster: &Cluster) -> Result<Vec<Line>, Failed> {
    let asked = cluster.nodes().iter().find(|node| node.server().is_some());
    let table = asked.map_or(Ok(String::new()), |node| node.cli(&["CLUSTER", "NODES"]))?;
    Ok(table.lines().filter_map(line).collect())
}

fn line(text: &str) -> Option<Line> {
    let mut fields = text.split_whitespace();
    let (id, address, flags, primary) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    if flags.contains("fail") {
        return None;
    }
    let port = address.split('@').next()?.rsplit(':').next()?.parse().ok()?;
    Some(Line { id: id.to_owned(), port, is_primary: flags.contains("master"), primary: primary.to_owned() })
}

/// A primary that has a replica, and that replica, by their place in the cluster.
fn pair(cluster: &Cluster, lot: usize) -> Result<Option<(usize, usize)>, Failed> {
    let lines = lines(cluster)?;
    let place = |port| cluster.nodes().iter().position(|node| node.port() == port);
    let replicas: Vec<_> = lines.iter().filter(|line| !line.is_primary).collect();
    let Some(replica) = replicas.get(lot % replicas.len().max(1)) else { return Ok(None) };
    let primary = lines.iter().find(|line| line.id == replica.primary);
    Ok(primary.and_then(|primary| Some((place(primary.port)?, place(replica.port)?))))
}

fn signal(cluster: &Cluster, node: usize, signal: Signal) -> Result<(), Failed> {
    let server = cluster.nodes().get(node).and_then(|node| node.server());
    server.map_or(Ok(()), |server| server.signal(signal))
}

fn no_pair() -> LabError {
    LabError::Unreachable("no primary of the cluster has a replica".to_owned())
}

/// A primary dies while its replica hears nothing: writes that were acknowledged are lost when the replica takes over.
#[derive(Default)]
pub(super) struct PrimaryKilled {
    primary: Option<usize>,
}

impl Fault for PrimaryKilled {
    fn inject<'a>(&'a mut self, world: &'a World, dice: &'a mut StdRng) -> Done<'a> {
        let lot = dice.random_range(0..usize::MAX);
        Box::pin(async move {
            let found = world.l2.cluster(|cluster| pair(cluster, lot))?;
            let (primary, replica) = found.ok_or_else(no_pair)?;
            world.l2.cluster(|cluster| signal(cluster, replica, Signal::STOP))?;
            tokio::time::sleep(STALLED).await;
            self.primary = Some(primary);
            world.l2.cluster(|cluster| {
                if let Some(node) = cluster.node_mut(primary) {
                    node.kill();
                }
                signal(cluster, replica, Signal::CONT)
            })
        })
    }

    fn heal<'a>(&'a mut self, world: &'a World) -> Done<'a> {
        Box::pin(async {
            let Some(primary) = self.primary.take() else { return Ok(()) };
            world.l2.cluster(|cluster| {
                cluster.node_mut(primary).map_or(Ok(()), trueup_testbed::Redis::start_again)?;
                cluster.settled()
            })
        })
    }
}

/// A primary stands still until its replica has taken over, and wakes as what it no longer is.
#[derive(Default)]
pub(super) struct PrimaryStopped {
    primary: Option<usize>,
}

impl Fault for PrimaryStopped {
    fn inject<'a>(&'a mut self, world: &'a World, dice: &'a mut StdRng) -> Done<'a> {
        let lot = dice.random_range(0..usize::MAX);
        Box::pin(async move {
            let (primary, _) = world.l2.cluster(|cluster| pair(cluster, lot))?.ok_or_else(no_pair)?;
            self.primary = Some(primary);
            world.l2.cluster(|cluster| signal(cluster, primary, Signal::STOP))
        })
    }

    fn heal<'a>(&'a mut self, world: &'a World) -> Done<'a> {
        Box::pin(async {
            let Some(primary) = self.primary.take() else { return Ok(()) };
            world.l2.cluster(|cluster| {
                signal(cluster, primary, Signal::CONT)?;
                cluster.settled()
            })
        })
    }
}

/// A replica takes over although nothing is wrong.
#[derive(Default)]
pub(super) struct Promoted;

impl Fault for Promoted {
    fn inject<'a>(&'a mut self, world: &'a World, dice: &'a mut StdRng) -> Done<'a> {
        let lot = dice.random_range(0..usize::MAX);
        Box::pin(async move {
            let (_, replica) = world.l2.cluster(|cluster| pair(cluster, lot))?.ok_or_else(no_pair)?;
            world.l2.cluster(|cluster| cluster.nodes()[replica].cli(&["CLUSTER", "FAILOVER"])).map(drop)
        })
    }

    fn heal<'a>(&'a mut self, world: &'a World) -> Done<'a> {
        Box::pin(async { world.l2.cluster(|cluster| cluster.settled()) })
    }
}

/// Slots move from one primary to another while they are read and written.
#[derive(Default)]
pub(super) struct Migrated;

impl Fault for Migrated {
    fn inject<'a>(&'a mut self, world: &'a World, dice: &'a mut StdRng) -> Done<'a> {
        let lot = dice.random_range(0..3_usize);
        Box::pin(async move {
            world.l2.cluster(|cluster| {
                let lines = lines(cluster)?;
                let primaries: Vec<_> = lines.iter().filter(|line| line.is_primary).collect();
                let count = primaries.len().max(1);
                let (from, to) = (primaries.get(lot % count), primaries.get((lot + 1) % count));
                let (Some(from), Some(to)) = (from, to) else { return Ok(()) };
                let address = format!("127.0.0.1:{}", from.port);
                let moved =
                    ["--cluster", "reshard", &address, "--cluster-from", &from.id, "--cluster-to", &to.id];
                let rest = ["--cluster-slots", SLOTS_MOVED, "--cluster-yes"];
                cluster.nodes()[0].cli(&[&moved[..], &rest[..]].concat()).map(drop)
            })
        })
    }

    fn heal<'a>(&'a mut self, world: &'a World) -> Done<'a> {
        Box::pin(async { world.l2.cluster(|cluster| cluster.settled()) })
    }
}

/// Everything is gone, on every node.
#[derive(Default)]
pub(super) struct Flushed;

impl Fault for Flushed {
    fn inject<'a>(&'a mut self, world: &'a World, _: &'a mut StdRng) -> Done<'a> {
        Box::pin(async {
            world.l2.cluster(|cluster| {
                let primaries: Vec<u16> =
                    lines(cluster)?.iter().filter(|line| line.is_primary).map(|line| line.port).collect();
                let nodes = cluster.nodes().iter().filter(|node| primaries.contains(&node.port()));
                nodes.into_iter().try_for_each(|node| node.cli(&["FLUSHALL"]).map(drop))
            })
        })
    }

    fn heal<'a>(&'a mut self, _: &'a World) -> Done<'a> {
        Box::pin(async { Ok(()) })
    }
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn a_line_of_the_table_is_read() {
        let text = "07c3 127.0.0.1:30004@31004 slave e7d1 0 1426238317239 4 connected";
        let found = line(text).unwrap();
        assert_eq!((found.port, found.is_primary, found.primary.as_str()), (30004, false, "e7d1"));
        let text = "e7d1 127.0.0.1:30001@31001 myself,master - 0 0 1 connected 0-5460";
        assert!(line(text).unwrap().is_primary);
        assert!(line("e7d1 127.0.0.1:30001@31001 master,fail - 0 0 1 connected").is_none());
    }
}
