//! Several nodes, one slot.

use std::{collections::BTreeMap, convert::Infallible, path::Path, sync::atomic::Ordering, time::Duration};

use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use trueup::postgres::{
    FeedOptions, FeedPlan, GroupSpec, InstallOptions, Role,
    fleet::{Fleet, FleetOptions, respond},
};
use trueup_core::{
    env::{Task, spawn},
    proof::{Position, Tag},
};
use trueup_testbed as testbed;

use crate::support::{Link, Node, connect, eventually, install, row, server, server_with, session};

pub(crate) const TABLE: &str =
    "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'v' FROM generate_series(1, 9) i";
const SLOT: &str = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'trueup' AND NOT temporary";

/// A node that others can follow.
pub(crate) struct Member {
    pub(crate) node: Node,
    serving: Task,
}

impl Member {
    pub(crate) async fn start(url: &str, state_dir: Option<&Path>) -> Self {
        Self::start_with(url, state_dir, FeedOptions::default()).await
    }

    async fn start_with(url: &str, state_dir: Option<&Path>, options: FeedOptions) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let save_every = options.fleet.map_or(Duration::from_millis(200), |fleet| fleet.save_every);
        let fleet = FleetOptions {
            advertise: Some(format!("http://{address}")),
            state_dir: state_dir.map(Path::to_owned),
            save_every,
            ..FleetOptions::default()
        };
        let node = Node::start_with(url, FeedOptions { fleet: Some(fleet), ..options }).await;
        let fleet = node.postgres.fleet().unwrap();
        let serving = spawn("serving followers", async move { serve(listener, fleet).await });
        Self { node, serving }
    }

    fn role(&self) -> Role {
        self.node.postgres.feed_state().role
    }

    pub(crate) fn holds(&self) -> bool {
        self.role() == Role::Holder
    }

    fn follows(&self) -> bool {
        matches!(self.role(), Role::Follower { .. })
    }

    pub(crate) async fn kill(&mut self) {
        self.serving.stop();
        self.node.kill().await;
    }
}

async fn serve(listener: TcpListener, fleet: Fleet) {
    // Ends its connections when it is stopped.
    let mut connections = Vec::new();
    while let Ok((socket, _)) = listener.accept().await {
        let fleet = fleet.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let fleet = fleet.clone();
            async move { Ok::<_, Infallible>(respond(&fleet, request.uri()).await) }
        });
        connections.push(Ended(spawn("a follower", async move {
            drop(http1::Builder::new().serve_connection(TokioIo::new(socket), service).await);
        })));
    }
}

struct Ended(Task);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.stop();
    }
}

pub(crate) async fn three(server: &testbed::Postgres) -> Vec<Member> {
    install(&connect(&server.url(), FeedOptions::default()).await).await;
    let mut members = Vec::new();
    for _ in 0..3 {
        let member = Member::start(&server.url(), None).await;
        member.node.fresh().await;
        members.push(member);
    }
    members
}

/// A change of the row raises it on all nodes.
pub(crate) async fn heard_by_all(server: &testbed::Postgres, members: &[Member], id: u32) {
    let tag = row("t", &id.to_string());
    let mut before = Vec::new();
    for member in members {
        member.node.caught_up().await;
        before.push(member.node.ledger.last_change(&[tag]));
    }
    server.query(&format!("UPDATE t SET v = v || 'x' WHERE id = {id}")).unwrap();
    for (member, before) in members.iter().zip(before) {
        member.node.soon("the change", || member.node.ledger.last_change(&[tag]) > before).await;
    }
    let ends: Vec<_> = members.iter().map(|member| member.node.ledger.last_change(&[tag])).collect();
    assert!(ends.windows(2).all(|pair| pair[0] == pair[1]), "the same on all: {ends:?}");
}

pub(crate) fn epochs(members: &[Member]) -> Vec<u64> {
    members.iter().map(|member| member.node.ledger.status().epoch).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_holds_the_slot_and_the_others_hear_the_same_from_it() {
    let server = server(TABLE);
    let members = three(&server).await;
    assert_eq!(members.iter().filter(|member| member.holds()).count(), 1);
    assert_eq!(members.iter().filter(|member| member.follows()).count(), 2);
    assert_eq!(server.query(SLOT).unwrap(), "1");
    assert_eq!(server.query("SELECT count(*) FROM pg_stat_replication").unwrap(), "1");
    heard_by_all(&server, &members, 1).await;
    let ids: Vec<_> = members.iter().map(|member| member.node.ledger.epoch()).collect();
    assert!(ids.iter().all(|id| id.is_some() && *id == ids[0]), "one epoch: {ids:?}");
    // Each node asks by itself, so each knows a moment of its own clock.
    for member in &members {
        let moment = member.node.ledger.status().moment;
        member.node.soon("a later moment", || member.node.ledger.status().moment > moment).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_holder_is_gone_a_follower_takes_over_and_nothing_is_forgotten_or_begun_anew() {
    let server = server(TABLE);
    let mut members = three(&server).await;
    heard_by_all(&server, &members, 1).await;
    let holder = members.iter().position(Member::holds).unwrap();
    let mut gone = members.swap_remove(holder);
    let before = epochs(&members);
    let connection = members[0].node.postgres.feed_state().connection;
    gone.kill().await;
    // Told by nobody yet.
    server.query("UPDATE t SET v = 'meanwhile' WHERE id = 5").unwrap();
    for member in &members {
        let tag = row("t", "5");
        member.node.soon("what happened meanwhile", || member.node.ledger.last_change(&[tag]).0 > 0).await;
    }
    assert!(eventually(|| members.iter().filter(|member| member.holds()).count() == 1).await);
    heard_by_all(&server, &members, 2).await;
    assert_eq!(epochs(&members), before, "entries stay proven");
    let now = members[0].node.postgres.feed_state().connection;
    assert_ne!(now, connection, "what was loaded in between is discarded");
    // One that comes back follows.
    let back = Member::start(&server.url(), None).await;
    back.node.fresh().await;
    assert!(back.follows());
    members.push(back);
    heard_by_all(&server, &members, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walsender_that_is_killed_costs_a_fleet_no_epoch() {
    let server = server(TABLE);
    let members = three(&server).await;
    heard_by_all(&server, &members, 1).await;
    let before = epochs(&members);
    server.query("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_replication").unwrap();
    server.query("UPDATE t SET v = 'meanwhile' WHERE id = 5").unwrap();
    for member in &members {
        let tag = row("t", "5");
        member.node.soon("what happened meanwhile", || member.node.ledger.last_change(&[tag]).0 > 0).await;
    }
    heard_by_all(&server, &members, 2).await;
    assert_eq!(epochs(&members), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_is_dropped_begins_a_new_generation_on_every_node() {
    let server = server(TABLE);
    let members = three(&server).await;
    heard_by_all(&server, &members, 1).await;
    let before = members[0].node.ledger.epoch();
    server
        .query(
            "DO $$ BEGIN PERFORM pg_terminate_backend(pid) FROM pg_stat_replication; \
             FOR i IN 1..1000 LOOP BEGIN PERFORM pg_drop_replication_slot('trueup'); EXIT; \
             EXCEPTION WHEN object_in_use THEN PERFORM pg_terminate_backend(active_pid) FROM pg_replication_slots \
             WHERE active_pid IS NOT NULL; PERFORM pg_sleep(0.002); END; END LOOP; END $$",
        )
        .unwrap();
    for member in &members {
        member
            .node
            .soon("another epoch", || {
                let epoch = member.node.ledger.epoch();
                epoch.is_some() && epoch != before
            })
            .await;
        member.node.fresh().await;
    }
    heard_by_all(&server, &members, 2).await;
    assert_eq!(server.query("SELECT generation > 1 FROM trueup.feed").unwrap(), "t");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_restarts_begins_with_what_it_saved() {
    let server = server(TABLE);
    let folder = tempfile::tempdir().unwrap();
    install(&connect(&server.url(), FeedOptions::default()).await).await;
    let mut first = Member::start(&server.url(), Some(folder.path())).await;
    first.node.fresh().await;
    heard_by_all(&server, std::slice::from_ref(&first), 1).await;
    let (epoch, raised) = (first.node.ledger.epoch(), first.node.ledger.last_change(&[row("t", "1")]));
    first.node.soon("the floor", || first.node.ledger.status().floor >= Some(raised)).await;
    first.node.stop().await;
    drop(first);
    server.query("UPDATE t SET v = 'meanwhile' WHERE id = 5").unwrap();
    let second = Member::start(&server.url(), Some(folder.path())).await;
    second.node.fresh().await;
    second.node.caught_up().await;
    assert_eq!(second.node.ledger.epoch(), epoch, "what is in the remote tier can still be proven");
    assert_eq!(second.node.ledger.last_change(&[row("t", "1")]), raised);
    assert!(second.node.ledger.last_change(&[row("t", "5")]) > raised, "replayed");
}

/// The incident: a commit is told, and its slot confirmed, before it is visible. Whoever begins there would never hear of it
/// again, and keep the row as it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_told_and_still_invisible_is_replayed_to_whoever_begins_later() {
    let server = server(TABLE);
    let folder = tempfile::tempdir().unwrap();
    install(&connect(&server.url(), FeedOptions::default()).await).await;
    let mut first = Member::start(&server.url(), Some(folder.path())).await;
    first.node.fresh().await;
    server.set("synchronous_standby_names", "ghost").unwrap();
    let mut psql = server.psql();
    let mut hanging = psql.arg("-c").arg("UPDATE t SET v = 'new' WHERE id = 1").spawn().unwrap();
    let tag = row("t", "1");
    first.node.soon("the commit to be told", || first.node.ledger.last_change(&[tag]).0 > 0).await;
    let told = first.node.ledger.last_change(&[tag]);
    // The slot is confirmed as far as it may be: heartbeats go by.
    let confirmed =
        "SELECT (confirmed_flush_lsn - '0/0')::bigint FROM pg_replication_slots WHERE slot_name = 'trueup'";
    let confirmed = || server.query(confirmed).unwrap().parse::<u64>().unwrap();
    for _ in 0..10 {
        session(&server)
            .await
            .batch_execute("SET synchronous_commit = local; UPDATE t SET v = 'y' WHERE id = 9")
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(confirmed() < told.0, "{} is not below {told}", confirmed());
    first.kill().await;
    let second = Member::start(&server.url(), Some(folder.path())).await;
    second.node.soon("the replay", || second.node.ledger.last_change(&[tag]) == told).await;
    // The saved buckets alone would tell as much: it must also be waited for, until it is visible.
    second.node.soon("the feed beyond it", || second.node.ledger.applied() > told).await;
    for _ in 0..3 {
        let moment = second.node.ledger.status().moment;
        second.node.soon("a later moment", || second.node.ledger.status().moment > moment).await;
    }
    assert!(second.node.ledger.status().floor < Some(told), "{:?}", second.node.ledger.status());
    server
        .query("SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
        .unwrap();
    second.node.soon("the slot to be confirmed beyond it", || confirmed() > told.0).await;
    drop(hanging.wait());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_costs_no_epoch_and_moves_the_connection() {
    let mut server = server(TABLE);
    install(&connect(&server.url(), FeedOptions::default()).await).await;
    let member = Member::start(&server.url(), None).await;
    member.node.fresh().await;
    heard_by_all(&server, std::slice::from_ref(&member), 1).await;
    let (epochs, connection) =
        (epochs(std::slice::from_ref(&member)), member.node.postgres.feed_state().connection);
    server.query("SET synchronous_commit = off; UPDATE t SET v = 'lost' WHERE id = 2").unwrap();
    server.stop(testbed::Stop::Immediate).unwrap();
    server.start_again().unwrap();
    member
        .node
        .soon("another connection", || member.node.postgres.feed_state().connection != connection)
        .await;
    heard_by_all(&server, std::slice::from_ref(&member), 3).await;
    assert_eq!(member.node.ledger.status().epoch, epochs[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_restored_from_older_files_is_another_epoch() {
    let mut server = server(TABLE);
    let folder = tempfile::tempdir().unwrap();
    install(&connect(&server.url(), FeedOptions::default()).await).await;
    let member = Member::start(&server.url(), None).await;
    member.node.fresh().await;
    server.stop(testbed::Stop::Fast).unwrap();
    server.copy_data(&folder.path().join("copy")).unwrap();
    server.start_again().unwrap();
    let all = std::slice::from_ref(&member);
    for id in 1..5 {
        heard_by_all(&server, all, id).await;
    }
    let before = member.node.ledger.epoch();
    server.stop(testbed::Stop::Fast).unwrap();
    server.restore(&folder.path().join("copy")).unwrap();
    server.start_again().unwrap();
    member
        .node
        .soon("another epoch", || {
            let epoch = member.node.ledger.epoch();
            epoch.is_some() && epoch != before
        })
        .await;
    heard_by_all(&server, all, 6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_made_again_needs_a_new_slot_and_gets_it() {
    let server = server(TABLE);
    let members = three(&server).await;
    heard_by_all(&server, &members, 1).await;
    let before = members[0].node.ledger.epoch();
    server.query("DROP PUBLICATION trueup; UPDATE t SET v = 'unheard'").unwrap();
    assert!(eventually(|| members.iter().any(|member| member.node.problem().contains("publication"))).await);
    install(&connect(&server.url(), FeedOptions::default()).await).await;
    for member in &members {
        member
            .node
            .soon("another epoch", || {
                let epoch = member.node.ledger.epoch();
                epoch.is_some() && epoch != before
            })
            .await;
        member.node.fresh().await;
    }
    heard_by_all(&server, &members, 2).await;
    let failures: u64 = members.iter().map(|member| member.node.stats.failures.load(Ordering::Relaxed)).sum();
    assert!(failures > 0);
}

/// The incident: the holder is cut off, its slot is freed by the server, another node takes over; then the holder wakes, as
/// if nothing had happened.
#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_is_cut_off_proves_nothing_and_does_no_harm_when_it_wakes() {
    let server = server(TABLE);
    install(&connect(&server.url(), FeedOptions::default()).await).await;
    let link = Link::to(server.port()).await;
    let cut_off = Member::start(&link.url(), None).await;
    cut_off.node.fresh().await;
    let other = Member::start(&server.url(), None).await;
    other.node.fresh().await;
    assert!(cut_off.holds() && other.follows());
    let members = [cut_off, other];
    heard_by_all(&server, &members, 1).await;
    let (before, clock) = (epochs(&members), trueup_core::env::Clock::system());
    let [cut_off, other] = &members;

    link.cut(true);
    let began = clock.now();
    server.query("UPDATE t SET v = 'meanwhile' WHERE id = 5").unwrap();
    other.node.soon("the change", || other.node.ledger.last_change(&[row("t", "5")]).0 > 0).await;
    other.node.soon("a moment after the cut", || other.node.ledger.status().moment > began).await;
    let took = clock.now().since(began);
    println!("proven again {took:?} after the cut");
    assert!(other.holds() && took < Duration::from_secs(10), "{took:?}");
    assert_eq!(cut_off.node.ledger.last_change(&[row("t", "5")]).0, 0, "it cannot know");
    // Nothing that it knows counts as younger than the cut, but for what was under way.
    assert!(cut_off.node.ledger.status().moment.since(began) < Duration::from_millis(100));

    link.cut(false);
    cut_off.node.soon("the change", || cut_off.node.ledger.last_change(&[row("t", "5")]).0 > 0).await;
    heard_by_all(&server, &members, 2).await;
    assert!(cut_off.follows() && other.holds());
    assert_eq!(epochs(&members), before);
}

/// What a node shares with others has to wait for the log, which nobody writes to. The holder, who helps it on once a second at most, knows
/// nothing of that.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_waits_for_an_idle_log_helps_it_on_by_itself() {
    const ROUNDS: u32 = 30;
    let lazy = testbed::PostgresOptions::default().set("wal_writer_delay", "10s");
    let server = server_with(lazy, TABLE);
    install(&connect(&server.url(), FeedOptions::default()).await).await;
    let rarely = Duration::from_secs(60);
    let fleet = Some(FleetOptions { save_every: rarely, ..FleetOptions::default() });
    let rarely_asked = FeedOptions { ask_idle: rarely, fleet, ..FeedOptions::default() };
    let holder = Member::start_with(&server.url(), None, rarely_asked.clone()).await;
    holder.node.fresh().await;
    let follower = Member::start_with(&server.url(), None, rarely_asked).await;
    follower.node.fresh().await;
    assert!(holder.holds() && follower.follows());
    let rounds = async {
        for _ in 0..ROUNDS {
            // Written, and not flushed: nobody is told of it.
            let end = "SELECT pg_logical_emit_message(false, 'none', '') - '0/0'::pg_lsn";
            let end = Position(server.query(end).unwrap().parse().unwrap());
            follower.node.feed.wish(end);
            follower.node.feed.until_applied(end).await;
        }
    };
    // By the holder alone each would take a second.
    assert!(tokio::time::timeout(Duration::from_secs(u64::from(ROUNDS) / 2), rounds).await.is_ok());
}

/// The holder tells only the tags that it knows of; another node must not take its word for those that it does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_knows_of_a_new_group_refuses_what_a_holder_tells_that_does_not() {
    let server = server(
        "CREATE TABLE t (id int PRIMARY KEY, category int, v text DEFAULT ''); INSERT INTO t VALUES (1, 5)",
    );
    install(&connect(&server.url(), FeedOptions::default()).await).await;
    // It looks at the catalogue every three seconds only.
    let rarely = Duration::from_secs(3);
    let slow = FeedOptions { ask_busy: rarely, ask_idle: rarely, ..FeedOptions::default() };
    let holder = Member::start_with(&server.url(), None, slow).await;
    holder.node.fresh().await;
    let follower = Member::start(&server.url(), None).await;
    follower.node.fresh().await;
    let members = [holder, follower];
    heard_by_all(&server, &members, 1).await;
    let [holder, follower] = &members;
    assert!(holder.holds() && follower.follows());
    let group = GroupSpec { name: "category".to_owned(), columns: vec!["category".to_owned()] };
    let groups = BTreeMap::from([("public.t".to_owned(), vec![group])]);
    let options = InstallOptions { groups, ..InstallOptions::default() };
    let plan = FeedPlan::new(&connect(&server.url(), FeedOptions::default()).await, &options).await.unwrap();

    let asked = holder.node.ledger.status().moment;
    holder.node.soon("the holder to have asked", || holder.node.ledger.status().moment > asked).await;
    let gaps = |member: &Member| member.node.stats.gaps.load(Ordering::Relaxed);
    let (before, at_holder, at_follower) = (epochs(&members), gaps(holder), gaps(follower));
    plan.apply().await.unwrap();
    follower.node.soon("the follower to notice", || gaps(follower) > at_follower).await;
    assert_eq!(gaps(holder), at_holder, "the holder has not noticed yet");
    server.query("UPDATE t SET category = 6").unwrap();
    follower.node.soon("the follower to leave", || follower.node.ledger.status().epoch > before[1]).await;
    for member in &members {
        member.node.fresh().await;
    }
    server.query("UPDATE t SET category = 5").unwrap();
    for member in &members {
        for tag in ["5", "6"].map(|value| Tag::group("public.t", "category", [value])) {
            member.node.soon("the group to be raised", || member.node.ledger.last_change(&[tag]).0 > 0).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_whose_log_was_removed_is_made_anew_and_so_is_the_epoch() {
    // A fleet that is switched off must not fill the disk.
    let options =
        testbed::PostgresOptions::default().set("max_slot_wal_keep_size", "1MB").set("max_wal_size", "32MB");
    let server = server_with(options, TABLE);
    let folder = tempfile::tempdir().unwrap();
    install(&connect(&server.url(), FeedOptions::default()).await).await;
    let mut first = Member::start(&server.url(), Some(folder.path())).await;
    first.node.fresh().await;
    let before = first.node.ledger.epoch();
    first.node.stop().await;
    drop(first);
    let lost = "SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'trueup'";
    let removed = || {
        server.query("INSERT INTO t VALUES (random() * 1000000000) ON CONFLICT DO NOTHING; SELECT pg_switch_wal(); CHECKPOINT").unwrap();
        server.query(lost).unwrap() == "lost"
    };
    assert!(eventually(removed).await);
    let second = Member::start(&server.url(), Some(folder.path())).await;
    second.node.fresh().await;
    assert!(second.holds());
    assert_ne!(second.node.ledger.epoch(), before, "what was saved cannot be continued");
    assert_eq!(server.query(lost).unwrap(), "reserved");
    heard_by_all(&server, std::slice::from_ref(&second), 1).await;
}
