//! The tables of this service, and those of `once`.

use once::migrate::{Migration, migrate_set};

use super::Database;
use crate::error::Failed;

const SCHEMA: &[Migration] = &[
    Migration {
        name: "tenants, people, sessions, accounts, ledger, payments",
        postgres: include_str!("../../migrations/postgres_1.sql"),
        sqlite: include_str!("../../migrations/sqlite_1.sql"),
    },
    Migration {
        name: "standing orders",
        postgres: include_str!("../../migrations/postgres_2.sql"),
        sqlite: include_str!("../../migrations/sqlite_2.sql"),
    },
];

/// Makes or updates all tables. Safe to repeat, from every instance.
///
/// # Errors
/// [`Failed`] where the database refuses, or was migrated by a newer version.
pub async fn migrate(database: &Database) -> Result<(), Failed> {
    once::migrate(database).await?;
    migrate_set(database, "payments", SCHEMA).await?;
    Ok(())
}
