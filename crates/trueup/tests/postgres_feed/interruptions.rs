//! What becomes of the epoch when something breaks.

use std::{sync::atomic::Ordering, time::Duration};

use trueup::postgres::FeedOptions;
use trueup_testbed as testbed;

use crate::support::{Link, Node, any, connect, install, row, server};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'v')";
const END_FEED: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_replication";

#[tokio::test(flavor = "multi_thread")]
async fn a_walsender_that_is_killed_begins_a_new_epoch_and_another_connection() {
    let server = server(TABLE);
    let node = Node::on(&server).await;
    let (epoch, state) = (node.ledger.epoch(), node.postgres.feed_state());
    server.query(END_FEED).unwrap();
    server.query("UPDATE t SET v = 'unheard'").unwrap();
    node.soon("another epoch", || node.ledger.epoch().is_some() && node.ledger.epoch() != epoch).await;
    node.fresh().await;
    let later = node.postgres.feed_state();
    assert_ne!(later.connection, state.connection);
    assert!(later.connections > state.connections);
    assert!(node.stats.failures.load(Ordering::Relaxed) > 0);
    let by = async || drop(server.query("UPDATE t SET v = 'heard'").unwrap());
    assert_eq!(node.raised(&[("1", row("t", "1"))], by).await, ["1"]);
    assert!(node.stats.problem().is_none(), "{}", node.problem());
}

/// A server that has nothing to tell says nothing by itself as long as it hears from us.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_to_which_nobody_writes_is_followed_on_one_connection() {
    // So long that a connection without a word is given up.
    const QUIET: Duration = Duration::from_secs(9);
    let server = server(TABLE);
    let node = Node::on(&server).await;
    node.caught_up().await;
    let (epoch, connections) = (node.ledger.epoch(), node.postgres.feed_state().connections);
    tokio::time::sleep(QUIET).await;
    assert_eq!(node.problem(), "");
    assert_eq!((node.ledger.epoch(), node.postgres.feed_state().connections), (epoch, connections));
    node.fresh().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_is_dropped_stops_the_feed_and_one_made_again_begins_anew() {
    let server = server(TABLE);
    let node = Node::on(&server).await;
    let epoch = node.ledger.epoch();
    server.query("DROP PUBLICATION trueup").unwrap();
    server.query("UPDATE t SET v = 'unheard'").unwrap();
    node.soon("the failure", || node.problem().contains("publication")).await;
    assert!(node.problem().contains("trueup init --apply"), "{}", node.problem());
    install(&connect(&server.url(), FeedOptions::default()).await).await;
    node.soon("another epoch", || node.ledger.epoch().is_some() && node.ledger.epoch() != epoch).await;
    node.fresh().await;
}

/// Nothing in the log tells that a publication was without a table for a moment: the catalogue does.
#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_is_altered_and_altered_back_is_noticed() {
    let server = server(TABLE);
    let node = Node::on(&server).await;
    node.caught_up().await;
    let gaps = node.stats.gaps.load(Ordering::Relaxed);
    let alter = "ALTER PUBLICATION trueup DROP TABLE t; UPDATE t SET v = 'unheard'; ALTER PUBLICATION trueup ADD TABLE t";
    server.query(alter).unwrap();
    node.soon("a gap", || node.stats.gaps.load(Ordering::Relaxed) > gaps).await;
    node.fresh().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_asynchronous_commits_begins_anew() {
    let mut server = server(TABLE);
    let node = Node::on(&server).await;
    let epoch = node.ledger.epoch();
    server.query("SET synchronous_commit = off; UPDATE t SET v = 'lost'").unwrap();
    server.stop(testbed::Stop::Immediate).unwrap();
    node.soon("the failure", || node.stats.failures.load(Ordering::Relaxed) > 0).await;
    server.start_again().unwrap();
    node.soon("another epoch", || node.ledger.epoch().is_some() && node.ledger.epoch() != epoch).await;
    node.fresh().await;
    let by = async || drop(server.query("UPDATE t SET v = 'kept'").unwrap());
    assert_eq!(node.raised(&[("1", row("t", "1")), ("any", any("t"))], by).await, ["1", "any"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_standby_behind_the_same_address_is_another_epoch() {
    let mut primary = server(TABLE);
    install(&connect(&primary.url(), FeedOptions::default()).await).await;
    let standby = primary.standby("standby").unwrap();
    let link = Link::to(primary.port()).await;
    let node = Node::start(&link.url()).await;
    node.fresh().await;
    let epoch = node.ledger.epoch();
    primary.stop(testbed::Stop::Fast).unwrap();
    standby.promote().unwrap();
    link.lead_to(standby.port());
    node.soon("another epoch", || node.ledger.epoch().is_some() && node.ledger.epoch() != epoch).await;
    node.fresh().await;
    let by = async || drop(standby.query("UPDATE t SET v = 'here'").unwrap());
    assert_eq!(node.raised(&[("1", row("t", "1"))], by).await, ["1"]);
}
