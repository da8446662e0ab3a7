//! What is wrong is named, with the fix, and the process goes on.

use std::{fs, path::Path, time::Duration};

use trueup::sqlite::{
    FeedPlan, InstallOptions, RowLoader, RowOptions, Sqlite, SqliteError, SqliteOptions, WriteError,
};

use crate::node::{Database, PATIENCE};

const ACCOUNTS: &str = "CREATE TABLE account(id INTEGER PRIMARY KEY, balance INTEGER);
    CREATE TABLE note(text TEXT); CREATE VIEW rich AS SELECT * FROM account WHERE balance > 100;
    INSERT INTO account VALUES (1, 10), (2, 20);";

fn refusal(path: &Path) -> String {
    let opened = Sqlite::open(path, SqliteOptions::default()).map(drop);
    let planned = FeedPlan::new(path, &InstallOptions::default()).map(drop);
    let listed = trueup::sqlite::discover_file(path).map(drop);
    let (opened, planned) = (opened.unwrap_err().to_string(), planned.unwrap_err().to_string());
    assert_eq!(opened, planned, "the server and the installer say the same");
    assert!(opened.contains(path.to_str().unwrap()), "{opened}");
    // Listing tables needs no feed, so a feed's version is nothing to it.
    assert!(listed.is_ok() || listed.unwrap_err().to_string() == opened);
    opened
}

#[test]
fn a_file_that_is_no_database_or_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    fs::write(&text, "dear diary, ".repeat(1000)).unwrap();
    assert!(refusal(&text).contains("not a SQLite database"));
    assert!(refusal(folder.path()).contains("not a SQLite database"));
    let missing = folder.path().join("missing.db");
    assert!(refusal(&missing).contains("there is no such file; check the path"));
    assert!(!missing.exists(), "a source is never created");
}

#[test]
fn a_feed_of_a_newer_release_or_without_wal() {
    let database = Database::followed(ACCOUNTS);
    let program = database.program();
    program.pragma_update(None, "journal_mode", "delete").unwrap();
    let error = Sqlite::open(&database.path, SqliteOptions::default()).unwrap_err().to_string();
    assert!(error.contains("journal mode is `delete`, the feed needs WAL; run `trueup init"), "{error}");
    program.execute("UPDATE _trueup_meta SET version = 99", []).unwrap();
    assert!(
        refusal(&database.path).contains("the feed has version 99, this release knows 1; use a newer trueup")
    );
}

#[test]
fn a_table_that_has_no_key_is_not_followed_or_does_not_exist() {
    let database = Database::bare(ACCOUNTS);
    let only = InstallOptions { tables: Some(vec!["note".into()]), ..InstallOptions::default() };
    FeedPlan::new(&database.path, &only).unwrap().apply().unwrap();
    let sqlite = database.open();
    let options = RowOptions { leave_out: Vec::new(), limit: PATIENCE, value_bytes_max: 1 << 20 };
    for (table, reason) in [
        ("note", "it has no primary key, so a row has no name; add one"),
        ("account", "its changes are not followed; run `trueup init --apply`"),
        ("rich", "a view holds no rows of its own; declare a query"),
        ("accuont", "there is no such table; check the name"),
    ] {
        let error = RowLoader::new(&sqlite, table, options.clone()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("table `{table}`: ")) && error.contains(reason), "{error}");
    }
    let unknown = InstallOptions { tables: Some(vec!["accuont".into()]), ..InstallOptions::default() };
    let error = FeedPlan::new(&database.path, &unknown).unwrap_err().to_string();
    assert!(error.contains("`accuont`: there is no such table"), "{error}");
}

#[test]
fn triggers_that_no_longer_tell_everything_are_noticed_and_renewed() {
    let database = Database::followed(ACCOUNTS);
    let program = database.program();
    let outdated = || database.open().followed_tables().unwrap().into_iter().find_map(|table| table.outdated);
    assert_eq!(outdated(), None);
    program.execute_batch("CREATE UNIQUE INDEX by_balance ON account(balance)").unwrap();
    assert!(outdated().unwrap().contains("its key or a unique index was changed"));
    let plan = FeedPlan::new(&database.path, &InstallOptions::default()).unwrap();
    plan.apply().unwrap();
    assert_eq!(outdated(), None);
    program.execute_batch("DROP VIEW rich; ALTER TABLE account RENAME TO konto").unwrap();
    assert!(outdated().unwrap().contains("it was dropped or renamed"));
    FeedPlan::new(&database.path, &InstallOptions::default()).unwrap().apply().unwrap();
    assert_eq!(outdated(), None);
    let names: Vec<String> =
        database.open().followed_tables().unwrap().into_iter().map(|table| table.name).collect();
    assert_eq!(names, ["note", "konto"]);
    assert!(FeedPlan::new(&database.path, &InstallOptions::default()).unwrap().statements().is_empty());
}

#[tokio::test]
async fn a_locked_database_is_read_on_and_writers_are_told() {
    let database = Database::followed(ACCOUNTS);
    let bare = Database::bare(ACCOUNTS);
    let options = SqliteOptions { write_lock_wait: Duration::from_millis(40), ..SqliteOptions::default() };
    let node = crate::node::Node::start(Sqlite::open(&database.path, options).unwrap()).await;
    let (program, bare_program) = (database.program(), bare.program());
    for program in [&program, &bare_program] {
        program.execute_batch("BEGIN IMMEDIATE; UPDATE account SET balance = 0").unwrap();
    }
    let write = || node.sqlite.write(async |tx| tx.execute("DELETE FROM account", []));
    let error = write().await.unwrap_err();
    assert!(matches!(&error, WriteError::Source(SqliteError::Locked { waited_ms: 40, .. })), "{error}");
    assert!(error.to_string().contains("find the program that holds a write transaction open"), "{error}");
    let sum = |conn: &rusqlite::Connection| {
        conn.query_row("SELECT sum(balance) FROM account", [], |row| row.get::<_, i64>(0))
    };
    assert_eq!(node.sqlite.load(PATIENCE, sum).unwrap().0, 30, "readers see the state before");
    node.catch_up().await;

    let install = InstallOptions { lock_wait: Duration::from_millis(40), ..InstallOptions::default() };
    let error = FeedPlan::new(&bare.path, &install).and_then(|plan| plan.apply()).unwrap_err().to_string();
    assert!(error.contains("stayed locked for 40 ms while installing the feed"), "{error}");

    program.execute_batch("COMMIT").unwrap();
    assert_eq!(write().await.unwrap().0, 2);
    node.stop().await;
}

#[tokio::test]
async fn a_file_that_vanishes_makes_answers_unproven_until_it_is_back() {
    let database = Database::followed(ACCOUNTS);
    let node = database.node().await;
    let (epoch, away) = (node.epoch(), database.path.with_extension("away"));
    fs::rename(&database.path, &away).unwrap();
    node.in_trouble().await;
    assert!(node.problem().unwrap().contains("there is no such file"));
    fs::rename(&away, &database.path).unwrap();
    node.leaves(epoch).await;
    assert_eq!(node.problem(), None);
    node.stop().await;
}

#[tokio::test]
async fn a_feed_that_is_taken_out_in_use_is_missed_and_found_again() {
    let database = Database::followed(ACCOUNTS);
    let node = database.node().await;
    let epoch = node.epoch();
    trueup::sqlite::RemovePlan::new(&database.path).unwrap().apply().unwrap();
    node.in_trouble().await;
    assert!(node.problem().unwrap().contains("no feed is installed"), "{:?}", node.problem());
    let error = node.sqlite.load(PATIENCE, |_| Ok(())).unwrap_err().to_string();
    assert!(error.contains("no feed is installed"), "{error}");
    FeedPlan::new(&database.path, &InstallOptions::default()).unwrap().apply().unwrap();
    node.leaves(epoch).await;
    node.stop().await;
}

#[test]
fn a_write_that_fails_or_is_dropped_leaves_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let database = Database::followed(ACCOUNTS);
    let sqlite = database.open();
    let failed = runtime.block_on(sqlite.write(async |tx| {
        tx.execute("DELETE FROM account", []).unwrap();
        Err::<(), _>("no")
    }));
    assert!(matches!(failed, Err(WriteError::Work("no"))));
    runtime.block_on(async {
        let stuck = sqlite.write(async |tx| {
            tx.execute("DELETE FROM account", []).unwrap();
            std::future::pending::<Result<(), ()>>().await
        });
        let _ = tokio::time::timeout(Duration::from_millis(20), stuck).await;
    });
    let count = sqlite.load(PATIENCE, |conn| {
        conn.query_row("SELECT count(*) FROM account", [], |row| row.get::<_, i64>(0))
    });
    assert_eq!(count.unwrap().0, 2);
    assert_eq!(
        runtime.block_on(sqlite.write(async |tx| tx.execute("DELETE FROM account", []))).unwrap().0,
        2
    );
}
