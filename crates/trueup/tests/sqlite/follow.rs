//! A node follows what other connections and processes write.

use std::time::Duration;

use trueup::sqlite::{RowLoader, RowOptions, SqliteOptions};
use trueup_core::{
    proof::{Position, Tag, Unproven},
    source::{Loader as _, Source as _},
};

use crate::node::{Database, row};

const ACCOUNTS: &str = "CREATE TABLE account(id INTEGER PRIMARY KEY, owner TEXT, balance REAL);
    INSERT INTO account VALUES (1, 'Ann', 10.5), (2, 'Bob', 20);";

fn rows() -> RowOptions {
    RowOptions { leave_out: Vec::new(), limit: Duration::from_secs(5), value_bytes_max: 1 << 20 }
}

#[tokio::test]
async fn a_write_by_another_program_reaches_the_row_and_the_table_and_nothing_else() {
    let database = Database::followed(ACCOUNTS);
    let node = database.node().await;
    let [first, second, any, wide] =
        [row("account", &["1"]), row("account", &["2"]), Tag::any("account"), Tag::wide("account")]
            .map(|tag| node.entry(tag));
    database.program().execute("UPDATE account SET balance = 11 WHERE id = 1", []).unwrap();
    node.catch_up().await;
    assert_eq!(node.check(&first), Err(Unproven::Changed));
    assert_eq!(node.check(&any), Err(Unproven::Changed));
    assert_eq!(node.check(&second), Ok(()));
    assert_eq!(node.check(&wide), Ok(()));
    node.stop().await;
}

#[tokio::test]
async fn a_row_is_loaded_as_json_with_the_tags_that_its_changes_raise() {
    let database = Database::followed(ACCOUNTS);
    let node = database.node().await;
    let loader = RowLoader::new(&node.sqlite, "ACCOUNT", rows()).unwrap();
    let key = loader.key_form().parse("01").unwrap();
    let loaded = loader.load(&key).await.unwrap();
    assert_eq!(&**loaded.value.as_ref().unwrap(), br#"{"id":1,"owner":"Ann","balance":10.5}"#);
    assert_eq!(loaded.tags.as_slice(), [row("account", &["1"]), Tag::wide("account")]);
    assert_eq!(loaded.seen.epoch, node.epoch());
    let absent = loader.load(&loader.key_form().parse("3").unwrap()).await.unwrap();
    assert!(absent.value.is_none());
    assert_eq!(absent.tags[0], row("account", &["3"]));
    node.stop().await;
}

#[tokio::test]
async fn a_token_of_a_write_is_reached_and_an_invalidation_travels_by_the_feed() {
    let database = Database::followed(ACCOUNTS);
    let node = database.node().await;
    let entry = node.entry(row("account", &["1"]));
    let (changed, token) = node
        .sqlite
        .write(async |tx| tx.execute("UPDATE account SET balance = 0 WHERE id = ?1", [1]))
        .await
        .unwrap();
    assert_eq!(changed, 1);
    assert_eq!(token.epoch, node.epoch());
    crate::node::within(node.feed.until_applied(token.position)).await;
    assert_eq!(node.check(&entry), Err(Unproven::Changed));

    let promotion = node.entry(Tag::named("promotion:spring"));
    let token = node.sqlite.invalidate(&[Tag::named("promotion:spring")]).await.unwrap();
    crate::node::within(node.feed.until_applied(token.position)).await;
    assert_eq!(node.check(&promotion), Err(Unproven::Changed));
    node.stop().await;
}

#[tokio::test]
async fn processes_that_see_one_state_share_an_epoch_and_a_lone_one_begins_its_own() {
    let database = Database::followed(ACCOUNTS);
    let first = database.node().await;
    let second = database.node().await;
    assert_eq!(first.epoch(), second.epoch());
    let shared = first.epoch();
    first.stop().await;
    let third = database.node().await;
    assert_eq!(third.epoch(), shared, "the second one vouched");
    second.stop().await;
    third.stop().await;
    let alone = database.node().await;
    assert_ne!(alone.epoch(), shared, "nobody is left who could know that this is not an older copy");
    assert!(alone.ledger.applied() > Position::ZERO);
    alone.stop().await;
}

#[tokio::test]
async fn a_feed_is_never_installed_silently() {
    let database = Database::bare(ACCOUNTS);
    let error = trueup::sqlite::Sqlite::open(&database.path, SqliteOptions::default()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("trueup init") && text.contains("--install-feed"), "{text}");
}

#[tokio::test]
async fn tables_and_columns_may_be_called_anything() {
    let names = ["old", "new", "select", "Größe \"x\" [y] 'z'", "_trueup", "t;--"];
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let create = |name: &&str| {
        let (table, column) = (quoted(name), quoted(&format!("{name}!")));
        format!(
            "CREATE TABLE {table}({column} INTEGER PRIMARY KEY, \"group\" TEXT UNIQUE NOT NULL DEFAULT 'it''s');
             INSERT INTO {table} VALUES (1, 'it''s'), (2, 'b');"
        )
    };
    let database = Database::followed(&names.iter().map(create).collect::<String>());
    let node = database.node().await;
    for name in names {
        let loader = RowLoader::new(&node.sqlite, name, rows()).unwrap();
        let loaded = loader.load(&loader.key_form().parse("2").unwrap()).await.unwrap();
        assert_eq!(loaded.tags[0], row(name, &["2"]));
        assert!(loaded.value.unwrap().ends_with(br#""group":"b"}"#));
        let [replaced, other] = [node.entry(row(name, &["1"])), node.entry(loaded.tags[0])];
        let sql = format!("INSERT OR REPLACE INTO {} VALUES (3, NULL)", quoted(name));
        database.program().execute(&sql, []).unwrap();
        node.catch_up().await;
        assert_eq!(node.check(&replaced), Err(Unproven::Changed), "{name}");
        assert_eq!(node.check(&other), Ok(()), "{name}");
    }
    node.stop().await;
}

#[tokio::test]
async fn a_bulk_change_is_told_table_by_table() {
    let database = Database::followed(ACCOUNTS);
    let node = database.node().await;
    let [row, any, wide] =
        [row("account", &["1"]), Tag::any("account"), Tag::wide("account")].map(|tag| node.entry(tag));
    let many = "WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 30000)
        INSERT INTO account(id) SELECT i FROM n";
    database.program().execute(many, []).unwrap();
    node.catch_up().await;
    // Whoever depends on one row carries the table's `wide` tag as well.
    assert_eq!(node.check(&wide), Err(Unproven::Changed));
    assert_eq!(node.check(&any), Err(Unproven::Changed));
    assert_eq!(node.check(&row), Ok(()));
    node.stop().await;
}

/// Not a test of its own: the other program of the test below.
#[test]
#[ignore = "run by another test, as a process of its own"]
fn another_process() {
    let path = std::env::var_os("TRUEUP_TEST_DATABASE").unwrap();
    let program = rusqlite::Connection::open(path).unwrap();
    program.execute("UPDATE account SET balance = 99 WHERE id = 2", []).unwrap();
}

#[tokio::test]
async fn a_write_by_another_process_is_seen() {
    let database = Database::followed(ACCOUNTS);
    let node = database.node().await;
    let entry = node.entry(row("account", &["2"]));
    let process = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "follow::another_process", "--ignored"])
        .env("TRUEUP_TEST_DATABASE", &database.path)
        .output()
        .unwrap();
    assert!(process.status.success(), "{process:?}");
    node.catch_up().await;
    assert_eq!(node.check(&entry), Err(Unproven::Changed));
    node.stop().await;
}

#[tokio::test]
async fn a_transaction_reads_what_a_decision_may_rest_on() {
    use trueup_core::write::LockingRead as _;
    let database = Database::followed(ACCOUNTS);
    let sqlite = database.open();
    let loader = RowLoader::new(&sqlite, "account", rows()).unwrap();
    let key = loader.key_form().parse("1").unwrap();
    let written = sqlite.write(async |tx| {
        tx.execute("UPDATE account SET balance = 3 WHERE id = 1", []).unwrap();
        tx.reads(&loader).read_locked(&key).await
    });
    let (row, token) = written.await.unwrap();
    assert_eq!(&*row.unwrap(), br#"{"id":1,"owner":"Ann","balance":3.0}"#);
    assert_eq!(token, sqlite.token().await.unwrap());
}
