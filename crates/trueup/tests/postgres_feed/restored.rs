//! A server that has lost the end of its log and writes another one in its place.

use std::net::TcpListener;

use trueup::postgres::FeedOptions;
use trueup_core::env::Clock;
use trueup_testbed as testbed;

use crate::{
    fleet::{Member, TABLE, epochs, heard_by_all},
    support::{Link, connect, install, row, server},
};

/// Nodes behind one link, all of them heard.
async fn behind(server: &testbed::Postgres, nodes: usize) -> (Link, Vec<Member>) {
    install(&connect(&server.url(), FeedOptions::default()).await).await;
    let link = Link::to(server.port()).await;
    let mut members = Vec::new();
    for _ in 0..nodes {
        let member = Member::start(&link.url(), None).await;
        member.node.fresh().await;
        members.push(member);
    }
    heard_by_all(server, &members, 1).await;
    (link, members)
}

/// A port at which nobody answers.
fn nowhere() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn log_ends(server: &testbed::Postgres) -> u64 {
    server.query("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint").unwrap().parse().unwrap()
}

/// The incident: an older copy is put back, and before any node has asked, writers have taken the log past where the lost one
/// ended. No heartbeat fell between the copy and the loss, so neither the counter nor any position has gone back.
async fn restored_and_overrun(nodes: usize) {
    let mut server = server(TABLE);
    let folder = tempfile::tempdir().unwrap();
    let (link, members) = behind(&server, nodes).await;
    let before = epochs(&members);
    let epoch = members[0].node.ledger.epoch();
    server.stop(testbed::Stop::Fast).unwrap();
    server.copy_data(&folder.path().join("copy")).unwrap();
    server.start_again().unwrap();
    heard_by_all(&server, &members, 2).await;
    assert_eq!(epochs(&members), before, "a restart alone costs nothing");
    let known = members.iter().map(|member| member.node.ledger.applied().0).max().unwrap();

    link.lead_to(nowhere());
    server.stop(testbed::Stop::Immediate).unwrap();
    server.restore(&folder.path().join("copy")).unwrap();
    server.start_again().unwrap();
    server.query("UPDATE trueup.feed SET beat = beat + 1000").unwrap();
    while log_ends(&server) < known + 100_000 {
        let write = "DO $$ BEGIN FOR i IN 1..100 LOOP UPDATE t SET v = 'other' WHERE id = 7; COMMIT; END LOOP; END $$";
        server.query(write).unwrap();
    }
    let met = Clock::system().now();
    link.lead_to(server.port());
    for member in &members {
        let left = || {
            let moment = member.node.ledger.status().moment;
            let is_left = member.node.ledger.epoch() != epoch;
            assert!(is_left || moment < met, "what it knows of the lost log counts as fresh");
            is_left && member.node.feed.is_fresh()
        };
        member.node.soon("another epoch", left).await;
    }
    heard_by_all(&server, &members, 3).await;
}

/// It alone knows all that was told, and is told by the log which commits are there no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_log_that_has_grown_past_the_lost_one_is_told_by_its_commits() {
    restored_and_overrun(1).await;
}

/// Whichever of them is the first to come back.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_log_that_has_grown_past_the_lost_one_proves_nothing_to_a_fleet() {
    restored_and_overrun(3).await;
}

/// Both copies have the same generation: what follows it must not be counted.
#[tokio::test(flavor = "multi_thread")]
async fn one_copy_that_is_restored_twice_is_two_other_epochs() {
    let mut server = server(TABLE);
    let folder = tempfile::tempdir().unwrap();
    let (_link, members) = behind(&server, 1).await;
    server.stop(testbed::Stop::Fast).unwrap();
    server.copy_data(&folder.path().join("copy")).unwrap();
    server.start_again().unwrap();
    let mut epochs = vec![members[0].node.ledger.epoch()];
    for id in [2, 3] {
        heard_by_all(&server, &members, id).await;
        server.stop(testbed::Stop::Immediate).unwrap();
        server.restore(&folder.path().join("copy")).unwrap();
        server.start_again().unwrap();
        let is_other = || {
            let epoch = members[0].node.ledger.epoch();
            epoch.is_some() && Some(&epoch) != epochs.last()
        };
        members[0].node.soon("another epoch", is_other).await;
        epochs.push(members[0].node.ledger.epoch());
    }
    assert!(!epochs[..2].contains(&epochs[2]), "{epochs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_goes_on_in_the_same_epoch_by_the_node_that_led() {
    let mut server = server(TABLE);
    let (_link, members) = behind(&server, 3).await;
    let before = epochs(&members);
    let led = members.iter().position(Member::holds).unwrap();
    for how in [testbed::Stop::Fast, testbed::Stop::Immediate] {
        server.stop(how).unwrap();
        server.start_again().unwrap();
        heard_by_all(&server, &members, 2).await;
        heard_by_all(&server, &members, 3).await;
    }
    assert_eq!(epochs(&members), before);
    assert!(members[led].holds(), "the others leave it the slot");
}

/// It may have known, and put into the remote tier, what the copy has lost; those that are left cannot tell.
#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_without_the_node_that_led_is_another_epoch() {
    let mut server = server(TABLE);
    let (_link, mut members) = behind(&server, 3).await;
    let epoch = members[0].node.ledger.epoch();
    let led = members.iter().position(Member::holds).unwrap();
    server.stop(testbed::Stop::Immediate).unwrap();
    members.swap_remove(led).kill().await;
    server.start_again().unwrap();
    for member in &members {
        let left = || member.node.ledger.epoch() != epoch && member.node.feed.is_fresh();
        member.node.soon("another epoch", left).await;
    }
    heard_by_all(&server, &members, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_saved_before_the_server_was_restarted_is_not_begun_with() {
    let mut server = server(TABLE);
    let folder = tempfile::tempdir().unwrap();
    install(&connect(&server.url(), FeedOptions::default()).await).await;
    let mut first = Member::start(&server.url(), Some(folder.path())).await;
    first.node.fresh().await;
    heard_by_all(&server, std::slice::from_ref(&first), 1).await;
    let (epoch, raised) = (first.node.ledger.epoch(), first.node.ledger.last_change(&[row("t", "1")]));
    first.node.soon("the floor", || first.node.ledger.status().floor >= Some(raised)).await;
    first.node.stop().await;
    drop(first);
    server.stop(testbed::Stop::Fast).unwrap();
    server.start_again().unwrap();
    let second = Member::start(&server.url(), Some(folder.path())).await;
    second.node.fresh().await;
    assert_ne!(
        second.node.ledger.epoch(),
        epoch,
        "another node may have gone on before, and its log be lost"
    );
    heard_by_all(&server, std::slice::from_ref(&second), 2).await;
}
