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
