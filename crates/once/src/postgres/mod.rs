//! The store on PostgreSQL.

mod error;
mod store;
mod value;
mod within;

pub use self::{
    store::{PostgresOptions, PostgresStore, PostgresTx},
    within::Within,
};
