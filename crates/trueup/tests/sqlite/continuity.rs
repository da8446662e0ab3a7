//! A log that does not continue where a node left it is never mistaken for one that does.

use std::{fs, time::Duration};

use rusqlite::Connection;
use trueup::sqlite::{Sqlite, SqliteOptions};
use trueup_core::{proof::Unproven, source::Source as _};

use crate::node::{Database, Node, row};

const ACCOUNTS: &str = "CREATE TABLE account(id INTEGER PRIMARY KEY, balance INTEGER);
    INSERT INTO account VALUES (1, 10), (2, 20);";

fn set_balance(conn: &Connection, balance: i64) {
    conn.execute("UPDATE account SET balance = ?1 WHERE id = 1", [balance]).unwrap();
}

/// A copy of the database as it is now, made the way `sqlite3 .backup` makes one.
fn back_up(database: &Database, name: &str) -> std::path::PathBuf {
    let copy = database.folder.path().join(name);
    database.program().execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    Connection::open(&copy).unwrap().pragma_update(None, "journal_mode", "wal").unwrap();
    copy
}

#[tokio::test]
async fn an_older_copy_renamed_over_the_file_is_a_new_epoch() {
    let database = Database::followed(ACCOUNTS);
    let node = database.node().await;
    let copy = back_up(&database, "copy.db");
    set_balance(&database.program(), 11);
    node.catch_up().await;
    let (epoch, entry) = (node.epoch(), node.entry(row("account", &["2"])));

    fs::rename(copy, &database.path).unwrap();
    let after = node.leaves(epoch).await;
    assert_ne!(after, epoch);
    assert_eq!(node.check(&entry), Err(Unproven::OtherEpoch));
    let ((), seen) = node.sqlite.load(crate::node::PATIENCE, |_| Ok(())).unwrap();
    assert_eq!(seen.epoch, after, "loads read the file that stands there now");
    node.stop().await;
}

#[tokio::test]
async fn an_older_copy_restored_in_place_is_a_new_epoch_for_all_who_follow() {
    let database = Database::followed(ACCOUNTS);
    let (first, second) = (database.node().await, database.node().await);
    let copy = back_up(&database, "copy.db");
    set_balance(&database.program(), 11);
    first.catch_up().await;
    second.catch_up().await;
    let epoch = first.epoch();
    assert_eq!(second.epoch(), epoch);

    restore(&database, &copy);
    let after = first.leaves(epoch).await;
    second.leaves(epoch).await;
    assert_ne!(after, epoch);
    // Whoever noticed last asked the other one to vouch.
    crate::node::within(async {
        while first.ledger.epoch() != second.ledger.epoch() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    first.stop().await;
    second.stop().await;
}

/// Puts `copy` back through SQLite itself, as `sqlite3 .restore` does: one transaction that rewrites every page.
fn restore(database: &Database, copy: &std::path::Path) {
    let mut target = database.program();
    let source = Connection::open(copy).unwrap();
    let backup = rusqlite::backup::Backup::new(&source, &mut target).unwrap();
    backup.run_to_completion(1000, Duration::ZERO, None).unwrap();
}

#[tokio::test]
async fn ddl_is_a_new_epoch() {
    let database = Database::followed(ACCOUNTS);
    let node = database.node().await;
    let epoch = node.epoch();
    database.program().execute_batch("ALTER TABLE account ADD COLUMN note TEXT DEFAULT 'none'").unwrap();
    node.leaves(epoch).await;
    assert_eq!(node.sqlite.followed_tables().unwrap()[0].outdated, None, "a new column changes no key");
    node.stop().await;
}

#[tokio::test]
async fn a_log_that_lost_its_end_with_the_power_is_a_new_epoch() {
    let database = Database::followed(ACCOUNTS);
    let node = database.node().await;
    set_balance(&database.program(), 11);
    let (epoch, position) = (node.epoch(), node.catch_up().await);
    // What is on disk without the write-ahead log, whose pages had not been synced when the power failed.
    let left = database.folder.path().join("left.db");
    fs::copy(&database.path, &left).unwrap();
    node.stop().await;
    fs::rename(left, &database.path).unwrap();
    assert!(!database.folder.path().join("bank.db-wal").exists(), "the last one to close took it away");
    let again = database.node().await;
    assert!(again.ledger.applied() <= position, "the same positions are given out again");
    assert_ne!(again.epoch(), epoch);
    again.stop().await;
}

#[tokio::test]
async fn a_reader_that_was_left_behind_begins_anew() {
    let database = Database::followed(ACCOUNTS);
    let node = database.node().await;
    let (epoch, entry) = (node.epoch(), node.entry(row("account", &["2"])));
    let program = database.program();
    program.execute_batch("BEGIN").unwrap();
    set_balance(&program, 11);
    // What trimming does to a reader that it takes for dead.
    program
        .execute_batch(
            "DELETE FROM _trueup_reader; DELETE FROM _trueup_log WHERE seq < (SELECT max(seq) FROM _trueup_log); COMMIT",
        )
        .unwrap();
    node.leaves(epoch).await;
    assert_eq!(node.check(&entry), Err(Unproven::OtherEpoch));
    node.stop().await;
}

#[tokio::test]
async fn vacuum_moves_rows_but_loses_nothing() {
    let database = Database::followed(ACCOUNTS);
    let node = database.node().await;
    let before = node.epoch();
    database.program().execute_batch("VACUUM").unwrap();
    set_balance(&database.program(), 12);
    // The schema's version moves with VACUUM.
    node.leaves(before).await;
    node.catch_up().await;
    node.stop().await;
}

/// A node that looks so rarely that several things happen between two looks.
async fn slow_node(database: &Database) -> Node {
    let poll = Duration::from_millis(300);
    let options = SqliteOptions { poll_busy: poll, poll_idle: poll, ..SqliteOptions::default() };
    Node::start(Sqlite::open(&database.path, options).unwrap()).await
}

#[tokio::test]
async fn a_sequence_that_was_used_again_is_told_by_its_nonce() {
    let database = Database::followed(ACCOUNTS);
    let node = slow_node(&database).await;
    set_balance(&database.program(), 11);
    node.catch_up().await;
    let epoch = node.epoch();
    // Another history with the same numbers: the row that was applied last belongs to another change.
    let rewritten = "UPDATE _trueup_log SET nonce = random() WHERE seq = (SELECT max(seq) FROM _trueup_log)";
    database.program().execute(rewritten, []).unwrap();
    node.leaves(epoch).await;
    node.stop().await;
}

#[tokio::test]
async fn a_log_that_ends_before_what_a_load_has_seen_is_a_new_epoch() {
    let database = Database::followed(ACCOUNTS);
    let node = slow_node(&database).await;
    let epoch = node.epoch();
    set_balance(&database.program(), 11);
    let told = node.sqlite.token().await.unwrap();
    // Restored to the state that the node has applied: its own last row is in place, but a load has seen more.
    database
        .program()
        .execute("DELETE FROM _trueup_log WHERE seq = ?1", [told.position.0.cast_signed()])
        .unwrap();
    node.leaves(epoch).await;
    node.stop().await;
}
