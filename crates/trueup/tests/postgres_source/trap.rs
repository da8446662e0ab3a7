//! The trap: a commit that is delivered and acknowledged by nobody is invisible, and a load says so.

use super::support::{connect, load, rows, saw, server, text, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_load_made_while_a_commit_is_delivered_and_invisible_says_that_it_did_not_see_it() {
    let server = server(
        "CREATE TABLE account (id int PRIMARY KEY, balance int); INSERT INTO account VALUES (1, 100); \
         CREATE PUBLICATION trueup FOR TABLE account",
    );
    server.query("SELECT pg_create_logical_replication_slot('peek', 'test_decoding')").unwrap();
    let postgres = connect(&server).await;
    let loader = rows(&postgres, "account").await;
    server.set("synchronous_standby_names", "ghost").unwrap();
    let mut writer = server.psql();
    writer.args(["-c", "UPDATE account SET balance = 50"]);
    let mut writer = writer.spawn().unwrap();
    // Delivered: the change log holds its COMMIT.
    let delivered = "SELECT xid FROM pg_logical_slot_peek_changes('peek', NULL, NULL, 'include-xids', 'true') WHERE data LIKE 'COMMIT%'";
    let xid: u64 = until("the delivery of the commit", || server.query(delivered).unwrap().parse().ok());
    let end: u64 =
        server.query("SELECT pg_current_wal_flush_lsn() - '0/0'::pg_lsn").unwrap().parse().unwrap();
    let hidden = load(&loader, "1").await.unwrap();
    assert!(hidden.seen.upper.0 >= end, "the load's position is after the commit");
    assert_eq!(text(&hidden), Some(r#"{"id": 1, "balance": 100}"#));
    assert!(!saw(&hidden.seen.snapshot, xid), "and its snapshot says that it did not see it");
    server.set("synchronous_standby_names", "").unwrap();
    assert!(writer.wait().unwrap().success());
    let shown = load(&loader, "1").await.unwrap();
    assert_eq!(text(&shown), Some(r#"{"id": 1, "balance": 50}"#));
    assert!(saw(&shown.seen.snapshot, xid));
}
