//! Installing and removing.

use std::{collections::BTreeMap, time::Duration};

use trueup::postgres::{FeedOptions, FeedPlan, GroupSpec, InstallOptions, RemovePlan};

use crate::support::{Node, connect, row, server, session};

const OBJECTS: &str = "SELECT (SELECT count(*) FROM pg_publication) + (SELECT count(*) FROM pg_namespace WHERE nspname = \
    'trueup') + (SELECT count(*) FROM pg_replication_slots) + (SELECT count(*) FROM pg_class WHERE relreplident = 'f' \
    AND relname = 'item')";

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_applied_once_and_taken_out_without_a_trace() {
    let server = server(
        "CREATE TABLE item (id int PRIMARY KEY, category int); CREATE TABLE bare (v text); \
         CREATE UNLOGGED TABLE fast (id int PRIMARY KEY); CREATE VIEW v AS SELECT 1 AS one; CREATE SCHEMA other; \
         CREATE TABLE other.item (id int PRIMARY KEY)",
    );
    assert_eq!(server.query(OBJECTS).unwrap(), "0");
    let postgres = connect(&server.url(), FeedOptions::default()).await;
    let group = GroupSpec { name: "category".to_owned(), columns: vec!["category".to_owned()] };
    let groups = BTreeMap::from([("item".to_owned(), vec![group])]);
    let options = InstallOptions { groups, ..InstallOptions::default() };
    let plan = FeedPlan::new(&postgres, &options).await.unwrap();
    assert_eq!(plan.tables(), ["other.item", "public.item"]);
    let refused: Vec<_> = plan.refused().iter().map(|(table, _)| table.as_str()).collect();
    assert_eq!(refused, ["public.bare", "public.fast", "public.v"]);
    assert!(plan.refused()[0].1.contains("REPLICA IDENTITY FULL"), "{:?}", plan.refused());
    assert!(plan.warnings()[0].contains("`public.item`"), "{:?}", plan.warnings());
    assert!(plan.statements().iter().all(|statement| !statement.contains("FOR ALL TABLES")));
    plan.apply().await.unwrap();
    // UPDATE still works on what is not published.
    server.query("INSERT INTO bare VALUES ('v'); UPDATE bare SET v = 'w'").unwrap();
    let again = FeedPlan::new(&postgres, &options).await.unwrap();
    assert_eq!(again.statements(), [""; 0]);
    server.query("CREATE TABLE late (id int PRIMARY KEY)").unwrap();
    let more = FeedPlan::new(&postgres, &options).await.unwrap();
    assert_eq!(more.statements(), ["ALTER PUBLICATION \"trueup\" ADD TABLE \"public\".\"late\""]);
    more.apply().await.unwrap();

    let remove = RemovePlan::new(&postgres).await.unwrap();
    remove.apply().await.unwrap();
    assert_eq!(server.query(OBJECTS).unwrap(), "0");
    assert_eq!(RemovePlan::new(&postgres).await.unwrap().statements(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_cannot_be_followed_is_an_error_where_it_was_named() {
    let server = server("CREATE TABLE bare (v text)");
    let postgres = connect(&server.url(), FeedOptions::default()).await;
    let plan = async |table: &str| {
        let tables = Some(vec![table.to_owned()]);
        FeedPlan::new(&postgres, &InstallOptions { tables, ..InstallOptions::default() })
            .await
            .unwrap_err()
            .to_string()
    };
    assert!(plan("bare").await.contains("`ALTER TABLE \"public\".\"bare\" REPLICA IDENTITY FULL`"));
    assert!(plan("nowhere").await.contains("there is no such table"));
}

#[tokio::test(flavor = "multi_thread")]
async fn installing_does_not_queue_behind_a_lock_and_block_everyone() {
    let server = server("CREATE TABLE t (id int PRIMARY KEY)");
    let postgres = connect(&server.url(), FeedOptions::default()).await;
    let holder = session(&server).await;
    holder.batch_execute("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let options = InstallOptions { lock_wait: Duration::from_millis(100), ..InstallOptions::default() };
    let plan = FeedPlan::new(&postgres, &options).await.unwrap();
    let error = plan.apply().await.unwrap_err().to_string();
    assert!(error.contains("installing the feed"), "{error}");
    assert_eq!(server.query("SELECT count(*) FROM pg_publication").unwrap(), "0", "all or nothing");
    holder.batch_execute("ROLLBACK").await.unwrap();
    plan.apply().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_is_no_superuser_follows_with_exactly_the_grants_that_are_printed() {
    let server = server(
        "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE ROLE node LOGIN; CREATE ROLE nobody LOGIN",
    );
    let postgres = connect(&server.url(), FeedOptions::default()).await;
    let options = InstallOptions { role: Some("node".to_owned()), ..InstallOptions::default() };
    let plan = FeedPlan::new(&postgres, &options).await.unwrap();
    assert_eq!(
        plan.grants(),
        [
            "ALTER ROLE \"node\" REPLICATION",
            "GRANT USAGE ON SCHEMA \"trueup\" TO \"node\"",
            "GRANT SELECT, UPDATE ON trueup.feed TO \"node\"",
            "GRANT SELECT ON trueup.groups TO \"node\"",
            "GRANT SELECT ON \"public\".\"t\" TO \"node\"",
        ]
    );
    plan.apply().await.unwrap();
    assert_eq!(FeedPlan::new(&postgres, &options).await.unwrap().grants(), [""; 0]);
    let node = Node::start(&server.url_as("node")).await;
    node.fresh().await;
    let by = async || drop(server.query("INSERT INTO t VALUES (1)").unwrap());
    assert_eq!(node.raised(&[("1", row("t", "1"))], by).await, ["1"]);
    // Heartbeats need the right to write trueup.feed.
    server.query("SET synchronous_commit = off; UPDATE t SET v = 'x'").unwrap();
    node.caught_up().await;
    assert!(node.stats.problem().is_none(), "{}", node.problem());
    let secret = server.query("SET ROLE nobody; SELECT secret FROM trueup.feed").unwrap_err().to_string();
    assert!(secret.contains("permission denied"), "{secret}");
}
