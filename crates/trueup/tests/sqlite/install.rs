//! Installing the feed is planned, asked for, complete, and can be taken out again.

use rusqlite::Connection;
use trueup::sqlite::{FeedPlan, InstallOptions, RemovePlan, Sqlite, SqliteOptions};

use crate::node::Database;

const SHOP: &str = "CREATE TABLE product(id INTEGER PRIMARY KEY, category INTEGER, name TEXT UNIQUE);
    CREATE TABLE note(text TEXT);
    CREATE VIEW cheap AS SELECT * FROM product;
    CREATE VIRTUAL TABLE words USING fts5(body);";

/// The schema, and everything that would differ after a change of it.
fn dump(conn: &Connection) -> Vec<String> {
    let mut statement = conn
        .prepare("SELECT type || ' ' || name || ': ' || coalesce(sql, '') FROM sqlite_master WHERE name <> 'sqlite_sequence' ORDER BY 1")
        .unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    let mut dump: Vec<String> = rows.map(Result::unwrap).collect();
    dump.push(conn.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap());
    dump
}

#[test]
fn a_plan_shows_every_statement_and_changes_nothing() {
    let database = Database::bare(SHOP);
    let before = dump(&database.program());
    let plan = FeedPlan::new(&database.path, &InstallOptions::default()).unwrap();
    assert_eq!(dump(&database.program()), before);
    assert_eq!(plan.tables(), ["note", "product"]);
    assert!(plan.statements().iter().any(|sql| sql == "PRAGMA journal_mode = wal"), "{plan:?}");
    let refused: Vec<&str> = plan.refused().iter().map(|(table, _)| table.as_str()).collect();
    assert!(refused.contains(&"cheap") && refused.contains(&"words"), "{refused:?}");
    assert!(
        plan.warnings().iter().any(|warning| warning.contains("`note`") && warning.contains("primary key"))
    );

    plan.apply().unwrap();
    assert!(Sqlite::open(&database.path, SqliteOptions::default()).is_ok());
    let again = FeedPlan::new(&database.path, &InstallOptions::default()).unwrap();
    assert_eq!(again.statements(), [""; 0], "nothing is missing");
}

#[test]
fn removing_leaves_the_database_as_it_was() {
    let database = Database::bare(SHOP);
    let before = dump(&database.program());
    FeedPlan::new(&database.path, &InstallOptions::default()).unwrap().apply().unwrap();
    let plan = RemovePlan::new(&database.path).unwrap();
    assert!(!plan.statements().is_empty());
    assert_eq!(plan.apply().unwrap(), None);
    assert_eq!(dump(&database.program()), before);
    assert!(RemovePlan::new(&database.path).unwrap().statements().is_empty());
}
