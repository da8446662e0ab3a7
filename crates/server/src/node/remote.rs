//! How the remote tier is, and what it holds under a key.

use serde::{Deserialize, Serialize};
use trueup_core::{
    RemoteCounts,
    entry::Raw,
    key::Key,
    read::{Class, InspectedRemote, RemoteFinding},
    tier::RemoteServer,
};

use super::Node;

/// How the remote tier is.
#[derive(Clone, Debug, Serialize)]
pub struct RemoteStatus {
    /// Its servers, as far as they are known.
    pub servers: Vec<RemoteServerStatus>,
    /// Genuine entries found there.
    pub found: u64,
    /// Keys under which it held nothing.
    pub missing: u64,
    /// Envelopes found there that are not used: not genuine, of another plan or another epoch.
    pub refused: u64,
    /// Entries written.
    pub stored: u64,
    /// Operations that failed.
    pub errors: u64,
    /// Bytes of envelopes read.
    pub bytes_in: u64,
    /// Bytes of envelopes written.
    pub bytes_out: u64,
}

/// One server of the remote tier.
#[derive(Clone, Debug, Serialize)]
pub struct RemoteServerStatus {
    /// Its address.
    pub endpoint: String,
    /// Why it is left alone at the moment; none while it is used.
    pub left_alone: Option<String>,
    /// Memory in use, as it says itself.
    pub used_bytes: Option<u64>,
    /// Share, 0 to 1, of its bound that is used.
    pub used_share: Option<f64>,
}

/// What the remote tier holds under a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RemoteFacts {
    /// The name under which it would be kept.
    pub name: String,
    /// The hash slot of that name, in a cluster.
    pub slot: Option<u16>,
    /// The server that holds the slot, as far as this node knows.
    pub server: Option<String>,
    /// In one sentence: what was found there.
    pub verdict: String,
    /// Whether a read that memory cannot answer would be answered from it.
    pub served: bool,
    /// The short name of the reason when it would not, although something is there.
    pub reason: Option<String>,
    /// The entry, if it is genuine.
    pub entry: Option<RemoteEntryFacts>,
}

/// A genuine entry of the remote tier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RemoteEntryFacts {
    /// Whether the source had no such row.
    pub absent: bool,
    /// The value's version, as in `ETag`.
    pub version: String,
    /// The position through which it was known to be true when it was written.
    pub proven_at: u64,
    /// The position that bounds what it can reflect.
    pub upper: u64,
    /// Milliseconds since it was written, by the wall clocks of two machines.
    pub written_ms_ago: u64,
}

impl Node {
    /// How the remote tier is; none without one.
    #[must_use]
    pub fn remote_status(&self) -> Option<RemoteStatus> {
        let cache = self.catalog().cache();
        let RemoteCounts { found, missing, refused, stored, errors, bytes_in, bytes_out, .. } =
            cache.remote_counts()?;
        let server = |server: RemoteServer| RemoteServerStatus {
            endpoint: server.endpoint.into(),
            left_alone: server.left_alone.map(Into::into),
            used_bytes: server.memory.map(|memory| memory.used_bytes),
            used_share: server.memory.and_then(|memory| memory.share()),
        };
        let servers = cache.remote_servers().into_iter().map(server).collect();
        Some(RemoteStatus { servers, found, missing, refused, stored, errors, bytes_in, bytes_out })
    }
}

/// Asks the remote tier for `key`; none where the class has no part of one.
pub(super) async fn facts(class: &Class<Key, Raw>, key: &Key) -> Option<RemoteFacts> {
    let InspectedRemote { key, place, found } = class.inspect_remote(key).await?;
    let mut facts = RemoteFacts {
        name: key.to_string(),
        slot: place.slot,
        server: place.endpoint.map(Into::into),
        verdict: String::new(),
        served: false,
        reason: None,
        entry: None,
    };
    match found {
        RemoteFinding::Nothing => "it holds nothing under this key".clone_into(&mut facts.verdict),
        RemoteFinding::NoAnswer(error) => {
            facts.verdict = error.to_string();
            facts.reason = Some(error.kind().to_owned());
        }
        RemoteFinding::Refused { reason, why } => {
            facts.verdict = format!("what it holds is not used: {why}");
            facts.reason = Some(reason.to_owned());
        }
        RemoteFinding::Genuine(entry) => {
            facts.verdict = match &entry.verdict {
                Ok(receipt) if receipt.proven => "it holds an entry that is proven".to_owned(),
                Ok(_) => "it holds an entry within the age that the class allows".to_owned(),
                Err(why) => format!("it holds an entry that is not used: {why}"),
            };
            facts.served = entry.verdict.is_ok();
            facts.reason = entry.verdict.as_ref().err().map(|why| why.as_str().to_owned());
            facts.entry = Some(RemoteEntryFacts {
                absent: entry.absent,
                version: format!("{:016x}", entry.version),
                proven_at: entry.proven_at.0,
                upper: entry.upper.0,
                written_ms_ago: entry.age.as_millis() as u64,
            });
        }
    }
    Some(facts)
}
