//! A small shop in a temporary folder, for the examples.
#![allow(dead_code, reason = "each example uses its part")]

use std::path::PathBuf;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use trueup::{
    Sqlite, SqliteOptions,
    sqlite::{FeedPlan, InstallOptions, SqliteError},
};

/// What both accounts hold together.
pub(crate) const SUM_OF_BALANCES: i64 = 100_000;

/// A row of `product`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Product {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) price: i64,
}

/// A row of `account`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) balance: i64,
}

/// The shop's database; gone when this is dropped.
pub(crate) struct Shop {
    _folder: TempDir,
    path: PathBuf,
}

impl Shop {
    /// Makes the database, and puts the change feed into it, as `trueup init --apply` does.
    pub(crate) fn open() -> Result<Self, Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("shop.db");
        Connection::open(&path)?.execute_batch(
            "CREATE TABLE product (id INTEGER PRIMARY KEY, name TEXT NOT NULL, price INTEGER NOT NULL);
             INSERT INTO product VALUES (42, 'Trail shoe', 1000);
             CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
             INSERT INTO account VALUES (1, 50000), (2, 50000);",
        )?;
        FeedPlan::new(&path, &InstallOptions::default())?.apply()?;
        Ok(Self { _folder: folder, path })
    }

    /// The database as a source.
    pub(crate) fn source(&self) -> Result<Sqlite, SqliteError> {
        Sqlite::open(&self.path, SqliteOptions::default())
    }

    /// A connection that knows nothing of a cache.
    pub(crate) fn other_program(&self) -> rusqlite::Result<Connection> {
        let conn = Connection::open(&self.path)?;
        conn.busy_timeout(std::time::Duration::from_secs(5))?;
        Ok(conn)
    }
}
