//! Redis Streams as a sink.
//!
//! Messages of one call are appended by one script: all of them or none, and none for a relay with an older fence than the
//! stream has seen. At least once, still: a call whose answer was lost is made again.

use ::redis::{RedisError, Script};

use super::{Message, PublishError, Sink};
use crate::{
    error::{OnceError, check_name},
    redis_connection::Remote,
};

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
    remote: Remote,
    stream: String,
    fence_key: String,
    length_max: u64,
    script: Script,
}

impl RedisStreams {
    /// The stream `stream` of the server at `url`, which is connected to when the first message comes.
    ///
    /// # Errors
    /// [`OnceError::Invalid`] where `url` is none.
    pub fn connect(url: &str, stream: &str) -> Result<Self, OnceError> {
        Self::new(Remote::single(url)?, stream)
    }

    /// The stream `stream` in the cluster that these nodes are of. The stream lives on one shard.
    ///
    /// # Errors
    /// [`OnceError::Invalid`] where a URL is none.
    pub fn cluster(urls: &[&str], stream: &str) -> Result<Self, OnceError> {
        Self::new(Remote::cluster(urls)?, stream)
    }

    fn new(remote: Remote, stream: &str) -> Result<Self, OnceError> {
        check_name("the name of a stream", stream)?;
        // In the stream's own slot of a cluster.
        let fence_key =
            if stream.contains('{') { format!("{stream}.fence") } else { format!("{{{stream}}}.fence") };
        Ok(Self { remote, stream: stream.to_owned(), fence_key, length_max: 0, script: Script::new(APPEND) })
    }

    /// Lets Redis trim the stream to about `length` entries (`MAXLEN ~`). Choose it so that the slowest consumer never falls that far behind: what is
    /// trimmed before it was read is lost to it.
    #[must_use]
    pub const fn length_max(mut self, length: u64) -> Self {
        self.length_max = length;
        self
    }

    async fn append(&self, fence: i64, messages: &[Message]) -> Result<i64, RedisError> {
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
        let answer = self.remote.run(&call).await?;
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
                Err(error) => return Err(PublishError { accepted, fenced: false, why: error.into() }),
            }
        }
        Ok(())
    }
}

/// Messages in one call of the script.
const SCRIPT_MESSAGES_MAX: usize = 500 / FIELDS;

impl std::fmt::Debug for RedisStreams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisStreams").field("stream", &self.stream).finish_non_exhaustive()
    }
}
