//! Effects that happen once, whatever crashes, repeats or wakes up late: idempotency keys, outbox, inbox, fenced leases and
//! rerunnable jobs, on PostgreSQL and SQLite.
//!
//! Everything rests on one rule: **what this crate records and what the service does are one transaction.** So the caller opens the
//! transaction, hands it to the operations of this crate, does its own work in it, and commits:
//!
//! ```no_run
//! # #[cfg(feature = "sqlite")]
//! # async fn example() -> Result<(), once::OnceError> {
//! use once::{Claim, Fingerprint, Key, Once, Options, Request, Scope, StoredResponse, sqlite::SqliteStore, store::*};
//!
//! let store = SqliteStore::new("service.db");
//! once::migrate(&store).await?;
//! let once = Once::new(store, Options::new());
//!
//! let key = Key::new("8e03978e-40d5-43dd-bc93-6894a57f9324").map_err(|e| e.to_string()).unwrap();
//! let asked = Fingerprint::of(1, "POST", "/notes").body(&"remember the milk", &[])?;
//! let request = Request::new(Scope::new("tenant-1/ann", key)?, asked);
//!
//! let tx = once.store().begin().await?;
//! if let Claim::Granted(held) = once.claim(&tx, &request).await? {
//!     tx.execute("INSERT INTO note (text) VALUES ($1)", &["remember the milk".into()]).await?;
//!     once.finish(&tx, &held, &StoredResponse::new(201, "noted")?).await?;
//!     tx.commit().await?; // claim, note and answer: all or nothing
//! }
//! # Ok(())
//! # }
//! ```
//!
//! | part | promise |
//! |---|---|
//! | [`Once`] | of all requests with one key exactly one is worked on; its answer is given again byte for byte |
//! | [`Completer`] | what was begun and not finished is gone on with, never failed by itself |
//! | [`outbox`] | a message leaves if and only if its transaction was committed; at least once, in order per aggregate |
//! | [`inbox`] | a message has its effect once, however often it arrives |
//! | [`lease`] | one holder at a time; one who was paused past the end changes nothing |
//! | [`jobs`] | a run can be killed and started again at any point, and changes nothing the second time |
//! | [`scripts`] | a script runs once, by name and content |
//!
//! The clock is the database's. Every operation says whether it is safe to repeat, and why.

mod counters;
mod engine;
mod error;
#[cfg(feature = "http")]
pub mod http;
pub mod inbox;
pub mod jobs;
mod key;
pub mod lease;
pub mod limits;
pub mod migrate;
pub mod outbox;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "redis")]
mod redis_connection;
pub mod scripts;
#[cfg(feature = "sqlite")]
pub mod sqlite;
pub mod store;

pub use self::{
    counters::{Counter, Counters, Figure, Kind},
    engine::{
        Claim, Completer, CompleterReport, Held, KeyId, Known, LookUp, Once, Options, Point, Ran, Request,
        Resume, Resumed, Step, Stuck,
    },
    error::{OnceError, Transient},
    key::{BusinessId, Fingerprint, Fingerprinting, Key, KeyError, Scope, StoredResponse},
    migrate::migrate,
};
