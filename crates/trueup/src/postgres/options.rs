//! Settings of a PostgreSQL source.

use std::{path::PathBuf, time::Duration};

use trueup_core::{class::HARD_TIMEOUT_DEFAULT, env::Clock};

use super::feed::FeedOptions;

/// Connections for loads.
pub const READERS_MAX_DEFAULT: usize = 16;
/// Connections for writes, locked reads, and looking at the catalogue.
pub const WRITERS_MAX_DEFAULT: usize = 8;
/// Connections for the questions that make answers fresh; apart, so that they never wait behind loads.
pub(super) const ASKERS_MAX: usize = 2;
/// How long connecting may take.
pub const CONNECT_WAIT_DEFAULT: Duration = Duration::from_secs(5);
/// How long a write waits for a lock that another transaction holds.
pub const WRITE_LOCK_WAIT_DEFAULT: Duration = Duration::from_secs(5);
/// How long a write may run, each of its statements.
pub const WRITE_LIMIT_DEFAULT: Duration = Duration::from_secs(30);
/// After so long the server ends a load whose class sets no limit of its own.
pub(super) const LOAD_LIMIT_DEFAULT: Duration = HARD_TIMEOUT_DEFAULT;
/// After so long the server ends a question about position, snapshot and catalogue.
pub(super) const ASK_LIMIT: Duration = Duration::from_secs(5);
/// A connection is given up when the other side has acknowledged nothing for so long: a cut network must not hold a pool's
/// connections for the hours that TCP would.
pub(super) const PEER_SILENCE_MAX: Duration = Duration::from_secs(10);
/// How long a standby that failed is left alone.
pub(super) const REPLICA_PAUSE: Duration = Duration::from_secs(1);
/// The name under which the server shows our connections.
pub const APPLICATION_NAME_DEFAULT: &str = "trueup";

/// Settings of a PostgreSQL source.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// The name under which the server shows our connections. It must not stand in `synchronous_standby_names`.
    pub application_name: String,
    /// A file that holds the password, read at each connect; without it the one in the URL is used.
    pub password_file: Option<PathBuf>,
    /// Connections for loads, at most.
    pub readers_max: usize,
    /// Connections for writes and locked reads, at most.
    pub writers_max: usize,
    /// How long connecting may take.
    pub connect_wait: Duration,
    /// How long a write waits for a lock that another transaction holds.
    pub write_lock_wait: Duration,
    /// How long each statement of a write may run.
    pub write_limit: Duration,
    /// URLs of hot standbys of this primary, from which single keys are loaded first. An answer of a standby waits until the
    /// primary certainly shows all that it may show, which takes as long as the feed takes to ask (see [`FeedOptions`]).
    pub replicas: Vec<String>,
    /// How the change log is followed.
    pub feed: FeedOptions,
    /// The clock for deadlines.
    pub clock: Clock,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            application_name: APPLICATION_NAME_DEFAULT.to_owned(),
            password_file: None,
            readers_max: READERS_MAX_DEFAULT,
            writers_max: WRITERS_MAX_DEFAULT,
            connect_wait: CONNECT_WAIT_DEFAULT,
            write_lock_wait: WRITE_LOCK_WAIT_DEFAULT,
            write_limit: WRITE_LIMIT_DEFAULT,
            replicas: Vec::new(),
            feed: FeedOptions::default(),
            clock: Clock::system(),
        }
    }
}
