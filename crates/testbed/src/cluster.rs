//! A Redis Cluster: three primaries, each with one replica.

use crate::{Failed, Redis, RedisOptions, eventually, free_port, redis::cli};

/// Nodes of a cluster; the first half begin as primaries.
const NODES: usize = 6;

/// How to start a cluster.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    node: RedisOptions,
    node_timeout_ms: u32,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self { node: RedisOptions::default(), node_timeout_ms: 2_000 }
    }
}

impl ClusterOptions {
    /// Directives of every node.
    #[must_use]
    pub fn node(mut self, node: RedisOptions) -> Self {
        self.node = node;
        self
    }

    /// `cluster-node-timeout`, in milliseconds. Default 2,000.
    #[must_use]
    pub const fn node_timeout_ms(mut self, timeout_ms: u32) -> Self {
        self.node_timeout_ms = timeout_ms;
        self
    }
}

/// A cluster of six nodes that has all slots and agrees on them.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Redis>,
}

impl Cluster {
    /// Starts six nodes and joins them.
    ///
    /// # Errors
    /// [`Failed`].
    pub fn start(options: &ClusterOptions) -> Result<Self, Failed> {
        let mut nodes = Vec::with_capacity(NODES);
        for _ in 0..NODES {
            let node = options
                .node
                .clone()
                .set("cluster-enabled", "yes")
                .set("cluster-config-file", "nodes.conf")
                .set("cluster-node-timeout", &options.node_timeout_ms.to_string())
                .set("cluster-port", &free_port()?.to_string());
            nodes.push(Redis::start(&node)?);
        }
        let this = Self { nodes };
        let addresses: Vec<String> =
            this.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        let mut create = vec!["--cluster", "create"];
        create.extend(addresses.iter().map(String::as_str));
        create.extend(["--cluster-replicas", "1", "--cluster-yes"]);
        cli(this.nodes[0].port(), &create)?;
        this.settled()?;
        Ok(this)
    }

    /// Waits until every running node says that the cluster is well, and each primary has its replica.
    ///
    /// # Errors
    /// [`Failed`] with what is not well.
    pub fn settled(&self) -> Result<(), Failed> {
        eventually("a cluster that is well", || {
            for node in self.nodes.iter().filter(|node| node.server().is_some()) {
                let info = node.cli(&["CLUSTER", "INFO"])?;
                if !info.contains("cluster_state:ok") || !info.contains("cluster_slots_assigned:16384") {
                    return Err(Failed::new(format!("the node on port {} says", node.port()), info));
                }
                let role = node.cli(&["ROLE"])?;
                if role.starts_with("slave") && !role.contains("connected") {
                    return Err(Failed::new(format!("the replica on port {}", node.port()), role));
                }
            }
            Ok(())
        })
    }

    /// Has each node tell clients, and the other nodes, of another port than its own, behind which a proxy leads to it; waits
    /// until all know. [`Cluster::primary_of`] does not look through such proxies.
    ///
    /// # Errors
    /// [`Failed`] with what a node still knows otherwise.
    pub fn announce(&self, ports: &[u16]) -> Result<(), Failed> {
        for (node, port) in self.nodes.iter().zip(ports) {
            node.cli(&["CONFIG", "SET", "cluster-announce-port", &port.to_string()])?;
        }
        eventually("a cluster that is known by its proxies", || {
            for node in &self.nodes {
                let known = node.cli(&["CLUSTER", "NODES"])?;
                if !ports.iter().all(|port| known.contains(&format!("127.0.0.1:{port}@"))) {
                    return Err(Failed::new(format!("the node on port {} knows", node.port()), known));
                }
            }
            Ok(())
        })?;
        self.settled()
    }

    /// The nodes; the first three began as primaries.
    #[must_use]
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// One of the nodes, to be killed or started again.
    pub fn node_mut(&mut self, index: usize) -> Option<&mut Redis> {
        self.nodes.get_mut(index)
    }

    /// The index of the node that is the primary for `key` at the moment, as another running node sees it.
    ///
    /// # Errors
    /// [`Failed`] when nobody knows.
    pub fn primary_of(&self, key: &str) -> Result<usize, Failed> {
        let asked = self.nodes.iter().find(|node| node.server().is_some());
        let asked = asked.ok_or_else(|| Failed("no node runs".to_owned()))?;
        let slot: u32 = asked
            .cli(&["CLUSTER", "KEYSLOT", key])?
            .trim()
            .parse()
            .map_err(|why| Failed::new("reading a slot number", why))?;
        let table = asked.cli(&["CLUSTER", "NODES"])?;
        let port = table.lines().find_map(|line| primary_with(line, slot));
        let index = port.and_then(|port| self.nodes.iter().position(|node| node.port() == port));
        index.ok_or_else(|| Failed::new(format!("no primary for slot {slot}"), table))
    }

    /// Addresses of all nodes, separated by commas.
    #[must_use]
    pub fn addresses(&self) -> String {
        let address = |node: &Redis| format!("127.0.0.1:{}", node.port());
        self.nodes.iter().map(address).collect::<Vec<_>>().join(",")
    }

    /// The URL that names all nodes.
    #[must_use]
    pub fn url(&self) -> String {
        format!(
            "redis-cluster://{}",
            self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect::<Vec<_>>().join(",")
        )
    }
}

/// The port of the primary that a line of `CLUSTER NODES` describes, if it holds `slot`.
fn primary_with(line: &str, slot: u32) -> Option<u16> {
    let mut fields = line.split_whitespace();
    let (_id, address, flags) = (fields.next()?, fields.next()?, fields.next()?);
    if !flags.contains("master") || flags.contains("fail") {
        return None;
    }
    let holds = fields.skip(5).filter(|field| !field.starts_with('[')).any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        match (first.parse::<u32>(), last.parse::<u32>()) {
            (Ok(first), Ok(last)) => (first..=last).contains(&slot),
            _ => false,
        }
    });
    let port = address.split('@').next()?.rsplit(':').next()?;
    if holds { port.parse().ok() } else { None }
}
