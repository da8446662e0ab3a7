//! Schema changes run once, whoever starts first.

use std::sync::Arc;

use once::{
    OnceError,
    migrate::{Migration, SCHEMA, migrate_set},
};

use crate::bed::{Bed, both, number};

both! {
    instances_that_start_together_migrate_once
    a_migration_that_fails_leaves_nothing
    a_migration_that_was_changed_is_refused
    a_database_of_a_newer_program_is_refused
}

const fn same(name: &'static str, sql: &'static str) -> Migration {
    Migration { name, postgres: sql, sqlite: sql }
}

const ONE: Migration = same("one", "CREATE TABLE one (a INTEGER); CREATE TABLE one_more (a INTEGER)");
const TWO: Migration = same("two", "CREATE TABLE two (a INTEGER)");
const BROKEN: Migration = same("broken", "CREATE TABLE three (a INTEGER); CREATE TABLE one (a INTEGER)");

async fn instances_that_start_together_migrate_once<B: Bed>(bed: Arc<B>) {
    let instances = (0..4).map(|_| {
        let store = bed.store();
        tokio::spawn(async move { migrate_set(&store, "service", &[ONE, TWO]).await.unwrap() })
    });
    let mut ran = 0;
    for instance in instances.collect::<Vec<_>>() {
        ran += instance.await.unwrap();
    }
    assert_eq!(ran, 2);
    assert_eq!(once::migrate(&bed.store()).await.unwrap(), 0);
    assert_eq!(
        number(&bed.store(), "SELECT count(*) FROM once_migrations WHERE set_name = 'once'", &[]).await,
        SCHEMA.len() as i64
    );
    assert_eq!(number(&bed.store(), "SELECT count(*) FROM two", &[]).await, 0);
}

async fn a_migration_that_fails_leaves_nothing<B: Bed>(bed: Arc<B>) {
    let store = bed.store();
    assert!(matches!(migrate_set(&store, "service", &[ONE, BROKEN]).await, Err(OnceError::Store(_))));
    assert_eq!(migrate_set(&store, "service", &[ONE]).await.unwrap(), 1);
    assert_eq!(migrate_set(&store, "service", &[ONE, TWO]).await.unwrap(), 1);
}

async fn a_migration_that_was_changed_is_refused<B: Bed>(bed: Arc<B>) {
    let store = bed.store();
    migrate_set(&store, "service", &[ONE]).await.unwrap();
    let changed = same("one", "CREATE TABLE one (a INTEGER, b INTEGER)");
    let refused = migrate_set(&store, "service", &[changed, TWO]).await.unwrap_err();
    assert!(refused.to_string().contains("another text"), "{refused}");
    assert_eq!(migrate_set(&store, "service", &[ONE]).await.unwrap(), 0);
}

async fn a_database_of_a_newer_program_is_refused<B: Bed>(bed: Arc<B>) {
    let store = bed.store();
    migrate_set(&store, "service", &[ONE, TWO]).await.unwrap();
    let refused = migrate_set(&store, "service", &[ONE]).await.unwrap_err();
    assert!(refused.to_string().contains("newer"), "{refused}");
}
