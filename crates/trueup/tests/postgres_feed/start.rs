//! How following begins.

use std::time::Duration;

use trueup::postgres::{FeedOptions, Postgres, PostgresOptions, Role};
use trueup_core::env::Clock;
use trueup_testbed as testbed;

use crate::support::{Node, PATIENCE, connect, eventually, install, row, server, server_with, session};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_behind_in_the_source_by_a_node_that_stops() {
    let server = server("CREATE TABLE t (id int PRIMARY KEY)");
    let mut node = Node::on(&server).await;
    assert_eq!(node.postgres.feed_state().role, Role::Single);
    assert_eq!(server.query("SELECT temporary FROM pg_replication_slots").unwrap(), "t");
    node.stop().await;
    let gone = || server.query("SELECT count(*) FROM pg_replication_slots").unwrap() == "0";
    assert!(eventually(gone).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_feed_the_failure_names_the_command() {
    let server = server("CREATE TABLE t (id int PRIMARY KEY)");
    let node = Node::start(&server.url()).await;
    node.soon("a problem", || node.problem().contains("trueup init --apply")).await;
    install(&connect(&server.url(), FeedOptions::default()).await).await;
    node.fresh().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_writer_that_holds_up_the_start_is_named_until_it_ends() {
    let server = server("CREATE TABLE t (id int PRIMARY KEY, v text)");
    install(&connect(&server.url(), FeedOptions::default()).await).await;
    let writer = session(&server).await;
    writer.batch_execute("SET application_name = 'nightly'; BEGIN; INSERT INTO t VALUES (1)").await.unwrap();
    let node = Node::start(&server.url()).await;
    node.soon("the writer to be named", || {
        let state = node.postgres.feed_state();
        state.waiting_for.is_some_and(|who| who.contains("nightly") && who.contains("process"))
    })
    .await;
    assert!(node.problem().contains("nightly"), "{}", node.problem());
    writer.batch_execute("COMMIT").await.unwrap();
    node.fresh().await;
    assert_eq!(node.postgres.feed_state().waiting_for, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_stopped_while_it_waits_to_begin_leaves_no_slot() {
    let server = server("CREATE TABLE t (id int PRIMARY KEY, v text)");
    install(&connect(&server.url(), FeedOptions::default()).await).await;
    let writer = session(&server).await;
    writer.batch_execute("BEGIN; INSERT INTO t VALUES (1)").await.unwrap();
    let mut node = Node::start(&server.url()).await;
    node.soon("the wait", || node.postgres.feed_state().waiting_for.is_some()).await;
    node.stop().await;
    let gone = || server.query("SELECT count(*) FROM pg_replication_slots").unwrap() == "0";
    assert!(eventually(gone).await, "not within {PATIENCE:?}");
}

/// The incident: two writers hang, flushed and invisible, below the start of the feed, which never tells their commits. A
/// node that kept what it loads then would serve the old rows for ever. See `docs/rfc/0001-start-up-barrier.md`.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_below_the_start_that_is_still_invisible_keeps_everything_from_being_stored() {
    let server =
        server("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'old'), (2, 'old')");
    install(&connect(&server.url(), FeedOptions::default()).await).await;
    let (first, second) = (session(&server).await, session(&server).await);
    let take_id = "SET synchronous_commit = local; BEGIN; SELECT pg_current_xact_id()";
    first.batch_execute(take_id).await.unwrap();
    let xid = async |of: &tokio_postgres::Client| -> String {
        of.query_one("SELECT pg_current_xact_id()::text", &[]).await.unwrap().get(0)
    };
    let node = Node::start(&server.url()).await;
    let waits_for = async |xid: String| {
        let named = || {
            node.postgres
                .feed_state()
                .waiting_for
                .is_some_and(|who| who.contains(&format!("transaction {xid} ")))
        };
        node.soon("the slot to wait", named).await;
    };
    waits_for(xid(&first).await).await;
    second.batch_execute(take_id).await.unwrap();
    let xid_of_second = xid(&second).await;
    first.batch_execute("COMMIT").await.unwrap();
    waits_for(xid_of_second).await;
    // Both commit below the start of the slot, and hang.
    server.set("synchronous_standby_names", "ghost").unwrap();
    let hang = |id: u32| {
        let mut psql = server.psql();
        psql.arg("-c").arg(format!("UPDATE t SET v = 'new' WHERE id = {id}"));
        psql.spawn().unwrap()
    };
    let mut hanging = [hang(1), hang(2)];
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    assert!(eventually(|| server.query(waiting).unwrap() == "2").await);
    second.batch_execute("COMMIT").await.unwrap();
    node.soon("an epoch", || node.feed.is_fresh()).await;
    let status = node.ledger.status();
    assert!(status.barrier.is_some() && status.floor.is_none(), "{status:?}");
    node.soon("the hanging writer to be named", || {
        node.postgres
            .feed_state()
            .waiting_for
            .is_some_and(|who| who.contains("waits for a synchronous standby"))
    })
    .await;
    assert!(node.ledger.status().floor.is_none(), "still");
    let release = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    server.query(release).unwrap();
    node.fresh().await;
    assert_eq!(node.ledger.last_change(&[row("t", "1")]).0, 0, "its commit was never told");
    hanging.iter_mut().for_each(|child| drop(child.wait()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_floor_waits_below_a_commit_that_is_told_and_not_yet_visible() {
    let server = server("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'old')");
    let node = Node::on(&server).await;
    server.set("synchronous_standby_names", "ghost").unwrap();
    let mut psql = server.psql();
    let mut hanging = psql.arg("-c").arg("UPDATE t SET v = 'new' WHERE id = 1").spawn().unwrap();
    node.soon("the commit to be told", || node.ledger.last_change(&[row("t", "1")]).0 > 0).await;
    let changed = node.ledger.last_change(&[row("t", "1")]);
    assert_eq!(server.query("SELECT v FROM t WHERE id = 1").unwrap(), "old");
    // The feed goes on, and answers stay fresh, while nothing is visible: heartbeats do not wait for the standby.
    let moment = node.ledger.status().moment;
    node.soon("a later moment", || node.ledger.status().moment > moment).await;
    assert!(node.ledger.status().floor < Some(changed), "{:?}", node.ledger.status());
    server
        .query("SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
        .unwrap();
    node.soon("the floor above it", || node.ledger.status().floor >= Some(changed)).await;
    drop(hanging.wait());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_and_not_flushed_is_brought_by_a_heartbeat() {
    // The server itself would flush each after ten seconds.
    let options = testbed::PostgresOptions::default().set("wal_writer_delay", "10s");
    let server = server_with(options, "CREATE TABLE t (id int PRIMARY KEY, v text)");
    let node = Node::on(&server).await;
    let clock = Clock::system();
    let began = clock.now();
    for id in 0..5 {
        server.query(&format!("SET synchronous_commit = off; INSERT INTO t VALUES ({id})")).unwrap();
        let written = clock.now();
        node.soon("a moment after the commit", || node.ledger.status().moment > written).await;
        assert!(
            node.ledger.last_change(&[row("t", &id.to_string())]).0 > 0,
            "and the change is here by then"
        );
    }
    let took = clock.now().since(began);
    assert!(took < Duration::from_secs(9), "{took:?}");
    assert_ne!(server.query("SELECT beat FROM trueup.feed").unwrap(), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_concerns_nobody_moves_the_feed_by_the_servers_own_signs_of_life() {
    let server = server("CREATE TABLE t (id int PRIMARY KEY, v text)");
    let node = Node::on(&server).await;
    server.query("CREATE TABLE unpublished (id int)").unwrap();
    let beats = || server.query("SELECT beat FROM trueup.feed").unwrap().parse::<u64>().unwrap();
    let before = beats();
    for _ in 0..20 {
        server.query("INSERT INTO unpublished VALUES (1)").unwrap();
        node.caught_up().await;
    }
    let sent = beats() - before;
    assert!(sent < 10, "{sent} heartbeats for 20 changes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_of_any_characters_opens_the_feed_and_is_never_shown() {
    let server = server(
        "CREATE TABLE t (id int PRIMARY KEY); CREATE ROLE odd LOGIN SUPERUSER PASSWORD 'it''s a \\ \"p@ss\" %'",
    );
    install(&connect(&server.url(), FeedOptions::default()).await).await;
    let hba = "host all odd 127.0.0.1/32 scram-sha-256\nhost all postgres 127.0.0.1/32 trust\n";
    std::fs::write(server.data().join("pg_hba.conf"), hba).unwrap();
    server.query("SELECT pg_reload_conf()").unwrap();
    let url = |password: &str| server.url_as(&format!("odd:{password}"));
    let right = url("it%27s%20a%20%5C%20%22p%40ss%22%20%25");
    let options = PostgresOptions::default();
    let ready = async || {
        Postgres::connect(&format!("{}?sslmode=disable", url("wrong")), options.clone()).await.is_err()
    };
    for _ in 0..200 {
        if ready().await {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let node = Node::start(&right).await;
    node.fresh().await;
    server.query("ALTER ROLE odd PASSWORD 'other'; SELECT count(pg_terminate_backend(pid)) FROM pg_stat_replication").unwrap();
    node.soon("the failure", || node.problem().contains("check user, password")).await;
    assert!(!node.problem().contains("p@ss"), "{}", node.problem());
}
