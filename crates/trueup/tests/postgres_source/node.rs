//! A whole node over a real server: feed, source, classes.

use std::{sync::Arc, time::Duration};

use trueup::{
    Plan,
    catalog::{
        Catalog, CatalogBuilder, Demand,
        postgres::{add_classes, discover_classes, install_options},
    },
    engine::{cache::CacheBuilder, env::spawn, receipt::ServedBy},
    postgres::{FeedPlan, Postgres, PostgresOptions, READERS_MAX_DEFAULT, discover},
};

use super::support::{server, until, until_answers};

const BANK: &str = "CREATE TABLE account (id int PRIMARY KEY, balance int); \
    INSERT INTO account SELECT g, 100 FROM generate_series(1, 20) g";

struct Node {
    postgres: Postgres,
    catalog: Catalog,
}

impl Node {
    async fn start(server: &trueup_testbed::Postgres, options: PostgresOptions) -> Self {
        let postgres = Postgres::connect(&server.url(), options).await.unwrap();
        let mut plan = Plan::default();
        FeedPlan::new(&postgres, &install_options(&plan)).await.unwrap().apply().await.unwrap();
        postgres.look_at_catalogue().await.unwrap();
        let tables = discover(&postgres).await.unwrap();
        drop(discover_classes(&mut plan, &tables, Some(&postgres.followed_tables())));
        let cache = CacheBuilder::new(Arc::new(postgres.clone())).buckets(1 << 12).start();
        tokio::time::timeout(Duration::from_secs(20), cache.ready()).await.unwrap();
        let builder = add_classes(CatalogBuilder::new(cache), &postgres, &plan).await.unwrap();
        Self { postgres, catalog: builder.build() }
    }

    async fn read(&self, id: i32, demand: Demand) -> (String, ServedBy, bool) {
        let class = self.catalog.class("account").unwrap();
        let key = class.form().parse(&id.to_string()).unwrap();
        let answer = class.read(&key, demand).await.unwrap();
        let text = answer.value().map(|raw| String::from_utf8(raw.0.to_vec()).unwrap());
        (text.unwrap_or_default(), answer.served_by(), answer.is_proven())
    }

    /// Reads until the answer comes from memory.
    async fn warm(&self, id: i32) {
        for _ in 0..1_000 {
            if self.read(id, Demand::default()).await.1 == ServedBy::L1 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never answered from memory");
    }
}

fn row(id: i32, balance: i32) -> String {
    format!(r#"{{"id": {id}, "balance": {balance}}}"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_changed_by_a_commit_that_hangs_is_never_served_old_once_it_is_visible_and_is_not_stuck() {
    let server = server(BANK);
    let node = Node::start(&server, PostgresOptions::default()).await;
    node.warm(1).await;
    let changes = || node.catalog.cache().feed_stats().changes.load(std::sync::atomic::Ordering::Relaxed);
    for round in 0..3 {
        let (before, after) = (row(1, 100 + round), row(1, 101 + round));
        let told = changes();
        server.set("synchronous_standby_names", "ghost").unwrap();
        let mut writer = server.psql();
        writer.args(["-c", "UPDATE account SET balance = balance + 1 WHERE id = 1"]);
        let mut writer = writer.spawn().unwrap();
        // Delivered, and visible to nobody.
        until("the delivery of the commit", || (changes() > told).then_some(()));
        for _ in 0..50 {
            let (text, served_by, proven) = node.read(1, Demand::default()).await;
            assert_eq!((text.as_str(), proven), (before.as_str(), true), "true: nobody was told of another");
            assert_eq!(served_by, ServedBy::Source, "what is about to be shown is not in memory");
        }
        server.set("synchronous_standby_names", "").unwrap();
        assert!(writer.wait().unwrap().success());
        for _ in 0..50 {
            assert_eq!(node.read(1, Demand::default()).await.0, after);
        }
        node.warm(1).await;
        assert_eq!(node.read(1, Demand::default()).await.0, after);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_with_a_token_reflects_the_write_and_memory_takes_over_again() {
    let server = server(BANK);
    let node = Node::start(&server, PostgresOptions::default()).await;
    for balance in 101..140 {
        let sql = format!("UPDATE account SET balance = {balance} WHERE id = 2");
        let (_, token) = node.postgres.write(async |tx| tx.execute(&sql, &[]).await).await.unwrap();
        let own = Demand { token: Some(token), ..Demand::default() };
        assert_eq!(node.read(2, own).await.0, row(2, balance));
    }
    node.warm(2).await;
    assert_eq!(node.read(2, Demand::default()).await.0, row(2, 139));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_table_is_served_as_it_is_now_and_other_writers_are_seen_all_the_time() {
    let server = server(BANK);
    let node = Node::start(&server, PostgresOptions::default()).await;
    node.warm(3).await;
    server.query("ALTER TABLE account ADD COLUMN name text DEFAULT 'x'").unwrap();
    let expected = r#"{"id": 3, "name": "x", "balance": 100}"#;
    for _ in 0..1_000 {
        if node.read(3, Demand::default()).await.0 == expected {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    node.warm(3).await;
    assert_eq!(node.read(3, Demand::default()).await.0, expected);
    server.query("UPDATE account SET name = 'y' WHERE id = 3").unwrap();
    // Older than the class's bound by then.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(node.read(3, Demand::default()).await.0, expected.replace("\"x\"", "\"y\""));
    server.query("DROP TABLE account CASCADE").unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let class = node.catalog.class("account").unwrap();
    let key = class.form().parse("3").unwrap();
    let error = class.read(&key, Demand::default()).await.unwrap_err().to_string();
    assert!(error.contains("account"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_standby_fills_from_it_and_never_shows_what_the_primary_hides() {
    let server = server(BANK);
    let standby = server.standby("near").unwrap();
    let options = PostgresOptions { replicas: vec![standby.url()], ..PostgresOptions::default() };
    let node = Node::start(&server, options).await;
    let asked =
        || standby.query("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'trueup'").unwrap();
    node.warm(4).await;
    assert_ne!(asked(), "0", "it was asked");
    server.set("synchronous_standby_names", "ghost").unwrap();
    let mut writer = server.psql();
    writer.args(["-c", "UPDATE account SET balance = 7 WHERE id = 5"]);
    let mut writer = writer.spawn().unwrap();
    until("the standby to show it", || {
        (standby.query("SELECT balance FROM account WHERE id = 5").unwrap() == "7").then_some(())
    });
    for _ in 0..5 {
        assert_eq!(node.read(5, Demand::default()).await.0, row(5, 100));
    }
    server.set("synchronous_standby_names", "").unwrap();
    assert!(writer.wait().unwrap().success());
    assert_eq!(node.read(5, Demand::default()).await.0, row(5, 7));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_missed_while_all_connections_are_taken_are_loaded_together() {
    const READERS: i32 = 200;
    let server = server(BANK);
    let node = Arc::new(Node::start(&server, PostgresOptions::default()).await);
    let mut holder = server.psql();
    holder.args(["-c", "BEGIN; LOCK TABLE account; SELECT pg_sleep(600)"]);
    let mut holder = holder.spawn().unwrap();
    until_answers(
        &server,
        "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND relation = 'account'::regclass",
        "1",
    );
    let (sender, mut answered) = tokio::sync::mpsc::channel(READERS as usize);
    for id in 1..=READERS {
        let (node, sender) = (Arc::clone(&node), sender.clone());
        let _ = spawn("reader", async move {
            let (text, served_by, proven) = node.read(id, Demand::default()).await;
            let expected = if id <= 20 { row(id, 100) } else { String::new() };
            assert_eq!((text, served_by, proven), (expected, ServedBy::Source, true));
            sender.send(()).await.unwrap();
        });
    }
    let class = node.catalog.class("account").unwrap();
    let counts = || class.cached().unwrap().stats().counts();
    let missed = || counts().misses.iter().map(|(_, count)| count).sum::<u64>();
    until("all readers to miss", || (missed() == READERS as u64).then_some(()));
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    until_answers(&server, waiting, &READERS_MAX_DEFAULT.to_string());
    server.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)' AND pid <> pg_backend_pid()").unwrap();
    holder.wait().unwrap();
    for _ in 0..READERS {
        answered.recv().await.unwrap();
    }
    let loads: u64 = counts().loads.iter().map(|(_, times)| times.count()).sum();
    // 64 of the other 184 by a statement, and perhaps one who came late.
    let alone = READERS_MAX_DEFAULT as u64;
    assert!((alone + 3..=alone + 4).contains(&loads), "{loads} loads");
    for id in 1..=READERS {
        node.warm(id).await;
    }
}
