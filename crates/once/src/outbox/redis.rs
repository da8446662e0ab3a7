//! Redis Streams as a sink.
//!
//! Messages of one call are appended by one script: all of them or none, and none for a relay with an older fence than the
//! stream has seen. At least once, still: a call whose answer was lost is made again.

use std::time::Duration;

use ::redis::{
    AsyncConnectionConfig, Client, ErrorKind, RedisError, Script, Value, aio::MultiplexedConnection,
    cluster::ClusterClient, cluster_async::ClusterConnection,
};
use tokio::sync::Mutex;

use super::{Message, PublishError, Sink};
use crate::error::{OnceError, check_name};

/// Longest wait for a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// Longest wait for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// What the script answers to a relay whose time is over.
const FENCED: i64 = -1;
/// Fields of an entry that the script is given for each message.
const FIELDS: usize = 7;

/// `KEYS`: the stream, its fence. `ARGV`: the fence, the length to trim to (0: never), then the fields of each message.
const APPEND: &str = r"
local seen = tonumber(redis.call('GET', KEYS[2]) or '0')
local fence = tonumber(ARGV[1])
if fence < seen then return -1 end
if fence > seen then redis.call('SET', KEYS[2], ARGV[1]) end
local trim = tonumber(ARGV[2])
local count = 0
for i = 3, #ARGV, 7 do
    local fields = {'id', ARGV[i], 'aggregate', ARGV[i+1], 'sequence', ARGV[i+2], 'topic', ARGV[i+3],
        'business_id', ARGV[i+4], 'created_ms', ARGV[i+5], 'payload', ARGV[i+6]}
    if trim > 0 then
        redis.call('XADD', KEYS[1], 'MAXLEN', '~', trim, '*', unpack(fields))
    else
        redis.call('XADD', KEYS[1], '*', unpack(fields))
    end
    count = count + 1
end
return count
";

/// A stream of Redis or Valkey, on one server or in a cluster.
pub struct RedisStreams {
    target: Target,
    stream: String,
    fence_key: String,
    length_max: u64,
    script: Script,
    connection: Mutex<Option<Connection>>,
}

enum Target {
    Single(Box<Client>),
    Cluster(Box<ClusterClient>),
}

#[derive(Clone)]
enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl RedisStreams {
    /// The stream `stream` of the server at `url`, which is connected to when the first message comes.
    ///
    /// # Errors
    /// [`OnceError::Invalid`] where `url` is none.
    pub fn connect(url: &str, stream: &str) -> Result<Self, OnceError> {
        let client = Client::open(url).map_err(|why| unusable(&why))?;
        Self::new(Target::Single(Box::new(client)), stream)
    }

    /// The stream `stream` in the cluster that these nodes are of. The stream lives on one shard; for more, run a relay for each of several outboxes.
    ///
    /// # Errors
    /// [`OnceError::Invalid`] where a URL is none.
    pub fn cluster(urls: &[&str], stream: &str) -> Result<Self, OnceError> {
        let client = ClusterClient::builder(urls.to_vec())
            .connection_timeout(CONNECT_LIMIT)
            .response_timeout(ANSWER_LIMIT)
            .build()
            .map_err(|why| unusable(&why))?;
        Self::new(Target::Cluster(Box::new(client)), stream)
    }

    fn new(target: Target, stream: &str) -> Result<Self, OnceError> {
        check_name("the name of a stream", stream)?;
        // In the stream's own slot of a cluster.
        let fence_key =
            if stream.contains('{') { format!("{stream}.fence") } else { format!("{{{stream}}}.fence") };
        Ok(Self {
            target,
            stream: stream.to_owned(),
            fence_key,
            length_max: 0,
            script: Script::new(APPEND),
            connection: Mutex::default(),
        })
    }

    /// Lets Redis trim the stream to about `length` entries (`MAXLEN ~`). Choose it so that the slowest consumer never falls that far behind: what is
    /// trimmed before it was read is lost to it.
    #[must_use]
    pub const fn length_max(mut self, length: u64) -> Self {
        self.length_max = length;
        self
    }

    /// The connection there is, or a new one.
    async fn connection(&self) -> Result<Connection, RedisError> {
        let mut held = self.connection.lock().await;
        if let Some(connection) = &*held {
            return Ok(connection.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_LIMIT))
            .set_response_timeout(Some(ANSWER_LIMIT));
        let made = match &self.target {
            Target::Single(client) => {
                Connection::Single(client.get_multiplexed_async_connection_with_config(&config).await?)
            }
            Target::Cluster(client) => Connection::Cluster(client.get_async_connection().await?),
        };
        *held = Some(made.clone());
        Ok(made)
    }

    async fn append(&self, fence: i64, messages: &[Message]) -> Result<i64, RedisError> {
        let connection = tokio::time::timeout(CONNECT_LIMIT, self.connection()).await;
        let mut connection = connection.map_err(|_| too_slow("connecting"))??;
        let mut call = self.script.prepare_invoke();
        call.key(&self.stream).key(&self.fence_key).arg(fence).arg(self.length_max);
        for message in messages {
            call.arg(message.id)
                .arg(&message.aggregate)
                .arg(message.sequence)
                .arg(&message.topic)
                .arg(&message.business_id)
                .arg(message.created_ms)
                .arg(&message.payload[..]);
        }
        let answer = tokio::time::timeout(ANSWER_LIMIT, async {
            match &mut connection {
                Connection::Single(connection) => call.invoke_async::<Value>(connection).await,
                Connection::Cluster(connection) => call.invoke_async::<Value>(connection).await,
            }
        });
        let answer = answer.await.map_err(|_| too_slow("appending"))??;
        ::redis::from_redis_value(answer).map_err(RedisError::from)
    }
}

impl Sink for RedisStreams {
    async fn publish(&self, fence: i64, messages: &[Message]) -> Result<(), PublishError> {
        // Lua's stack bounds how many arguments a script can be given at a time.
        let mut accepted = 0;
        for chunk in messages.chunks(SCRIPT_MESSAGES_MAX) {
            match self.append(fence, chunk).await {
                Ok(FENCED) => {
                    let why = "a relay with a newer lease has published to this stream";
                    return Err(PublishError { accepted, fenced: true, why: why.into() });
                }
                Ok(_) => accepted += chunk.len(),
                Err(error) => {
                    // A connection that hung once would hang again; a new one is made for the next attempt.
                    *self.connection.lock().await = None;
                    return Err(PublishError { accepted, fenced: false, why: error.into() });
                }
            }
        }
        Ok(())
    }
}

/// Messages in one call of the script.
const SCRIPT_MESSAGES_MAX: usize = 500 / FIELDS;

fn too_slow(doing: &'static str) -> RedisError {
    (ErrorKind::Io, "Redis did not answer in time", doing.to_owned()).into()
}

fn unusable(why: &RedisError) -> OnceError {
    OnceError::invalid("the address of Redis", format!("cannot be used: {}", why.category()))
}

impl std::fmt::Debug for RedisStreams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisStreams").field("stream", &self.stream).finish_non_exhaustive()
    }
}
