//! A cluster of six: keys on three primaries, slots that move, primaries that die or stop.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rustix::process::Signal;
use trueup::redis::{Redis, RedisOptions, RedisTier};
use trueup_core::{
    env::{Clock, Task, spawn},
    tier::{RemoteError, RemotePut, RemoteTier as _},
};
use trueup_testbed::Cluster;

use super::support::{blocking, cluster, key, patient, put, tier, until};

/// Keys that the load reads and writes: enough for every shard.
const KEYS: u32 = 60;
/// The servers themselves take this long at most to replace a primary, on a busy machine.
const FAILOVER_MAX: Duration = Duration::from_secs(20);
/// How much later every key is served.
const RECOVERY: Duration = Duration::from_secs(1);
/// Deadline of each call under load. The real one is shorter; here several builds share two processors.
const DEADLINE: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_all_slots_are_stored_and_found_in_one_go() {
    let cluster = cluster().await;
    // One address is enough to find the others.
    let seed = format!("127.0.0.1:{}", cluster.nodes()[4].port());
    let tier = tier(Redis::cluster([seed]).options(patient())).await;
    until("all primaries", || async {
        let servers = tier.servers();
        (servers.len() == 3 && servers.iter().all(|server| server.left_alone.is_none())).then_some(())
    })
    .await;
    let puts: Vec<RemotePut> = (0..500).map(|number| put(number, b"value", 1)).collect();
    assert!(tier.put_many(puts.clone()).await.iter().all(Result::is_ok));
    let keys: Vec<_> = puts.iter().map(|put| put.key.clone()).chain([key(9_999)]).collect();
    let found = tier.get_many(&keys).await;
    assert!(
        found.iter().zip(&puts).all(|(found, put)| found.as_ref().unwrap().as_ref() == Some(&put.envelope))
    );
    assert_eq!(found[500], Ok(None));
    assert_eq!(tier.stats().redirects, 0, "each key was asked for where it lies");
    // The same place as the servers themselves compute.
    let names: Vec<String> = keys[..20].iter().map(ToString::to_string).collect();
    let (slots, holders): (Vec<_>, Vec<_>) = blocking(move || {
        let of = |name: &String| {
            let slot: u16 = cluster.nodes()[0].cli(&["CLUSTER", "KEYSLOT", name]).unwrap().parse().unwrap();
            let port = cluster.nodes()[cluster.primary_of(name).unwrap()].port();
            (Some(slot), Some(format!("127.0.0.1:{port}").into()))
        };
        names.iter().map(of).unzip()
    })
    .await;
    let places: Vec<_> = keys[..20].iter().map(|key| tier.place(key)).collect();
    assert_eq!(places.iter().map(|place| place.slot).collect::<Vec<_>>(), slots);
    assert_eq!(places.into_iter().map(|place| place.endpoint).collect::<Vec<_>>(), holders);
}

/// Readers and writers that note, by server, when a call last failed and whether one outlived its deadline.
struct Load {
    tier: Arc<RedisTier>,
    stop: Arc<AtomicBool>,
    tasks: Vec<Task>,
    noted: Arc<Noted>,
}

#[derive(Default)]
struct Noted {
    calls: AtomicU64,
    wrong: AtomicU64,
    longest_ns: AtomicU64,
    /// By how much the machine woke a task late at most, which slept meanwhile.
    latest_ns: AtomicU64,
    /// What became of the calls for each key.
    by_key: Mutex<BTreeMap<u32, Calls>>,
}

/// Calls for one key.
#[derive(Debug, Default)]
struct Calls {
    made: u64,
    failed: u64,
    last_failure: Option<RemoteError>,
}

impl Calls {
    fn note<T>(&mut self, result: &Result<T, RemoteError>) {
        self.made += 1;
        if let Err(error) = result {
            self.failed += 1;
            self.last_failure = Some(error.clone());
        }
    }
}

impl Load {
    fn start(tier: &Arc<RedisTier>, tasks: u32) -> Self {
        let (stop, noted) = (Arc::new(AtomicBool::new(false)), Arc::new(Noted::default()));
        let run = |task: u32| {
            let (tier, stop, noted) = (Arc::clone(tier), Arc::clone(&stop), Arc::clone(&noted));
            spawn("load", async move {
                let clock = Clock::system();
                let mut position = 1;
                while !stop.load(Ordering::Relaxed) {
                    for number in (0..KEYS).filter(|number| number % tasks == task) {
                        position += 1;
                        let value = format!("the value of key {number}.");
                        let began = clock.now();
                        let stored = tier.put(put(number, value.as_bytes(), position)).await;
                        let took = clock.now().since(began);
                        let between = clock.now();
                        let found = tier.get(&key(number)).await;
                        let took = took.max(clock.now().since(between)).as_nanos() as u64;
                        noted.longest_ns.fetch_max(took, Ordering::Relaxed);
                        noted.calls.fetch_add(2, Ordering::Relaxed);
                        {
                            let mut by_key = noted.by_key.lock();
                            let calls = by_key.entry(number).or_default();
                            calls.note(&stored);
                            calls.note(&found);
                        }
                        // An entry of another key would be an answer for the wrong question.
                        if let Ok(Some(envelope)) = found
                            && !envelope.windows(value.len()).any(|window| window == value.as_bytes())
                        {
                            noted.wrong.fetch_add(1, Ordering::Relaxed);
                        }
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    }
                }
            })
        };
        let mut tasks: Vec<_> = (0..tasks).map(run).collect();
        tasks.push(note_wakes(&stop, &noted));
        Self { tier: Arc::clone(tier), stop, tasks, noted }
    }

    /// What became of the calls for each key since this was asked last.
    fn calls(&self) -> BTreeMap<u32, Calls> {
        std::mem::take(&mut self.noted.by_key.lock())
    }

    /// Waits until each key of the load can be found.
    async fn recovered(&self) {
        let keys: Vec<_> = (0..KEYS).map(key).collect();
        until("a cluster that serves every key", || async {
            self.tier.get_many(&keys).await.iter().all(Result::is_ok).then_some(())
        })
        .await;
    }

    async fn end(self) -> Arc<Noted> {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.ended().await;
        }
        self.noted
    }
}

async fn under_load(cluster: &Cluster) -> (Arc<RedisTier>, Load) {
    let limits = RedisOptions { get_timeout: DEADLINE, put_timeout: DEADLINE, ..RedisOptions::default() };
    let tier = tier(Redis::standalone(&cluster.url()).options(limits)).await;
    let load = Load::start(&tier, 12);
    load.recovered().await;
    load.calls();
    (tier, load)
}

/// The keys of the load that the node `index` holds.
async fn keys_of(cluster: &Arc<Mutex<Cluster>>, index: usize) -> Vec<u32> {
    let cluster = Arc::clone(cluster);
    blocking(move || {
        let cluster = cluster.lock();
        (0..KEYS).filter(|number| cluster.primary_of(&key(*number).to_string()).unwrap() == index).collect()
    })
    .await
}

/// Sleeps and notes how late it was woken: so much later than its deadline may any other task be, too.
fn note_wakes(stop: &Arc<AtomicBool>, noted: &Arc<Noted>) -> Task {
    const NAP: Duration = Duration::from_millis(5);
    let (stop, noted) = (Arc::clone(stop), Arc::clone(noted));
    spawn("wakes", async move {
        let clock = Clock::system();
        while !stop.load(Ordering::Relaxed) {
            let began = clock.now();
            tokio::time::sleep(NAP).await;
            let late = clock.now().since(began).saturating_sub(NAP).as_nanos() as u64;
            noted.latest_ns.fetch_max(late, Ordering::Relaxed);
        }
    })
}

fn assert_kept(noted: &Noted, what: &str) {
    let nanos = |noted: &AtomicU64| Duration::from_nanos(noted.load(Ordering::Relaxed));
    let (longest, latest) = (nanos(&noted.longest_ns), nanos(&noted.latest_ns));
    let calls = noted.calls.load(Ordering::Relaxed);
    println!("{what}: {calls} calls, the longest {longest:?}; a task woken {latest:?} late");
    assert_eq!(noted.wrong.load(Ordering::Relaxed), 0, "answers for another key");
    // A machine under load wakes a task late, and more than once in a call; nothing waits for a server beyond its deadline.
    assert!(longest < DEADLINE + Duration::from_millis(400) + 2 * latest, "a call took {longest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_killed_under_load_is_replaced_and_the_others_go_on_answering() {
    let cluster = cluster().await;
    let (_tier, load) = under_load(&cluster).await;
    let victim = blocking_primary(&cluster).await;
    let cluster = Arc::new(Mutex::new(cluster));
    let theirs = keys_of(&cluster, victim).await;
    load.calls();
    cluster.lock().node_mut(victim).unwrap().kill();
    failed_over("killed", &cluster, victim, &load).await;
    let failed = failed_of(&load.calls(), &theirs);
    assert!(failed > 0, "nobody has noticed");
    assert_kept(&*load.end().await, "a primary was killed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_stopped_under_load_is_replaced_and_its_awakening_harms_nobody() {
    let cluster = cluster().await;
    let (_tier, load) = under_load(&cluster).await;
    let victim = blocking_primary(&cluster).await;
    let cluster = Arc::new(Mutex::new(cluster));
    let theirs = keys_of(&cluster, victim).await;
    load.calls();
    let signal = |signal| cluster.lock().nodes()[victim].server().unwrap().signal(signal).unwrap();
    signal(Signal::STOP);
    failed_over("stopped", &cluster, victim, &load).await;
    failed_of(&load.calls(), &theirs);
    signal(Signal::CONT);
    let held = Arc::clone(&cluster);
    blocking(move || held.lock().settled().unwrap()).await;
    load.recovered().await;
    assert_kept(&*load.end().await, "a primary was stopped");
}

/// How many calls failed for keys of the server that is away, after a look at those of the others, which were answered all along:
/// nearly all would have failed had they shared the outage. Some fail where the machine was as late as the deadline, and then for
/// as long as a server that seemed slow is left alone.
fn failed_of(calls: &BTreeMap<u32, Calls>, theirs: &[u32]) -> u64 {
    let sum = |of_the_victim: bool| {
        let those = calls.iter().filter(|(number, _)| theirs.contains(number) == of_the_victim);
        those.fold((0, 0), |(made, failed), (_, calls)| (made + calls.made, failed + calls.failed))
    };
    let ((made, failed), (others_made, others_failed)) = (sum(true), sum(false));
    let late: Vec<_> =
        calls.iter().filter(|(number, calls)| !theirs.contains(number) && calls.failed > 0).collect();
    println!(
        "{failed} of {made} calls failed where a server is away, {others_failed} of {others_made} elsewhere: {late:?}"
    );
    assert!(others_made > 0 && others_failed * 4 < others_made, "the others share the outage");
    failed
}

/// Waits until another server has the victim's slots, and then for the load to notice.
async fn failed_over(how: &str, cluster: &Arc<Mutex<Cluster>>, victim: usize, load: &Load) {
    let (held, name) = (Arc::clone(cluster), key(0).to_string());
    let clock = Clock::system();
    let began = clock.now();
    blocking(move || {
        let cluster = held.lock();
        let others = || cluster.nodes().iter().enumerate().filter(|(index, _)| *index != victim);
        // Only the server that holds the key's slot answers with anything but where it is.
        while !others().any(|(_, node)| node.cli(&["GET", &name]).is_ok()) {
            assert!(
                Clock::system().now().since(began) < FAILOVER_MAX,
                "the servers do not replace their primary"
            );
        }
    })
    .await;
    let servers = clock.now().since(began);
    load.recovered().await;
    let ours = clock.now().since(began).saturating_sub(servers);
    println!("{how}: the servers took {servers:?}, and {ours:?} later every key was served");
    assert!(ours < RECOVERY, "{ours:?}");
}

async fn blocking_primary(cluster: &Cluster) -> usize {
    // Of the first key: some node that holds part of the load.
    let name = key(0).to_string();
    let index = tokio::task::block_in_place(|| cluster.primary_of(&name));
    index.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_move_under_load_and_no_key_is_lost_or_mistaken() {
    let cluster = cluster().await;
    let (tier, load) = under_load(&cluster).await;
    let moved = blocking(move || {
        // Slot after slot, with all its keys, the way that `redis-cli --cluster reshard` does it.
        for number in 0..KEYS / 4 {
            let name = key(number).to_string();
            let from = cluster.primary_of(&name).unwrap();
            let to = (0..6).find(|index| {
                *index != from && cluster.nodes()[*index].cli(&["ROLE"]).unwrap().starts_with("master")
            });
            move_slot(&cluster, &name, from, to.unwrap());
        }
        cluster
    })
    .await;
    load.recovered().await;
    let noted = load.end().await;
    let redirects = tier.stats().redirects;
    println!("{redirects} redirections");
    assert!(redirects > 0, "keys were asked for where they had been");
    assert_kept(&noted, "slots moved");
    let failures: u64 = noted.by_key.lock().values().map(|calls| calls.failed).sum();
    let calls = noted.calls.load(Ordering::Relaxed);
    println!("{failures} of {calls} calls failed");
    assert!(failures * 20 < calls, "{failures} of {calls} calls failed");
    drop(moved);
}

fn move_slot(cluster: &Cluster, name: &str, from: usize, to: usize) {
    let nodes = cluster.nodes();
    let id = |index: usize| nodes[index].cli(&["CLUSTER", "MYID"]).unwrap();
    let slot = nodes[from].cli(&["CLUSTER", "KEYSLOT", name]).unwrap();
    let (from_id, to_id) = (id(from), id(to));
    nodes[to].cli(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]).unwrap();
    nodes[from].cli(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]).unwrap();
    // Keys written meanwhile come late: a few looks.
    for _ in 0..20 {
        let keys = nodes[from].cli(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]).unwrap();
        for key in keys.lines().filter(|line| !line.is_empty()) {
            let port = nodes[to].port().to_string();
            let _ = nodes[from].cli(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000", "REPLACE"]);
        }
        if keys.trim().is_empty() {
            break;
        }
    }
    nodes[to].cli(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]).unwrap();
    nodes[from].cli(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]).unwrap();
}
