//! A cache for services that cannot be wrong: the proof travels with the entry.
//!
//! [`Trueup`] is the way in for programs: typed classes over a database, whose answers say how fresh they are. What
//! becomes of a class (how old an answer may be, what is never held) stands in its [plan](mod@plan).
//!
//! ```no_run
//! use trueup::{Sqlite, SqliteOptions, Trueup};
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Product { id: i64, name: String, price: i64 }
//!
//! # async fn shop() -> Result<(), Box<dyn std::error::Error>> {
//! let trueup = Trueup::builder().source(Sqlite::open("shop.db", SqliteOptions::default())?).build().await?;
//! let products = trueup.class::<i64, Product>("product")?;
//!
//! let shown = products.get(&42).await?; // Cached<Product>: for looking at
//! println!("{:?} at most {:?} old", shown.value().map(|product| product.price), shown.receipt().age);
//!
//! let sale = "UPDATE product SET price = 900 WHERE id = 42";
//! let (_, token) = trueup.write(async |tx| tx.execute(sale, [])).await?;
//! let own = products.read(&42).token(token).run().await?; // reflects that write
//! # Ok(())
//! # }
//! ```
//!
//! Decisions rest on what a transaction has read and locked, an [`Authoritative`] value; there is no way to make one of a
//! [`Cached`] one. The engine itself, with the traits that other databases plug into, is [`engine`].

pub mod catalog;
#[cfg(all(feature = "sqlite", feature = "postgres"))]
mod facade;
mod group;
mod noted;
pub mod plan;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod state_file;
#[cfg(feature = "postgres")]
pub mod tls;
pub mod warm;

/// The engine: proof, tiers, read path, and the traits of sources and remote tiers.
pub use trueup_core as engine;
pub use trueup_core::{
    class::{ClassPlan, Purpose},
    entry::{CacheValue, Raw},
    error::{AcceptError, PutError, ReadError},
    key::{CacheKey, KeyPart, ScopeDimension, Scoped, SqlValue},
    proof::Token,
    receipt::{Cached, Miss, Receipt, ServedBy},
    source::LoadError,
    write::{Authoritative, Fate, Publication, Row, RowChange, Written},
};

#[cfg(all(feature = "sqlite", feature = "postgres"))]
pub use self::{
    facade::{Builder, Class, Database, Decision, Transaction, Trueup, TrueupError},
    postgres::{PgTx, Postgres, PostgresOptions},
    sqlite::{Sqlite, SqliteOptions, SqliteTx, WriteError},
};
pub use noted::Committed;
pub use plan::Plan;
