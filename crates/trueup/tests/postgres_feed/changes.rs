//! Every kind of change raises what depends on it.

use trueup_core::{proof::Tag, source::Source as _};
use trueup_testbed as testbed;

use crate::support::{Node, any, row, server, server_with, session, wide};

#[tokio::test(flavor = "multi_thread")]
async fn rows_keys_and_tables_are_raised_by_what_changes_them() {
    let server = server(
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'v' FROM generate_series(1, 9) i; \
         CREATE TABLE child (id int PRIMARY KEY, t int REFERENCES t ON DELETE CASCADE); \
         INSERT INTO child VALUES (1, 1); \
         CREATE TABLE large (id text PRIMARY KEY, v text); ALTER TABLE large ALTER id SET STORAGE external; \
         INSERT INTO large VALUES (repeat('k', 2500), 'v')",
    );
    let node = Node::on(&server).await;
    let tags = [
        ("1", row("t", "1")),
        ("2", row("t", "2")),
        ("10", row("t", "10")),
        ("any", any("t")),
        ("wide", wide("t")),
    ];
    let by = async |sql: &str| node.raised(&tags, async || drop(server.query(sql).unwrap())).await;
    assert_eq!(by("UPDATE t SET v = 'w' WHERE id = 1").await, ["1", "any"]);
    assert_eq!(
        by("UPDATE t SET id = 10 WHERE id = 2").await,
        ["2", "10", "any"],
        "the old key and the new one"
    );
    assert_eq!(by("DELETE FROM t WHERE id = 10").await, ["10", "any"]);
    assert_eq!(by("INSERT INTO t VALUES (2, 'again')").await, ["2", "any"]);
    assert!(by("UPDATE child SET t = 2").await.is_empty());
    assert_eq!(by("BEGIN; UPDATE t SET v = 'x'; ROLLBACK").await, [""; 0]);
    assert_eq!(by("TRUNCATE t CASCADE").await, ["any", "wide"]);

    let child = [("1", row("child", "1")), ("any", any("child")), ("wide", wide("child"))];
    server.query("INSERT INTO t VALUES (1, 'v'); INSERT INTO child VALUES (1, 1)").unwrap();
    let by = async |sql: &str| node.raised(&child, async || drop(server.query(sql).unwrap())).await;
    assert_eq!(by("DELETE FROM t WHERE id = 1").await, ["1", "any"], "by the foreign key's CASCADE");
    assert_eq!(by("TRUNCATE t CASCADE").await, ["any", "wide"], "by TRUNCATE's CASCADE");

    let key = "k".repeat(2500);
    let large = [("row", row("large", &key)), ("any", any("large")), ("wide", wide("large"))];
    let by = async |sql: &str| node.raised(&large, async || drop(server.query(sql).unwrap())).await;
    assert_eq!(
        by("UPDATE large SET v = 'w'").await,
        ["row", "any"],
        "a key stored apart that was not changed"
    );
    assert_eq!(by("UPDATE large SET id = 'short'").await, ["row", "any"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partitions_rows_are_raised_for_the_table_above_it_too() {
    let server = server(
        "CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); \
         CREATE TABLE p_low PARTITION OF p FOR VALUES FROM (0) TO (100); \
         CREATE TABLE p_high PARTITION OF p FOR VALUES FROM (100) TO (200)",
    );
    let node = Node::on(&server).await;
    let tags = [
        ("p 5", row("p", "5")),
        ("p 105", row("p", "105")),
        ("p any", any("p")),
        ("p wide", wide("p")),
        ("low 5", row("p_low", "5")),
        ("high any", any("p_high")),
    ];
    let by = async |sql: &str| node.raised(&tags, async || drop(server.query(sql).unwrap())).await;
    assert_eq!(by("INSERT INTO p VALUES (5, 'v')").await, ["p 5", "p any", "low 5"]);
    assert_eq!(
        by("UPDATE p SET id = 105").await,
        ["p 5", "p 105", "p any", "low 5", "high any"],
        "from one to another"
    );
    assert_eq!(by("TRUNCATE p_high").await, ["p any", "p wide", "high any"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rolled_back_raises_nothing_also_when_it_was_sent_before() {
    // With the smallest memory a transaction of a few hundred rows is sent before it ends.
    let options = testbed::PostgresOptions::default().set("logical_decoding_work_mem", "64kB");
    let server = server_with(options, "CREATE TABLE t (id int PRIMARY KEY, v text)");
    let node = Node::on(&server).await;
    let tags =
        [("1", row("t", "1")), ("5001", row("t", "5001")), ("9001", row("t", "9001")), ("wide", wide("t"))];
    let by = async |sql: &str| node.raised(&tags, async || drop(server.query(sql).unwrap())).await;
    let fill = |from: u32| {
        format!("INSERT INTO t SELECT i, repeat('v', 50) FROM generate_series({from}, {}) i", from + 999)
    };
    let savepoint =
        format!("BEGIN; {}; SAVEPOINT a; {}; ROLLBACK TO a; {}; COMMIT", fill(1), fill(5001), fill(9001));
    assert_eq!(by(&savepoint).await, ["1", "9001"]);
    let spill = "SELECT stream_txns > 0 FROM pg_stat_replication_slots";
    assert!(server.query(spill).unwrap().contains('t'), "it was sent in parts");
    server.query("TRUNCATE t").unwrap();
    assert_eq!(by(&format!("BEGIN; {}; ROLLBACK", fill(1))).await, [""; 0]);
    let small =
        "BEGIN; INSERT INTO t VALUES (1); SAVEPOINT a; INSERT INTO t VALUES (5001); ROLLBACK TO a; COMMIT";
    assert_eq!(by(small).await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_transaction_is_told_when_it_is_committed() {
    let server = server("CREATE TABLE t (id int PRIMARY KEY, v text)");
    let node = Node::on(&server).await;
    let tags = [("1", row("t", "1")), ("2", row("t", "2"))];
    let by = async |sql: &str| node.raised(&tags, async || drop(server.query(sql).unwrap())).await;
    assert_eq!(by("BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'one'").await, [""; 0]);
    assert_eq!(by("INSERT INTO t VALUES (2)").await, ["2"]);
    assert_eq!(by("COMMIT PREPARED 'one'").await, ["1"]);
    let prepared = "BEGIN; DELETE FROM t; PREPARE TRANSACTION 'two'";
    server.query(prepared).unwrap();
    assert_eq!(by("ROLLBACK PREPARED 'two'").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_very_large_transaction_is_told_by_its_table() {
    let server =
        server("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE other (id int PRIMARY KEY)");
    let node = Node::on(&server).await;
    let tags = [("1", row("t", "1")), ("any", any("t")), ("wide", wide("t")), ("other", any("other"))];
    let sql = "INSERT INTO t SELECT i, repeat('v', 20) FROM generate_series(1, 200000) i";
    let raised = node.raised(&tags, async || drop(server.query(sql).unwrap())).await;
    assert_eq!(raised, ["any", "wide"]);
    assert!(node.ledger.status().recent < 100, "not row by row");
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_are_raised_by_name_within_a_transaction_and_by_hand() {
    let server = server("CREATE TABLE t (id int PRIMARY KEY, v text)");
    let node = Node::on(&server).await;
    let (spring, autumn) = (Tag::named("spring"), Tag::named("autumn"));
    let tags = [("spring", spring), ("autumn", autumn)];
    let invalidate = async || {
        node.postgres.invalidate(&[spring]).await.unwrap();
    };
    assert_eq!(node.raised(&tags, invalidate).await, ["spring"]);
    let hex: String = autumn.0.to_le_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let by_hand = format!("SELECT pg_logical_emit_message(false, 'trueup.tags', '\\x{hex}'::bytea)");
    let by_hand = async || {
        server.query(&by_hand).unwrap();
        // A message outside of a transaction is not flushed by itself.
        server.query("INSERT INTO t VALUES (77)").unwrap();
    };
    assert_eq!(node.raised(&tags, by_hand).await, ["autumn"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_of_transactions_are_those_of_snapshots() {
    let server = server("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1)");
    let node = Node::on(&server).await;
    let writer = session(&server).await;
    writer.batch_execute("BEGIN; SAVEPOINT a; UPDATE t SET v = 'x'; RELEASE a").await.unwrap();
    writer.batch_execute("COMMIT").await.unwrap();
    node.caught_up().await;
    let changed = node.ledger.last_change(&[row("t", "1")]);
    // Visible to everyone, so the floor passes it; an id that is wrong in its upper half would hold it below for ever.
    node.soon("the floor above the change", || node.ledger.status().floor >= Some(changed)).await;
}
