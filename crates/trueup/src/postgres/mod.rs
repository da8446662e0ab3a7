//! PostgreSQL as a database of record.

mod address;
mod ask;
mod behind;
mod canonical;
mod connect;
mod depend;
mod digest;
mod discover;
mod error;
mod feed;
mod grants;
mod handle;
mod identity;
mod install;
mod keys;
mod load;
mod locked;
mod names;
mod options;
mod params;
mod preflight;
mod put;
mod query;
mod registry;
mod remove;
mod replica;
mod row;
mod secret;
mod source;
mod tags;
mod tls;
mod value;
mod watch;
mod write;

pub use crate::group::GroupSpec;
pub use behind::BehindSink;
pub use canonical::KeyColumn;
pub use connect::Dialer;
pub use depend::Dependencies;
pub use discover::{ColumnInfo, Identity, TableInfo, TableKind, discover, discover_table};
pub use error::PostgresError;
pub use feed::{
    ASK_BUSY_DEFAULT, ASK_IDLE_DEFAULT, FeedOptions, FeedState, FeedStatus, Role, fleet, pgoutput,
};
pub use handle::Postgres;
pub use install::{FeedPlan, INSTALL_LOCK_WAIT, InstallOptions};
pub use load::LOAD_BYTES_MAX;
pub use locked::Locked;
pub use options::{
    APPLICATION_NAME_DEFAULT, CONNECT_WAIT_DEFAULT, PostgresOptions, READERS_MAX_DEFAULT,
    WRITE_LIMIT_DEFAULT, WRITE_LOCK_WAIT_DEFAULT, WRITERS_MAX_DEFAULT,
};
pub use preflight::{Finding, Severity};
pub use query::{QueryLoader, QueryOptions, parameter_forms};
pub use registry::FollowedTable;
pub use remove::RemovePlan;
pub use row::{RowLoader, RowOptions};
pub use write::{PgTx, WriteError};
