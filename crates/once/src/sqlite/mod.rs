//! The store on SQLite.

mod error;
mod pool;
mod store;
mod value;
mod within;

pub use self::{
    store::{SqliteOptions, SqliteStore, SqliteTx},
    within::{Lends, Within},
};
