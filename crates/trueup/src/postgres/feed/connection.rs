//! The replication connection: what the library offers in blocking calls, each on a thread of its own, and its stream.

use std::time::Duration;

use bytes::Bytes;
use pg_walstream::{CancellationToken, PgReplicationConnection, parse_lsn};
use tokio::sync::oneshot;
use trueup_core::proof::Position;

use super::error::FeedError;

/// How long connecting may take.
const CONNECT_WAIT: Duration = Duration::from_secs(10);
/// After so long without an answer to its packets the operating system gives the connection up.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(10);
/// The server gives us up after so long without a word; half of it is how often it asks.
const SENDER_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the server's end may have something to send that is not taken, before the kernel ends the connection. A sender
/// that was told to end first tells its client so; with a client that stands still and a full socket it would wait for ever,
/// and with it the checkpoint that wants to take its slot away: nothing would limit the log any more.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The name under which the server shows this connection. It stands in no sensible `synchronous_standby_names`.
const APPLICATION_NAME: &str = "trueup_feed";
/// The plugin on the server.
const PLUGIN: &str = "pgoutput";

/// What the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct System {
    pub(super) id: u64,
    pub(super) timeline: u32,
}

/// A connection in replication mode.
pub(super) struct Replication {
    /// None only while a call is under way on another thread.
    inner: Option<PgReplicationConnection>,
    never: CancellationToken,
    /// The server's process.
    pub(super) pid: i32,
    pub(super) system: System,
}

impl Replication {
    /// Connects by `conninfo`, in the library's `key='value'` form without `replication`, to the cluster `system_id` alone.
    pub(super) async fn connect(conninfo: &str, system_id: u64) -> Result<Self, FeedError> {
        let conninfo = format!(
            "{conninfo} replication=database connect_timeout={} tcp_user_timeout={}",
            CONNECT_WAIT.as_secs(),
            UNACKNOWLEDGED_MAX.as_millis()
        );
        let (inner, pid, system) = on_thread(move || {
            let doing = "connecting for replication";
            let failed = |e: pg_walstream::ReplicationError| FeedError::replication(doing, &e);
            let mut inner = PgReplicationConnection::connect(&conninfo).map_err(failed)?;
            for (name, value) in settings() {
                inner.exec(&format!("SET {name} = '{value}'")).map_err(failed)?;
            }
            let pid = inner.exec("SELECT pg_backend_pid()").map_err(failed)?.get_value(0, 0);
            let identity = inner.identify_system().map_err(failed)?;
            let told = (|| {
                let id = identity.get_value(0, 0)?.parse().ok()?;
                let timeline = identity.get_value(0, 1)?.parse().ok()?;
                Some((pid?.parse().ok()?, System { id, timeline }))
            })();
            let problem = || "the server did not say who it is".to_owned();
            let (pid, system) = told.ok_or_else(|| FeedError::Replication { doing, problem: problem() })?;
            Ok::<_, FeedError>((inner, pid, system))
        })
        .await??;
        let this = Self { inner: Some(inner), never: CancellationToken::new(), pid, system };
        if this.system.id == system_id { Ok(this) } else { Err(FeedError::OtherCluster) }
    }

    /// Makes a slot and returns where it starts: every transaction whose commit record begins at or after it is told.
    ///
    /// Waits for every transaction that writes, however long that takes.
    pub(super) async fn create_slot(
        &mut self,
        slot: &str,
        is_temporary: bool,
    ) -> Result<Position, FeedError> {
        let kind = if is_temporary { "TEMPORARY " } else { "" };
        let sql = format!("CREATE_REPLICATION_SLOT \"{slot}\" {kind}LOGICAL {PLUGIN} NOEXPORT_SNAPSHOT");
        let doing = "making the replication slot";
        let start = self.call(move |inner| {
            let made = inner.exec(&sql).map_err(|e| FeedError::replication(doing, &e))?;
            let start = made.get_value(0, 1).and_then(|lsn| parse_lsn(&lsn).ok());
            start.ok_or_else(|| FeedError::Replication {
                doing,
                problem: "the server named no start".to_owned(),
            })
        });
        start.await.map(Position)
    }

    /// Begins to stream from where the slot was confirmed last, and nothing is told that ended before.
    pub(super) async fn start(&mut self, slot: &str, publication: &str) -> Result<(), FeedError> {
        let slot = slot.to_owned();
        let publication = format!("\"{}\"", publication.replace('"', "\"\""));
        self.call(move |inner| {
            let options = [
                ("proto_version", "2"),
                ("publication_names", publication.as_str()),
                ("streaming", "on"),
                ("messages", "true"),
                ("binary", "false"),
            ];
            inner
                .start_replication(&slot, 0, &options)
                .map_err(|e| FeedError::replication("starting to stream", &e))
        })
        .await
    }

    /// The next unit. May be dropped while it waits: nothing is lost.
    pub(super) async fn next(&mut self) -> Result<Bytes, FeedError> {
        let inner = self.inner.as_mut().ok_or(FeedError::Thread("was interrupted"))?;
        let next = inner.get_copy_data_async(&self.never).await;
        next.map_err(|e| FeedError::replication("streaming", &e))
    }

    /// Tells the server how far we are: `confirmed` is what it need never tell again. It answers at once if it is to.
    pub(super) async fn report(
        &mut self,
        received: Position,
        confirmed: Position,
        wants_answer: bool,
    ) -> Result<(), FeedError> {
        let inner = self.inner.as_mut().ok_or(FeedError::Thread("was interrupted"))?;
        let sent = inner.send_standby_status_update(received.0, confirmed.0, confirmed.0, wants_answer).await;
        sent.map_err(|e| FeedError::replication("reporting progress", &e))
    }

    async fn call<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut PgReplicationConnection) -> Result<T, FeedError> + Send + 'static,
    ) -> Result<T, FeedError> {
        let mut inner = self.inner.take().ok_or(FeedError::Thread("was interrupted"))?;
        let (inner, result) = on_thread(move || {
            let result = work(&mut inner);
            (inner, result)
        })
        .await?;
        self.inner = Some(inner);
        result
    }
}

impl Drop for Replication {
    fn drop(&mut self) {
        // Hanging up waits for the library's own thread.
        if let Some(inner) = self.inner.take() {
            let hang_up = std::thread::Builder::new().name("trueup-hang-up".to_owned());
            drop(hang_up.spawn(move || drop(inner)));
        }
    }
}

/// Settings of the session: patience, and the text forms by which keys are compared.
fn settings() -> impl Iterator<Item = (&'static str, String)> {
    let text = [
        ("application_name", APPLICATION_NAME),
        ("datestyle", "ISO"),
        ("timezone", "UTC"),
        ("intervalstyle", "postgres"),
        ("extra_float_digits", "1"),
        ("bytea_output", "hex"),
        ("lock_timeout", "0"),
        ("statement_timeout", "0"),
    ];
    let text = text.into_iter().map(|(name, value)| (name, value.to_owned()));
    text.chain([
        ("wal_sender_timeout", format!("{}ms", SENDER_TIMEOUT.as_millis())),
        ("tcp_user_timeout", format!("{}ms", UNREAD_TIMEOUT.as_millis())),
    ])
}

/// Runs blocking work on a thread of its own: one that waits for an open transaction may wait for hours, and must not hold
/// up the runtime's end as its blocking threads do.
async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, FeedError> {
    let (reply, answer) = oneshot::channel();
    let thread = std::thread::Builder::new().name("trueup-feed".to_owned());
    let spawned = thread.spawn(move || drop(reply.send(work())));
    spawned.map_err(|_| FeedError::Thread("could not be started"))?;
    answer.await.map_err(|_| FeedError::Thread("died"))
}
