//! In front of PostgreSQL.

use std::time::Duration;

use trueup::engine::{proof::Tag, receipt::ServedBy};
use trueup_testbed::{Postgres, PostgresOptions};

use super::node::{Node, finds_all, until, within};

const ITEMS: &str = "CREATE TABLE item (id int PRIMARY KEY, name text); \
    INSERT INTO item SELECT g * 2, 'x' FROM generate_series(1, 25000) g";
const FILTERED: &str = "[defaults]\nmax_staleness = \"20s\"\n[class.item]\ntable = \"item\"\nkey = \"id\"\nnegative_life = \"off\"\n\
    bloom = { entries = 60_000 }\n";

pub(crate) fn server(sql: &str) -> Postgres {
    let server = Postgres::start(&PostgresOptions::default()).unwrap();
    server.query(sql).unwrap();
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_do_not_exist_are_not_asked_for_and_those_inserted_meanwhile_are_found() {
    let server = server(ITEMS);
    let node = Node::postgres(&server, FILTERED).await;
    node.until_known("item").await;
    let loads = node.loads("item");
    for id in (1..2_000).step_by(2) {
        assert_eq!(node.read("item", &id.to_string()).await, (None, ServedBy::Filter));
    }
    assert_eq!(node.loads("item"), loads);
    // Told row by row, and as a whole.
    for (first, last) in [(1, 9), (11, 3_001), (100_001, 160_001)] {
        let sql = format!("INSERT INTO item SELECT g, 'new' FROM generate_series({first}, {last}, 2) g");
        server.query(&sql).unwrap();
        node.catch_up().await;
        for id in (first..=last).step_by(14) {
            assert!(node.read("item", &id.to_string()).await.0.is_some(), "{id} was inserted");
        }
    }
    // A key that moves, one that comes by COPY, one that is rolled back.
    server.query("UPDATE item SET id = 7001 WHERE id = 2").unwrap();
    server.query("BEGIN; INSERT INTO item VALUES (7003, 'no'); ROLLBACK").unwrap();
    node.catch_up().await;
    assert!(node.read("item", "7001").await.0.is_some());
    assert!(node.read("item", "7003").await.0.is_none());
    assert!(node.read("item", "2").await.0.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_known_absences_end_with_their_inserts() {
    let server = server("CREATE TABLE item (id int PRIMARY KEY, name text)");
    let node = Node::postgres(
        &server,
        "[class.item]\ntable = \"item\"\nkey = \"id\"\nnegative_life = \"1h\"\nmax_staleness = \"20s\"\n",
    )
    .await;
    // A node that has just started keeps nothing that it reads before it knows what was under way then.
    within(async {
        loop {
            let known = node.read_all("item", 0..10_000).await;
            assert!(known.iter().all(|(found, _)| !found));
            if known.iter().filter(|(_, by)| *by == ServedBy::L1).count() > 9_000 {
                break;
            }
            node.catch_up().await;
        }
    })
    .await;
    for first in (0..10_000).step_by(1_000) {
        let last = first + 999;
        server
            .query(&format!("INSERT INTO item SELECT g, 'new' FROM generate_series({first}, {last}) g"))
            .unwrap();
    }
    node.catch_up().await;
    let found = node.read_all("item", 0..10_000).await;
    assert_eq!(found.iter().filter(|(found, _)| *found).count(), 10_000, "each was inserted");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_every_shape_are_found() {
    let server = server(
        "CREATE TABLE pair (a int, b text, PRIMARY KEY (b, a)); \
         INSERT INTO pair VALUES (1, 'x'), (2, 'x'), (1, 'y\"z\\'), (-5, ''), (1, 'NULL'); \
         CREATE TABLE num (id numeric PRIMARY KEY); INSERT INTO num VALUES (1.50), (2), (1e30), ('NaN'); \
         CREATE TABLE flag (id bool, u uuid, PRIMARY KEY (id, u)); \
         INSERT INTO flag VALUES (true, 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'); \
         CREATE TABLE stamp (id timestamptz PRIMARY KEY); INSERT INTO stamp VALUES ('2024-05-01 12:00:00.5+02'); \
         CREATE TABLE code (id char(5) PRIMARY KEY); INSERT INTO code VALUES ('ab'); \
         CREATE TABLE bytes (id bytea PRIMARY KEY); INSERT INTO bytes VALUES ('\\x00ff'); \
         CREATE TABLE real_key (id float8 PRIMARY KEY); INSERT INTO real_key VALUES (0.1), (-0.0), ('Infinity')",
    );
    let class = |name: &str, key: &str| {
        format!(
            "[class.{name}]\ntable = \"{name}\"\nkey = {key}\nbloom = {{ entries = 100 }}\nmax_staleness = \"20s\"\n"
        )
    };
    let one = ["num", "stamp", "code", "bytes", "real_key"].map(|name| class(name, "[\"id\"]"));
    let classes = one.concat() + &class("pair", "[\"b\", \"a\"]") + &class("flag", "[\"id\", \"u\"]");
    let node = Node::postgres(&server, &classes).await;
    finds_all(&node, "pair", &["x,1", "x,2", ",-5", "NULL,1"], &["x,3", "X,1"]).await;
    finds_all(&node, "num", &["1.5", "1.500", "2", "NaN"], &["1.51", "-2"]).await;
    finds_all(
        &node,
        "flag",
        &["true,a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
        &["false,a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
    )
    .await;
    finds_all(&node, "stamp", &["2024-05-01T10:00:00.5Z"], &["2024-05-01T10:00:00.6Z"]).await;
    finds_all(&node, "code", &["ab", "ab   "], &["abc"]).await;
    finds_all(&node, "real_key", &["0.1", "0"], &["0.2"]).await;
}

/// The trap of this source: a commit that the feed has told, and that no reader sees for as long as it hangs.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_told_and_could_not_be_seen_is_not_said_to_be_absent() {
    let server = server(ITEMS);
    server.set("synchronous_standby_names", "ghost").unwrap();
    let mut writer = server.psql();
    writer.args(["-c", "INSERT INTO item VALUES (7, 'late')"]);
    let mut writer = writer.spawn().unwrap();
    // Its commit is in the log before the node begins to follow.
    let hangs = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    until("the commit to hang", || server.query(hangs).unwrap() == "1").await;
    server.set("synchronous_standby_names", "").unwrap();
    assert!(writer.wait().unwrap().success());
    let node = Node::postgres(&server, FILTERED).await;
    finds_all(&node, "item", &["7"], &["9"]).await;
    for id in [11, 13, 15] {
        server.set("synchronous_standby_names", "ghost").unwrap();
        let mut writer = server.psql();
        writer.args(["-c", &format!("INSERT INTO item VALUES ({id}, 'late')")]);
        let mut writer = writer.spawn().unwrap();
        until("the commit to hang", || server.query(hangs).unwrap() == "1").await;
        // The keys are read anew while the row is told of and cannot be seen.
        let wide: String =
            Tag::wide("public.item").0.to_le_bytes().iter().map(|b| format!("{b:02x}")).collect();
        let emit = format!("pg_logical_emit_message(true, 'trueup.tags', '\\x{wide}'::bytea)");
        server.query(&format!("SET synchronous_commit = local; SELECT {emit}")).unwrap();
        let class = node.catalog.class("item").unwrap();
        until("the filter to be given up", || !node.filter("item").answers).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        server.set("synchronous_standby_names", "").unwrap();
        assert!(writer.wait().unwrap().success());
        let token = node.catalog.cache().token().await.unwrap();
        let key = class.form().parse(&id.to_string()).unwrap();
        let demand = trueup::catalog::Demand { token: Some(token), ..Default::default() };
        assert!(class.read(&key, demand).await.unwrap().value().is_some(), "{id}");
        node.catch_up().await;
        assert!(node.read("item", &id.to_string()).await.0.is_some(), "{id}");
    }
    node.until_known("item").await;
    for id in [7, 11, 13, 15] {
        assert!(node.read("item", &id.to_string()).await.0.is_some(), "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_with_partitions_and_a_key_without_one_spelling_are_refused_a_filter() {
    let server = server(
        "CREATE TABLE part (id int PRIMARY KEY) PARTITION BY RANGE (id); \
         CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (100); \
         CREATE TABLE day (id date PRIMARY KEY)",
    );
    for (table, why) in [("part", "partitions"), ("day", "several ways")] {
        let classes = format!("[class.c]\ntable = \"{table}\"\nkey = \"id\"\nbloom = {{ entries = 10 }}\n");
        let plan = trueup::Plan::parse("test.toml", &classes, &[]).unwrap();
        let source = trueup::postgres::Postgres::connect(&server.url(), Default::default()).await.unwrap();
        let options = trueup::catalog::postgres::install_options(&plan);
        trueup::postgres::FeedPlan::new(&source, &options).await.unwrap().apply().await.unwrap();
        source.look_at_catalogue().await.unwrap();
        let cache = trueup::engine::cache::CacheBuilder::new(std::sync::Arc::new(source.clone())).start();
        let builder = trueup::catalog::CatalogBuilder::new(cache);
        let refused = trueup::catalog::postgres::add_classes(builder, &source, &plan).await;
        let text = refused.err().unwrap().to_string();
        assert!(text.contains("bloom") && text.contains(why), "{text}");
    }
}
