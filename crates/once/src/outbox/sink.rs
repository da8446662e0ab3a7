//! Where messages go.

use std::future::Future;

use super::Message;

/// Where messages go: a broker, a stream, another service.
pub trait Sink: Send + Sync + 'static {
    /// Publishes `messages`, all of one aggregate and in order, and returns once they are safe at the other side.
    ///
    /// Called again with what was not accepted, and after a crash with what was: **must be safe to repeat** for consumers, who know a message by its
    /// aggregate and sequence, or by its business id. `fence` only grows from one relay to the next: a sink that can compare refuses a smaller one
    /// than it has seen, and so a relay that was paused past its lease.
    fn publish(
        &self,
        fence: i64,
        messages: &[Message],
    ) -> impl Future<Output = Result<(), PublishError>> + Send;
}

/// Messages were not accepted, or it is not known whether they were.
#[derive(Debug, thiserror::Error)]
#[error("{accepted} messages were accepted, then: {why}")]
pub struct PublishError {
    /// How many of them were accepted, from the first.
    pub accepted: usize,
    /// Whether a relay with a larger fence is at work: this one is to stop.
    pub fenced: bool,
    /// What went wrong.
    pub why: Box<dyn std::error::Error + Send + Sync>,
}

impl PublishError {
    /// Nothing is known to have been accepted.
    pub fn new(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { accepted: 0, fenced: false, why: why.into() }
    }
}
