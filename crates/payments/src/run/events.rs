//! Where messages of the outbox go.

use std::{str::FromStr, time::Duration};

use once::{
    Once,
    inbox::redis::StreamConsumer,
    outbox::{Relay, redis::RedisStreams},
};
use trueup::engine::env::Task;

use super::StartError;
use crate::{
    service::{NOTICES, Notices},
    store::Database,
};

/// The stream that they are appended to.
const STREAM: &str = "payments.events";
/// Entries that the stream keeps, roughly: a consumer that falls further behind has lost what was trimmed.
const STREAM_LENGTH_MAX: u64 = 1_000_000;
/// How often the relay looks for messages.
const RELAY_POLL: Duration = Duration::from_millis(200);
/// Messages that it takes at a time.
const RELAY_BATCH: u32 = 256;
const CLUSTER_SCHEME: &str = "redis-cluster";

/// Redis Streams, on one server or in a cluster.
#[derive(Clone, PartialEq, Eq)]
pub enum Events {
    /// The server at a URL.
    Server(String),
    /// The cluster that these nodes are of, by their URLs.
    Cluster(Vec<String>),
}

/// Not the address of a server or cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write redis://HOST:PORT, rediss://HOST:PORT (TLS), or redis-cluster://HOST:PORT,HOST:PORT")]
pub struct EventsError;

impl FromStr for Events {
    type Err = EventsError;

    fn from_str(text: &str) -> Result<Self, EventsError> {
        let (scheme, rest) =
            text.split_once("://").filter(|(_, rest)| !rest.is_empty()).ok_or(EventsError)?;
        let single = match scheme {
            "redis" | "rediss" => return Ok(Self::Server(text.to_owned())),
            CLUSTER_SCHEME => "redis",
            "rediss-cluster" => "rediss",
            _ => return Err(EventsError),
        };
        // A user and a password stand before the first node, and hold for all.
        let (who, nodes) =
            rest.rsplit_once('@').map_or((String::new(), rest), |(who, nodes)| (format!("{who}@"), nodes));
        let nodes = nodes.split(',').map(|node| format!("{single}://{who}{node}"));
        Ok(Self::Cluster(nodes.collect()))
    }
}

impl std::fmt::Debug for Events {
    // URLs may hold passwords.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Server(_) => "a server",
            Self::Cluster(_) => "a cluster",
        })
    }
}

/// The relay, and what consumes: this service's own consumer takes messages from the stream where there is one, and from the relay's hands
/// otherwise. Its place in the inbox is the same, so that a service which is given a stream later tells nobody twice.
pub(super) fn start(
    once: &Once<Database>,
    events: Option<&Events>,
    ttl: Duration,
) -> Result<Vec<Task>, StartError> {
    let notices = Notices::new(once.clone());
    let Some(events) = events else {
        let relay = Relay::new(once.clone(), notices).tuned(ttl, RELAY_BATCH, RELAY_POLL);
        return Ok(vec![relay.start()]);
    };
    let (sink, consumer) = match events {
        Events::Server(url) => (
            RedisStreams::connect(url, STREAM),
            StreamConsumer::new(once.clone(), notices, url, STREAM, NOTICES),
        ),
        Events::Cluster(urls) => {
            let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
            (
                RedisStreams::cluster(&urls, STREAM),
                StreamConsumer::cluster(once.clone(), notices, &urls, STREAM, NOTICES),
            )
        }
    };
    let sink = sink.map_err(StartError::Events)?.length_max(STREAM_LENGTH_MAX);
    let relay = Relay::new(once.clone(), sink).tuned(ttl, RELAY_BATCH, RELAY_POLL);
    Ok(vec![relay.start(), consumer.map_err(StartError::Events)?.start()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_or_a_cluster_is_named() {
        assert_eq!("redis://a:1".parse(), Ok(Events::Server("redis://a:1".to_owned())));
        assert_eq!("rediss://a:1".parse(), Ok(Events::Server("rediss://a:1".to_owned())));
        let nodes = ["redis://u:p@a:1", "redis://u:p@b:2"].map(str::to_owned).to_vec();
        assert_eq!("redis-cluster://u:p@a:1,b:2".parse(), Ok(Events::Cluster(nodes)));
        for text in ["", "redis://", "a:1", "http://a:1", "redis-cluster:a"] {
            assert_eq!(text.parse::<Events>(), Err(EventsError), "{text}");
        }
    }
}
