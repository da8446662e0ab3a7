//! What servers of a remote tier say of themselves, and what in it does not suit a cache.

use std::{sync::Arc, time::Duration};

use futures_util::future;
use redis::{Pipeline, Value};

use super::{map::text, server::Server, tier::RedisTier};

/// How long a server has to tell about itself.
const TELL_WITHIN: Duration = Duration::from_secs(1);
/// Share of `maxmemory` above which there is a finding.
pub(super) const MEMORY_SHARE_MAX: f64 = 0.60;

/// What one server says of itself; none where it does not say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServerFacts {
    /// Its address.
    pub endpoint: String,
    /// Why nothing is known of it.
    pub unreachable: Option<String>,
    /// `redis` or `valkey`, and its version.
    pub version: Option<String>,
    /// `master` or `slave`.
    pub role: Option<String>,
    /// Memory in use, in bytes.
    pub used_bytes: Option<u64>,
    /// The most that it may use, in bytes; 0: no bound.
    pub max_bytes: Option<u64>,
    /// What it does when that is used up.
    pub policy: Option<String>,
    /// Whether each write goes into a log on disk.
    pub append_only: Option<bool>,
    /// When it writes snapshots to disk; empty: never.
    pub snapshots: Option<String>,
    /// Replicas connected to it.
    pub replicas: Option<u64>,
    /// Whether it says that its cluster is well.
    pub cluster_is_well: Option<bool>,
}

/// Something about a server that its owner should change, or (as a note) know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFinding {
    /// The server.
    pub endpoint: String,
    /// Whether it is only worth knowing.
    pub is_note: bool,
    /// What is the matter, and what to do.
    pub problem: String,
}

impl RedisTier {
    /// Asks each server about itself.
    pub async fn inspect(&self) -> Vec<ServerFacts> {
        let map = self.servers.map();
        future::join_all(map.servers.iter().map(facts)).await
    }
}

async fn facts(server: &Arc<Server>) -> ServerFacts {
    let mut facts = ServerFacts { endpoint: server.endpoint.to_string(), ..ServerFacts::default() };
    let mut pipeline = Pipeline::with_capacity(3);
    pipeline.cmd("INFO");
    pipeline.cmd("CONFIG").arg("GET").arg("save");
    pipeline.cmd("CLUSTER").arg("INFO");
    match server.ask(&pipeline, 3, TELL_WITHIN).await.as_deref() {
        Some([Value::ServerError(error), ..]) => {
            facts.unreachable = Some(format!("it refuses INFO: {error}"))
        }
        Some([info, save, cluster]) => facts.read(info, save, cluster),
        _ => {
            let why = server.told().left_alone;
            facts.unreachable =
                Some(why.map_or_else(|| "it does not answer".to_owned(), |why| why.to_string()));
        }
    }
    facts
}

impl ServerFacts {
    fn read(&mut self, info: &Value, save: &Value, cluster: &Value) {
        let info = text(info).unwrap_or_default();
        let field = |name: &str| {
            info.lines()
                .find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'))
                .map(str::to_owned)
        };
        let number = |name: &str| field(name).and_then(|value| value.parse().ok());
        let valkey = field("valkey_version").map(|version| format!("valkey {version}"));
        self.version = valkey.or_else(|| field("redis_version").map(|version| format!("redis {version}")));
        self.role = field("role");
        (self.used_bytes, self.max_bytes) = (number("used_memory"), number("maxmemory"));
        self.policy = field("maxmemory_policy");
        self.append_only = number("aof_enabled").map(|enabled| enabled == 1);
        self.replicas = number("connected_slaves");
        // Managed servers refuse CONFIG, and have no say about it either.
        self.snapshots = match save {
            Value::Array(pair) => pair.get(1).and_then(text).map(str::to_owned),
            Value::Map(pairs) => pairs.first().and_then(|(_, value)| text(value)).map(str::to_owned),
            _ => None,
        };
        let is_cluster = number("cluster_enabled") == Some(1);
        self.cluster_is_well =
            is_cluster.then(|| text(cluster).is_some_and(|text| text.contains("cluster_state:ok")));
    }

    /// Share of its memory that is in use, 0 to 1; none where nothing bounds it.
    #[must_use]
    pub fn memory_share(&self) -> Option<f64> {
        let (used, most) = (self.used_bytes?, self.max_bytes.filter(|most| *most > 0)?);
        Some(used as f64 / most as f64)
    }

    /// What does not suit a cache.
    #[must_use]
    pub fn findings(&self) -> Vec<ServerFinding> {
        let mut findings = Vec::new();
        let mut add = |is_note, problem: String| {
            findings.push(ServerFinding { endpoint: self.endpoint.clone(), is_note, problem });
        };
        if let Some(why) = &self.unreachable {
            add(
                false,
                format!("it can't be used: {why}; until it can, its entries are loaded from the database"),
            );
            return findings;
        }
        if self.role.as_deref() == Some("slave") {
            add(false, "it is a replica and refuses every write; name its primary".to_owned());
        }
        if self.cluster_is_well == Some(false) {
            add(
                false,
                "its cluster is not well: see `redis-cli CLUSTER INFO` and `CLUSTER NODES`".to_owned(),
            );
        }
        if self.max_bytes == Some(0) {
            let fix = "set `maxmemory` below what the machine has, and `maxmemory-policy allkeys-lfu`";
            add(
                false,
                format!(
                    "nothing bounds its memory (maxmemory 0): entries grow until the machine has none; {fix}"
                ),
            );
        }
        if self.policy.as_deref() == Some("noeviction") {
            let fix = "set `maxmemory-policy allkeys-lfu`, or `volatile-lfu` where it holds other data too";
            add(
                false,
                format!("it refuses writes when it is full (noeviction), and keeps old entries; {fix}"),
            );
        }
        if let Some(share) = self.memory_share().filter(|share| *share > MEMORY_SHARE_MAX) {
            let fix = "give it more memory, or shorten `l2_life`";
            let (share, most) = (share * 100.0, MEMORY_SHARE_MAX * 100.0);
            add(
                false,
                format!(
                    "{share:.0} % of its memory is used, above {most:.0} %: room for copies while it forks or fails over is short; {fix}"
                ),
            );
        }
        if self.append_only == Some(true) {
            let fix = "set `appendonly no` where it holds nothing else";
            add(
                true,
                format!("it logs each entry to disk (appendonly yes), which a cache does not need; {fix}"),
            );
        } else if self.snapshots.as_deref() == Some("") && self.replicas == Some(0) {
            let note = "every entry is then loaded from the database again, within the limits of each class";
            add(
                true,
                format!("it keeps nothing on disk and has no replica: a restart empties it, and {note}"),
            );
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suitable() -> ServerFacts {
        ServerFacts {
            endpoint: "h:1".to_owned(),
            role: Some("master".to_owned()),
            used_bytes: Some(59),
            max_bytes: Some(100),
            policy: Some("allkeys-lfu".to_owned()),
            append_only: Some(false),
            snapshots: Some("3600 1".to_owned()),
            replicas: Some(1),
            cluster_is_well: Some(true),
            ..ServerFacts::default()
        }
    }

    fn problems(facts: &ServerFacts) -> Vec<(bool, String)> {
        facts.findings().into_iter().map(|finding| (finding.is_note, finding.problem)).collect()
    }

    #[test]
    fn a_suitable_server_has_no_finding() {
        assert_eq!(problems(&suitable()), []);
        assert_eq!(problems(&ServerFacts::default()), [], "what a managed server hides is no finding");
    }

    #[test]
    fn each_unsuitable_setting_is_one_finding_with_what_to_do() {
        let cases = [
            (ServerFacts { used_bytes: Some(61), ..suitable() }, false, "61 % of its memory"),
            (ServerFacts { max_bytes: Some(0), ..suitable() }, false, "maxmemory 0"),
            (ServerFacts { policy: Some("noeviction".to_owned()), ..suitable() }, false, "noeviction"),
            (ServerFacts { role: Some("slave".to_owned()), ..suitable() }, false, "name its primary"),
            (ServerFacts { cluster_is_well: Some(false), ..suitable() }, false, "not well"),
            (ServerFacts { append_only: Some(true), ..suitable() }, true, "appendonly"),
            (
                ServerFacts { snapshots: Some(String::new()), replicas: Some(0), ..suitable() },
                true,
                "a restart empties it",
            ),
            (ServerFacts { unreachable: Some("gone".to_owned()), ..suitable() }, false, "gone"),
        ];
        for (facts, is_note, text) in cases {
            let found = problems(&facts);
            assert!(
                matches!(&found[..], [(note, problem)] if *note == is_note && problem.contains(text)),
                "{found:?}"
            );
        }
    }

    #[test]
    fn what_a_server_says_is_read() {
        let info = "# Server\r\nredis_version:7.2.4\r\nvalkey_version:8.1.0\r\n# Memory\r\nused_memory:100\r\nmaxmemory:200\r\n\
                    maxmemory_policy:allkeys-lru\r\naof_enabled:0\r\nrole:master\r\nconnected_slaves:2\r\ncluster_enabled:1\r\n";
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let mut facts = ServerFacts::default();
        facts.read(&bulk(info), &Value::Array(vec![bulk("save"), bulk("")]), &bulk("cluster_state:fail\r\n"));
        assert_eq!(facts.version.as_deref(), Some("valkey 8.1.0"));
        assert_eq!(
            (facts.memory_share(), facts.replicas, facts.append_only),
            (Some(0.5), Some(2), Some(false))
        );
        assert_eq!((facts.snapshots.as_deref(), facts.cluster_is_well), (Some(""), Some(false)));
    }
}
