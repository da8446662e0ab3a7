//! A thousand readers of one expired key, whose load takes 100 ms.

use std::{sync::atomic::Ordering, time::Duration};

use trueup::engine::{env::Clock, receipt::ServedBy};

use super::{
    naive::Naive,
    support::{LOAD, Node, Servers, in_loads, now, quantile, servers, until},
};

const READERS: usize = 1_000;
/// Rounds of each way; the table shows the median and the worst.
const ROUNDS: usize = 5;
const LIFE: Duration = Duration::from_secs(3);

fn plan(more: &str) -> String {
    format!(
        "[l2]\nurls = [\"redis://unused:1\"]\n[class.product]\n\
         query = \"SELECT id, price, pg_sleep(0.1)::text AS pause FROM product WHERE id = :id\"\n\
         key = [\"id\"]\nscope = []\ninvalidation = {{ owner = \"the tests\", reason = \"its load sleeps\" }}\n\
         life = \"3s\"\njitter = \"0%\"\n{more}\n"
    )
}

async fn nodes(servers: &Servers, count: usize, more: &str) -> Vec<Node> {
    let (url, redis, plan) = (servers.postgres.url(), servers.redis.url(), plan(more));
    let mut nodes = Vec::new();
    for _ in 0..count {
        nodes.push(Node::start(&url, Some(&redis), &plan, Clock::system()).await);
    }
    nodes
}

/// Every node has held the key, and it has expired on all of them and in the remote tier.
async fn expire(nodes: &[Node]) {
    for node in nodes {
        node.warm(1).await;
    }
    tokio::time::sleep(LIFE + LIFE / 10).await;
}

/// What several rounds came to.
#[derive(Default)]
struct Rounds {
    loads: Vec<u64>,
    p99: Vec<Duration>,
    longest: Vec<Duration>,
}

impl Rounds {
    fn add(&mut self, loads: u64, mut took: Vec<Duration>) {
        self.loads.push(loads);
        self.p99.push(quantile(&mut took, 0.99));
        self.longest.push(quantile(&mut took, 1.0));
    }

    fn row(&mut self, name: &str) {
        self.loads.sort_unstable();
        println!(
            "| {name} | {} ({}) | {} | {} | {} |",
            self.loads[self.loads.len() / 2],
            self.loads.last().unwrap(),
            in_loads(quantile(&mut self.p99, 0.5)),
            in_loads(quantile(&mut self.p99, 1.0)),
            in_loads(quantile(&mut self.longest, 1.0)),
        );
    }
}

async fn storm(servers: &Servers, count: usize, more: &str) -> Rounds {
    let nodes = nodes(servers, count, more).await;
    let mut rounds = Rounds::default();
    for _ in 0..ROUNDS {
        expire(&nodes).await;
        let before: u64 = nodes.iter().map(Node::loads).sum();
        let crowds = nodes.iter().map(|node| node.crowd(READERS / nodes.len(), 1));
        let took = futures_util::future::join_all(crowds).await.into_iter().flatten().collect();
        let after: u64 = nodes.iter().map(Node::loads).sum();
        rounds.add(after - before, took);
    }
    nodes.iter().for_each(Node::debug);
    shut_down(nodes).await;
    rounds
}

async fn shut_down(nodes: Vec<Node>) {
    for node in nodes {
        node.catalog.cache().shut_down().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a figure: a minute on real servers"]
async fn a_thousand_readers_of_one_expired_key() {
    let servers = servers(10).await;
    println!(
        "| {READERS} readers at once, load {LOAD:?}, {ROUNDS} rounds | loads: median (worst) | p99: median (in loads) | p99: worst | longest of all |"
    );
    println!("|---|---|---|---|---|");
    let naive = Naive::new(&servers).await;
    let mut rounds = Rounds::default();
    let before = naive.loads.load(Ordering::Relaxed);
    let took = naive.crowd(READERS).await;
    rounds.add(naive.loads.load(Ordering::Relaxed) - before, took);
    rounds.row("naive cache-aside, one round");

    let mut one = storm(&servers, 1, "").await;
    one.row("one node");
    let mut alone = storm(&servers, 3, "").await;
    alone.row("3 nodes, stampede_scope = \"node\"");
    let mut fleet = storm(&servers, 3, "stampede_scope = \"fleet\"").await;
    fleet.row("3 nodes, stampede_scope = \"fleet\"");

    assert_eq!(one.loads, [1; ROUNDS]);
    assert_eq!(fleet.loads[ROUNDS / 2], 1, "{:?}", fleet.loads);
    // Times are for the reader of the table: they follow the machine's other work.
}

/// Reads that memory did not answer.
fn waited(node: &Node) -> u64 {
    let counts = node.counts();
    counts.reads_total() - counts.served.iter().find(|(by, _)| *by == ServedBy::L1).unwrap().1
}

/// Crowds come all the time, and the key's life ends several times meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a figure: half a minute on real servers"]
async fn with_early_or_background_refresh_no_read_waits() {
    const CROWDS: usize = 60;
    const PAUSE: Duration = Duration::from_millis(200);
    let servers = servers(10).await;
    println!(
        "| {READERS} readers every {PAUSE:?} for {} s, life {LIFE:?} | loads | reads that waited | p99 | longest |",
        CROWDS / 5
    );
    println!("|---|---|---|---|---|");
    for (name, more) in [
        ("refresh = \"wait\"", ""),
        ("refresh = \"early\"", "refresh = \"early\""),
        ("refresh = \"background\"", "refresh = \"background\"\nrefresh_ahead = \"1s\""),
    ] {
        let node = nodes(&servers, 1, more).await.remove(0);
        node.warm(1).await;
        let (loads, began, before) = (node.loads(), now(), waited(&node));
        let mut took = Vec::new();
        for crowd in 0..CROWDS as u32 {
            let next = began.after(PAUSE * crowd);
            tokio::time::sleep(next.since(now())).await;
            took.extend(node.crowd(READERS, 1).await);
        }
        let waited = waited(&node) - before;
        node.debug();
        println!(
            "| {name} | {} | {waited} | {:.1} ms | {:.1} ms |",
            node.loads() - loads,
            quantile(&mut took, 0.99).as_secs_f64() * 1e3,
            quantile(&mut took, 1.0).as_secs_f64() * 1e3,
        );
        if !more.is_empty() {
            assert_eq!(waited, 0, "{name}");
            assert!(node.loads() > loads);
        }
        shut_down(vec![node]).await;
        // Its entry in the remote tier must not help the next one.
        tokio::time::sleep(LIFE).await;
    }
}

/// The node that holds the lock is gone, as by `kill -9`: its tasks are dropped in the middle of its load.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a figure: half a minute on real servers"]
async fn when_the_owner_of_the_fill_lock_is_killed_another_node_takes_over() {
    let servers = servers(10).await;
    let more = "stampede_scope = \"fleet\"";
    let rest = nodes(&servers, 2, more).await;
    let client = redis::Client::open(servers.redis.url()).unwrap();
    let redis = client.get_multiplexed_async_connection().await.unwrap();
    let mut rounds = Rounds::default();
    for _ in 0..ROUNDS {
        let (url, remote, plan) = (servers.postgres.url(), servers.redis.url(), plan(more));
        // A node of its own in a runtime of its own.
        let (ready, mut is_ready) = tokio::sync::mpsc::channel(1);
        let (go, mut goes) = tokio::sync::mpsc::channel::<()>(1);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let task = async move {
            let owner = Node::start(&url, Some(&remote), &plan, Clock::system()).await;
            owner.warm(1).await;
            ready.send(()).await.unwrap();
            goes.recv().await.unwrap();
            owner.read(1).await;
            unreachable!("it is killed before");
        };
        drop(runtime.spawn(task));
        is_ready.recv().await.unwrap();
        expire(&rest).await;
        let before: u64 = rest.iter().map(Node::loads).sum();
        go.send(()).await.unwrap();
        until("the owner's lock", || async {
            let mut redis = redis.clone();
            let locks: Vec<String> =
                redis::cmd("KEYS").arg("trueup:lock:*").query_async(&mut redis).await.unwrap();
            (!locks.is_empty()).then_some(())
        })
        .await;
        let crowds = rest.iter().map(|node| node.crowd(READERS / 2, 1));
        let killed = async {
            tokio::time::sleep(LOAD / 2).await;
            runtime.shutdown_background();
        };
        let (took, ()) = tokio::join!(futures_util::future::join_all(crowds), killed);
        let after: u64 = rest.iter().map(Node::loads).sum();
        rounds.add(after - before, took.into_iter().flatten().collect());
    }
    println!(
        "| the owner killed after half a load, {ROUNDS} rounds | loads of the rest: median (worst) | p99: median (in loads) | p99: worst | longest of all |"
    );
    println!("|---|---|---|---|---|");
    rounds.row("2 nodes left, 1,000 readers");
    let taken_over: u64 = rest
        .iter()
        .map(|node| node.counts().stampede.locks.iter().find(|(o, _)| *o == "taken_over").unwrap().1)
        .sum();
    println!("taken over: {taken_over} of {ROUNDS}");
    assert_eq!(rounds.loads[ROUNDS / 2], 1, "{:?}", rounds.loads);
    shut_down(rest).await;
}
