//! What stands behind the server.

use std::pin::Pin;

use super::{
    command::Data,
    info::Info,
    reply::{Encoded, Reply},
    session::Session,
};

/// An answer that comes later. Build it with [`Format::encode`](super::reply::Format::encode) of the session's format.
///
/// It is dropped when the client goes away or the server's time to stop is over.
pub type PendingReply = Pin<Box<dyn Future<Output = Encoded> + Send>>;

/// What became of a command.
pub enum Outcome {
    /// Exactly one reply was written.
    Done,
    /// Nothing was written; the reply comes later, and in its turn.
    Pending(PendingReply),
}

impl Outcome {
    /// An answer that comes later.
    pub fn pending(reply: impl Future<Output = Encoded> + Send + 'static) -> Self {
        Self::Pending(Box::pin(reply))
    }
}

/// Answers commands about data. One clone serves each connection.
pub trait Service: Clone + Send + Sync + 'static {
    /// Answers `command`: at once where that needs no waiting (a hit allocates nothing and awaits nothing), else with a
    /// future, which owns what it needs of the command.
    ///
    /// Must not block for longer than a read of memory or of a local file takes. Runs within the runtime that called
    /// [`serve`](super::serve), so it may start tasks there.
    fn execute(&self, session: &Session, command: &Data<'_>, reply: &mut Reply<'_>) -> Outcome;

    /// Adds sections to what `INFO` shows.
    fn info(&self, info: &mut Info<'_>) {
        let _ = info;
    }
}
