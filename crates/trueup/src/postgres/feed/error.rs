//! Why the feed cannot be followed, and what to do about it.

use std::time::Duration;

use pg_walstream::ReplicationError;

use super::{assemble::AssembleError, pgoutput::Malformed};

/// The feed could not be entered or followed.
#[derive(Debug, thiserror::Error)]
pub(in crate::postgres) enum FeedError {
    /// The replication connection failed.
    #[error("the feed failed while {doing}: {problem}{}", hint(.problem))]
    Replication {
        /// What was attempted.
        doing: &'static str,
        /// The server's or the connection's own words.
        problem: String,
    },
    /// A plain connection failed.
    #[error("the feed failed while {doing}: {problem}{}", hint(.problem))]
    Database {
        /// What was attempted.
        doing: &'static str,
        /// The server's or the connection's own words, the code in front.
        problem: String,
    },
    /// The source's handle failed; its words say what to do.
    #[error("{0}")]
    Source(String),
    /// Nothing is installed.
    #[error(
        "no feed is installed ({missing} is missing), so changes cannot be seen; run `trueup init --apply`, or serve with `--install-feed`"
    )]
    NotInstalled {
        /// What was looked for.
        missing: String,
    },
    /// The server is a standby.
    #[error(
        "the server is a standby (in recovery), whose log cannot be followed; point the source at the primary"
    )]
    Standby,
    /// Another cluster stands behind the address.
    #[error(
        "another database cluster answers there than when this program was started; restart it if that is intended"
    )]
    OtherCluster,
    /// The log tells what cannot be.
    #[error(
        "the log cannot be read: {0}; nothing told before counts any more. Report this with the server's version"
    )]
    Malformed(#[from] Malformed),
    /// The log tells what cannot be.
    #[error("{0}; nothing told before counts any more")]
    Assemble(#[from] AssembleError),
    /// The connection is open, and nothing comes.
    #[error("the server was silent for {} s on the feed's connection; check the network between here and it", .0.as_secs())]
    Silent(Duration),
    /// An answer took too long.
    #[error("the server did not answer within {} s while {doing}; check its load and the network", limit.as_secs())]
    Late {
        /// What was attempted.
        doing: &'static str,
        /// The limit that passed.
        limit: Duration,
    },
    /// The server was restarted between two questions.
    #[error("the server was restarted while the feed began; it begins again")]
    Restarted,
    /// The durable slot is in use by another node.
    #[error("the replication slot is in use")]
    SlotInUse,
    /// Another node that holds the slot could not be followed.
    #[error("the node that holds the feed cannot be followed at {holder}: {problem}")]
    Holder {
        /// Its address.
        holder: String,
        /// What went wrong.
        problem: String,
    },
    /// A thread could not be started, or died.
    #[error("the feed's thread {0}; check the limits on threads and memory")]
    Thread(&'static str),
    /// The operating system gave no randomness.
    #[error(transparent)]
    Random(#[from] trueup_core::env::random::RandomError),
}

impl FeedError {
    /// A failure of the replication connection.
    pub(super) fn replication(doing: &'static str, source: &ReplicationError) -> Self {
        let problem = source.to_string();
        if problem.contains(IN_USE) {
            return Self::SlotInUse;
        }
        if problem.contains("while in recovery") || problem.contains("recovery is in progress") {
            return Self::Standby;
        }
        Self::Replication { doing, problem }
    }

    /// A failure of a plain connection.
    pub(super) fn database(doing: &'static str, source: &tokio_postgres::Error) -> Self {
        let problem = match source.as_db_error() {
            // The detail may hold values.
            Some(db) => format!("[{}] {}", db.code().code(), db.message()),
            None => std::error::Error::source(source)
                .map_or_else(|| source.to_string(), |cause| format!("{source}: {cause}")),
        };
        Self::Database { doing, problem }
    }

    /// Whether the server says that what was asked for does not exist.
    pub(super) fn is_missing(&self) -> bool {
        let problem = match self {
            Self::Replication { problem, .. } | Self::Database { problem, .. } => problem,
            _ => return false,
        };
        MISSING.iter().any(|code| problem.contains(code))
    }

    /// Whether the log cannot be read on by this slot, so that only a new one helps.
    pub(super) fn is_unreadable(&self) -> bool {
        match self {
            Self::Malformed(_) | Self::Assemble(_) => true,
            Self::Replication { problem, .. } => UNREADABLE.iter().any(|mark| problem.contains(mark)),
            _ => false,
        }
    }
}

/// `object_in_use`.
const IN_USE: &str = "[55006]";
/// Undefined table, schema, object, and a schema or table that the role may not see.
const MISSING: [&str; 4] = ["[42P01]", "[3F000]", "[42704]", "[42501]"];

/// Undefined object (the publication as it was when a change was made), and a message longer than the library takes.
const UNREADABLE: [&str; 2] = ["[42704]", "exceeds maximum allowed"];

/// What to do, by the code in the server's words.
fn hint(problem: &str) -> &'static str {
    const HINTS: [(&str, &str); 9] = [
        ("[53400]", "; raise `max_replication_slots` and restart the server, or drop slots that nobody uses"),
        ("[53300]", "; raise `max_wal_senders` (and `max_connections`) and restart the server"),
        ("publication", "; run `trueup init --apply`: it makes the publication"),
        ("wal_level", "; set `wal_level = logical` and restart the server"),
        ("[55000]", "; the slot's log is gone, a new one is made"),
        ("[42501]", "; run the GRANT and ALTER ROLE statements that `trueup init` prints"),
        ("[28", "; check user, password and pg_hba.conf"),
        ("[3D000]", "; check the database's name in the URL"),
        ("refused", "; check host and port in the URL, and that the server runs"),
    ];
    HINTS.iter().find(|(mark, _)| problem.contains(mark)).map_or("", |(_, hint)| hint)
}
