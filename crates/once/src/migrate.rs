//! Schema changes, each run once, in order, by whichever instance comes first.
//!
//! Not `refinery`: its versions that can use this `rusqlite` need a newer Rust than this workspace promises, it takes no lock between instances that
//! start together, and its one history table belongs to the service.

use sha2::{Digest as _, Sha256};

use crate::{
    error::{OnceError, check_name},
    store::{Dialect, Owned as _, Store, Transaction},
};

/// What PostgreSQL's instances queue by while they migrate.
const LOCK: i64 = 0x6f6e_6365; // "once"

/// One change of the schema: text for each database.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// What it does, for people.
    pub name: &'static str,
    /// For PostgreSQL.
    pub postgres: &'static str,
    /// For SQLite.
    pub sqlite: &'static str,
}

/// The schema of this crate.
pub const SCHEMA: &[Migration] = &[Migration {
    name: "keys, outbox, inbox, leases, jobs, scripts",
    postgres: include_str!("../migrations/postgres_1.sql"),
    sqlite: include_str!("../migrations/sqlite_1.sql"),
}];

/// Makes or updates this crate's tables; how many migrations ran.
///
/// **Safe to repeat: yes**, and to run from every instance at its start: all of it is one transaction under a lock, and what has run is
/// recorded in it.
///
/// # Errors
/// As [`migrate_set`].
pub async fn migrate<S: Store>(store: &S) -> Result<usize, OnceError> {
    migrate_set(store, "once", SCHEMA).await
}

/// Runs those of `migrations` that have not run yet under the name `set`, in one transaction; how many that were. For a service's
/// own tables.
///
/// **Safe to repeat: yes**, as [`migrate`]. Append to the list; never change what has run.
///
/// # Errors
/// [`OnceError::Invalid`] where a migration that has run has another text now, or the database has been migrated by a newer version;
/// [`OnceError::Store`]. Nothing has changed then.
pub async fn migrate_set<S: Store>(
    store: &S,
    set: &str,
    migrations: &[Migration],
) -> Result<usize, OnceError> {
    check_name("the name of a set of migrations", set)?;
    let tx = store.begin().await?;
    let dialect = tx.dialect();
    if dialect == Dialect::Postgres {
        tx.query("SELECT 1 FROM (SELECT pg_advisory_xact_lock($1)) AS lock", &[LOCK.into()]).await?;
    }
    tx.batch(history(dialect)).await?;
    let rows = tx
        .query("SELECT content_hash FROM once_migrations WHERE set_name = $1 ORDER BY version", &[set.into()])
        .await?;
    if rows.len() > migrations.len() {
        let why = format!(
            "has run {} migrations of {set}, of which this program knows {}; run the newer program",
            rows.len(),
            migrations.len()
        );
        return Err(OnceError::invalid("the database", why));
    }
    for (index, migration) in migrations.iter().enumerate() {
        let text = text(migration, dialect);
        let hash = Sha256::digest(text);
        match rows.get(index) {
            Some(row) if row.bytes(0)? == hash.as_slice() => {}
            Some(_) => {
                let why = format!(
                    "{} of {set} ({}) has another text than when it ran; put it back, and add a new one",
                    index + 1,
                    migration.name
                );
                return Err(OnceError::invalid("migration", why));
            }
            None => {
                tx.batch(text).await?;
                let sql = "INSERT INTO once_migrations (set_name, version, name, content_hash, applied_ms) VALUES ($1, $2, $3, $4, {now})";
                let version = i64::try_from(index).unwrap_or(i64::MAX) + 1;
                tx.execute(sql, &[set.into(), version.into(), migration.name.into(), hash.as_slice().into()])
                    .await?;
            }
        }
    }
    tx.commit().await?;
    Ok(migrations.len() - rows.len())
}

const fn text(migration: &Migration, dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres => migration.postgres,
        Dialect::Sqlite => migration.sqlite,
    }
}

const fn history(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres => {
            "CREATE TABLE IF NOT EXISTS once_migrations (set_name TEXT NOT NULL, version BIGINT NOT NULL, name TEXT NOT NULL, \
             content_hash BYTEA NOT NULL, applied_ms BIGINT NOT NULL, PRIMARY KEY (set_name, version))"
        }
        Dialect::Sqlite => {
            "CREATE TABLE IF NOT EXISTS once_migrations (set_name TEXT NOT NULL, version INTEGER NOT NULL, name TEXT NOT NULL, \
             content_hash BLOB NOT NULL, applied_ms INTEGER NOT NULL, PRIMARY KEY (set_name, version)) STRICT"
        }
    }
}
