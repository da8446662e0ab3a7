//! SQLite as a database of record.

mod behind;
mod canonical;
mod connection;
mod depend;
mod discover;
mod error;
mod feed;
mod file_id;
mod handle;
mod install;
mod json;
mod keeper;
mod keys;
mod load;
mod locked;
mod log;
mod membership;
mod names;
mod place;
mod pool;
mod predicate;
mod put;
mod query;
mod registry;
mod remove;
mod row;
mod source;
mod state;
#[cfg(test)]
mod tests;
mod triggers;
mod trim;
mod typed;
mod watched;
mod write;

pub use behind::BehindSink;
pub use canonical::KeyColumn;
pub use depend::Dependencies;
pub use discover::{ColumnInfo, TableInfo, discover, discover_file, discover_table};
pub use error::SqliteError;
pub use handle::{
    FollowedTable, LoadMode, POLL_BUSY_DEFAULT, POLL_IDLE_DEFAULT, READ_LOCK_WAIT, Sqlite, SqliteOptions,
    WRITE_LOCK_WAIT_DEFAULT,
};
pub use install::{FeedPlan, INSTALL_LOCK_WAIT, InstallOptions};
pub use load::LOAD_BYTES_MAX;
pub use locked::Locked;
pub use query::{QueryLoader, QueryOptions};
pub use registry::GroupSpec;
pub use remove::RemovePlan;
pub use row::{RowLoader, RowOptions};
pub use typed::{FnLoader, FnLoaderBuilder};
pub use watched::Narrow;
pub use write::{SqliteTx, WriteError};
