//! From a Redis stream into the inbox: the other end of [`RedisStreams`](crate::outbox::redis::RedisStreams).
//!
//! An entry is acknowledged (`XACK`) after its transaction was committed. What was not acknowledged, because the consumer died, failed
//! or was given it too early, is given again to whoever asks after a while (`XAUTOCLAIM`).

use std::{future::Future, sync::Arc, time::Duration};

use ::redis::{Cmd, RedisError, Value, cmd};
use trueup_core::env::{Task, spawn};

use super::{Delivery, Received};
use crate::{
    Once,
    error::{OnceError, check_name},
    limits::POLL_DEFAULT,
    outbox::Message,
    redis_connection::Remote,
    store::{Owned as _, Store},
};

/// Entries that are asked for at a time.
const BATCH_DEFAULT: usize = 64;
/// How long an entry may be with a consumer before it is given again.
const GIVEN_AGAIN_AFTER_DEFAULT: Duration = Duration::from_secs(5);

/// Has the effect of messages.
pub trait Consume<S: Store>: Send + Sync + 'static {
    /// Has the effect of `message` in `tx`, and puts what follows from it into the outbox there. The message has not had its effect before.
    ///
    /// Called again after an error: whatever is done outside `tx` must be safe to repeat.
    ///
    /// # Errors
    /// Anything: everything is rolled back, and the message comes again.
    fn consume(
        &self,
        once: &Once<S>,
        tx: &S::Tx,
        message: &Message,
    ) -> impl Future<Output = Result<(), Box<dyn std::error::Error + Send + Sync>>> + Send;
}

/// What a message's sequence means to its consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Each message counts, in its turn: [`Delivery::next`].
    Each,
    /// The last of an aggregate's messages counts: [`Delivery::latest`].
    Last,
    /// Nothing.
    Any,
}

/// What a round of a consumer did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConsumerReport {
    /// Messages that had their effect.
    pub first: usize,
    /// Messages that had had it before, or that something newer had overtaken.
    pub skipped: usize,
    /// Messages that came before their turn; they come again.
    pub early: usize,
    /// Messages whose effect failed; they come again.
    pub failed: usize,
}

/// Consumes a stream, once for all instances with the same name.
pub struct StreamConsumer<S, C> {
    once: Once<S>,
    consume: Arc<C>,
    remote: Remote,
    stream: String,
    name: String,
    instance: String,
    order: Order,
    given_again_after: Duration,
}

impl<S: Store, C: Consume<S>> StreamConsumer<S, C> {
    /// A consumer called `name` (its group in Redis, and its name in the inbox) of the stream `stream` of the server at `url`.
    ///
    /// # Errors
    /// [`OnceError::Invalid`] where `url` or a name is none.
    pub fn new(once: Once<S>, consume: C, url: &str, stream: &str, name: &str) -> Result<Self, OnceError> {
        Self::of(once, consume, Remote::single(url)?, stream, name)
    }

    /// The same in a cluster.
    ///
    /// # Errors
    /// As [`StreamConsumer::new`].
    pub fn cluster(
        once: Once<S>,
        consume: C,
        urls: &[&str],
        stream: &str,
        name: &str,
    ) -> Result<Self, OnceError> {
        Self::of(once, consume, Remote::cluster(urls)?, stream, name)
    }

    fn of(once: Once<S>, consume: C, remote: Remote, stream: &str, name: &str) -> Result<Self, OnceError> {
        check_name("the name of a stream", stream)?;
        check_name("the name of a consumer", name)?;
        Ok(Self {
            once,
            consume: Arc::new(consume),
            remote,
            stream: stream.to_owned(),
            name: name.to_owned(),
            instance: crate::lease::owner_name(),
            order: Order::Each,
            given_again_after: GIVEN_AGAIN_AFTER_DEFAULT,
        })
    }

    /// What the sequence of messages means, in place of [`Order::Each`], and how long a message may be with an instance before another is given it.
    #[must_use]
    pub const fn tuned(mut self, order: Order, given_again_after: Duration) -> Self {
        self.order = order;
        self.given_again_after = given_again_after;
        self
    }

    /// One round: what others have left, then what is new.
    ///
    /// **Safe to repeat: yes**, and to run anywhere at the same time: see [`Inbox::receive`](super::Inbox::receive).
    ///
    /// # Errors
    /// What Redis says; messages that were consumed before that stay consumed.
    pub async fn run_once(&self) -> Result<ConsumerReport, Box<dyn std::error::Error + Send + Sync>> {
        let mut report = ConsumerReport::default();
        let mut left = cmd("XAUTOCLAIM");
        left.arg(&self.stream)
            .arg(&self.name)
            .arg(&self.instance)
            .arg(self.given_again_after.as_millis() as u64);
        left.arg("0-0").arg("COUNT").arg(BATCH_DEFAULT);
        let mut new = cmd("XREADGROUP");
        new.arg("GROUP").arg(&self.name).arg(&self.instance).arg("COUNT").arg(BATCH_DEFAULT);
        new.arg("STREAMS").arg(&self.stream).arg(">");
        for (command, depth) in [(left, 0), (new, 1)] {
            let answer = self.ask(&command).await?;
            for (entry, fields) in entries(answer, depth) {
                self.take(&entry, fields, &mut report).await?;
            }
        }
        Ok(report)
    }

    /// Asks, and makes the group where there is none.
    async fn ask(&self, command: &Cmd) -> Result<Value, RedisError> {
        match self.remote.call(command).await {
            Err(why) if why.code() == Some("NOGROUP") => {
                let mut create = cmd("XGROUP");
                create.arg("CREATE").arg(&self.stream).arg(&self.name).arg("0").arg("MKSTREAM");
                match self.remote.call(&create).await {
                    Err(why) if why.code() != Some("BUSYGROUP") => return Err(why),
                    _ => {}
                }
                self.remote.call(command).await
            }
            answer => answer,
        }
    }

    async fn take(
        &self,
        entry: &str,
        fields: Option<Message>,
        report: &mut ConsumerReport,
    ) -> Result<(), RedisError> {
        let Some(message) = fields else {
            // Somebody else's: nobody here can ever read it.
            tracing::error!(
                stream = self.stream,
                entry,
                "an entry of the stream is no message; it is passed over"
            );
            report.failed += 1;
            return self.acknowledge(entry).await;
        };
        match self.receive(&message).await {
            Ok(Received::First) => report.first += 1,
            Ok(Received::Repeated | Received::Outdated) => report.skipped += 1,
            Ok(Received::Early) => {
                report.early += 1;
                return Ok(());
            }
            Err(error) => {
                tracing::warn!(consumer = self.name, topic = message.topic, entry, %error, "a message could not be consumed; it comes again");
                report.failed += 1;
                return Ok(());
            }
        }
        self.acknowledge(entry).await
    }

    async fn receive(&self, message: &Message) -> Result<Received, Box<dyn std::error::Error + Send + Sync>> {
        let delivery = Delivery::new(&self.name, &message.business_id);
        let delivery = match self.order {
            Order::Each => delivery.next(&message.aggregate, message.sequence),
            Order::Last => delivery.latest(&message.aggregate, message.sequence),
            Order::Any => delivery,
        };
        let tx = self.once.store().begin().await?;
        let received = self.once.inbox().receive(&tx, &delivery).await?;
        match received {
            Received::First => self.consume.consume(&self.once, &tx, message).await?,
            Received::Repeated | Received::Outdated => {}
            Received::Early => return Ok(received),
        }
        tx.commit().await?;
        Ok(received)
    }

    async fn acknowledge(&self, entry: &str) -> Result<(), RedisError> {
        let mut command = cmd("XACK");
        command.arg(&self.stream).arg(&self.name).arg(entry);
        self.remote.call(&command).await.map(drop)
    }

    /// Consumes for ever.
    pub fn start(self) -> Task {
        spawn("once consumer", async move {
            loop {
                match self.run_once().await {
                    Ok(report) if report.first + report.skipped >= BATCH_DEFAULT => {}
                    Ok(_) => tokio::time::sleep(POLL_DEFAULT).await,
                    Err(error) => {
                        tracing::warn!(consumer = self.name, %error, "the stream could not be read; it is tried again");
                        tokio::time::sleep(POLL_DEFAULT).await;
                    }
                }
            }
        })
    }
}

/// The entries of an answer: of `XAUTOCLAIM` (cursor, entries, deleted), or within the streams (`depth` 1) of `XREADGROUP`.
fn entries(answer: Value, depth: usize) -> Vec<(String, Option<Message>)> {
    let list = if depth == 0 {
        items(answer)
    } else {
        items(answer).into_iter().next().map(items).unwrap_or_default()
    };
    let list = list.into_iter().nth(1).map(items).unwrap_or_default();
    list.into_iter()
        .filter_map(|entry| {
            let mut parts = items(entry).into_iter();
            let id = text(parts.next()?)?;
            Some((id, parts.next().and_then(|fields| message(items(fields)))))
        })
        .collect()
}

fn items(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        // As RESP3 gives streams.
        Value::Map(pairs) => pairs.into_iter().map(|(key, value)| Value::Array(vec![key, value])).collect(),
        _ => Vec::new(),
    }
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.into_bytes()),
        _ => None,
    }
}

fn text(value: Value) -> Option<String> {
    String::from_utf8(bytes(value)?).ok()
}

fn message(fields: Vec<Value>) -> Option<Message> {
    let mut named = std::collections::HashMap::new();
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        named.insert(text(name)?, bytes(value)?);
    }
    let mut take = |name: &str| named.remove(name);
    let payload = take("payload")?.into();
    let mut string = |name: &str| take(name).and_then(|bytes| String::from_utf8(bytes).ok());
    Some(Message {
        id: string("id")?.parse().ok()?,
        aggregate: string("aggregate")?,
        sequence: string("sequence")?.parse().ok()?,
        topic: string("topic")?,
        business_id: string("business_id")?,
        payload,
        created_ms: string("created_ms")?.parse().ok()?,
    })
}

impl<S, C> std::fmt::Debug for StreamConsumer<S, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamConsumer")
            .field("stream", &self.stream)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[test]
    fn what_is_no_message_is_told_from_what_is() {
        let pairs = [
            ("id", "7"),
            ("aggregate", "a"),
            ("sequence", "2"),
            ("topic", "t"),
            ("business_id", "b"),
            ("created_ms", "9"),
            ("payload", "p"),
        ];
        let fields: Vec<_> = pairs.iter().flat_map(|(name, value)| [bulk(name), bulk(value)]).collect();
        let read = message(fields.clone()).unwrap();
        assert_eq!((read.id, read.sequence, read.payload.as_ref()), (7, 2, &b"p"[..]));
        assert!(message(fields[2..].to_vec()).is_none());
        assert!(message(vec![bulk("id"), bulk("seven")]).is_none());
        assert!(message(Vec::new()).is_none());
        let entry = Value::Array(vec![bulk("1-0"), Value::Array(fields)]);
        let foreign = Value::Array(vec![bulk("2-0"), Value::Nil]);
        let list = Value::Array(vec![entry, foreign]);
        let streams = Value::Array(vec![Value::Array(vec![bulk("s"), list.clone()])]);
        let claimed = Value::Array(vec![bulk("0-0"), list, Value::Array(Vec::new())]);
        for (answer, depth) in [(streams, 1), (claimed, 0)] {
            let found = entries(answer, depth);
            assert_eq!(found.len(), 2);
            assert!(found[0].1.is_some() && found[1].1.is_none());
        }
        assert!(entries(Value::Nil, 1).is_empty());
    }
}
