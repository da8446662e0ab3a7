//! PostgreSQL as a database of record.

mod address;
mod ask;
mod canonical;
mod connect;
mod depend;
mod digest;
mod discover;
mod error;
mod feed;
mod handle;
mod identity;
mod load;
mod locked;
mod names;
mod options;
mod params;
mod query;
mod registry;
mod row;
mod source;
mod tags;
mod tls;
mod value;
mod watch;
mod write;

pub use crate::group::GroupSpec;
pub use canonical::KeyColumn;
pub use depend::Dependencies;
pub use discover::{ColumnInfo, Identity, TableInfo, TableKind, discover, discover_table};
pub use error::PostgresError;
pub use handle::Postgres;
pub use load::LOAD_BYTES_MAX;
pub use locked::Locked;
pub use options::{
    APPLICATION_NAME_DEFAULT, CONNECT_WAIT_DEFAULT, PostgresOptions, READERS_MAX_DEFAULT, WRITE_LIMIT_DEFAULT,
    WRITE_LOCK_WAIT_DEFAULT, WRITERS_MAX_DEFAULT,
};
pub use query::{QueryLoader, QueryOptions};
pub use registry::FollowedTable;
pub use row::{RowLoader, RowOptions};
pub use write::{PgTx, WriteError};
