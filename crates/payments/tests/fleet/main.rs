//! Three instances of the service on one PostgreSQL, with a Redis Cluster as the remote tier and for events, under a load of everything, and one of them
//! killed with `kill -9` in the middle: no effect comes about twice, the ledger sums to zero, and what the others show is proven.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../crash/ask.rs"]
mod ask;

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use ask::{Answer, ask};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use trueup_testbed::{Cluster, ClusterOptions, Postgres, PostgresOptions, free_port, spawn, tied};

const ANN: &str = "0197b1f0-0000-7000-8000-00000000000a";
const BEN: &str = "0197b1f0-0000-7000-8000-00000000000b";
const OPENING: i64 = 100_000;
/// 50 millionths of that, which the settlement of the day pays each.
const INTEREST: i64 = 5;
const INSTANCES: usize = 3;
const CLIENTS: usize = 6;
/// Operations of each client.
const OPERATIONS: usize = 20;
/// What a charge of 1,000 leaves: less 1.4 % and 25 cents.
const NET: i64 = 1_000 - 14 - 25;

fn id() -> String {
    payments::domain::Id::new(trueup::engine::env::unix_ms()).text()
}

/// Waits until `look` gives something; two minutes at most.
fn eventually<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let mut why = String::new();
    for _ in 0..6_000 {
        match look() {
            Ok(found) => return found,
            Err(not_yet) => why = not_yet,
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("waited in vain for {what}: {why}");
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

struct Instance {
    http: SocketAddr,
    process: Mutex<Child>,
}

impl Drop for Instance {
    fn drop(&mut self) {
        let mut process = self.process.lock().unwrap();
        let _ = process.kill();
        let _ = process.wait();
    }
}

struct Fleet {
    instances: Vec<Instance>,
    gateway: Child,
    gateway_at: SocketAddr,
    bearer: String,
    folder: TempDir,
    url: String,
    postgres: Postgres,
    cluster: Cluster,
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let _ = self.gateway.kill();
        let _ = self.gateway.wait();
    }
}

impl Fleet {
    fn start() -> Self {
        let options = PostgresOptions::default().set("max_connections", "300");
        let postgres =
            Postgres::start(&options.set("max_wal_senders", "40").set("max_replication_slots", "40"))
                .unwrap();
        let cluster = Cluster::start(&ClusterOptions::default()).unwrap();
        let nodes: Vec<String> =
            cluster.nodes().iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        let nodes = format!("redis-cluster://{}", nodes.join(","));
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), [7; 32]).unwrap();
        let (gateway_at, url) = (local(free_port().unwrap()), postgres.url());
        let https: Vec<SocketAddr> = (0..INSTANCES).map(|_| local(free_port().unwrap())).collect();
        let mut gateway = tied(env!("CARGO_BIN_EXE_payments-gateway"));
        gateway
            // News go to an instance that lives on.
            .args([
                "--http",
                &gateway_at.to_string(),
                "--webhook",
                &https[1].to_string(),
                "--key-window-ms",
                "60000",
            ])
            .arg("--secret-file")
            .arg(folder.path().join("secret"));
        let gateway = spawn(gateway).unwrap();
        let (instances, bearer) = (Vec::new(), String::new());
        let mut fleet = Self { instances, gateway, gateway_at, bearer, folder, url, postgres, cluster };
        for (number, http) in https.into_iter().enumerate() {
            let log = std::fs::File::create(fleet.folder.path().join(format!("log-{number}"))).unwrap();
            let mut process = tied(env!("CARGO_BIN_EXE_payments"));
            process
                .args(["serve", "--demo", "--database", &fleet.url, "--http", &http.to_string()])
                .args(["--l2", &nodes, "--events", &nodes])
                // The first makes the wallets, before anybody settles.
                .args(if number == 0 { &[][..] } else { &["--nightly", "00:00"] })
                .args(["--gateway", &gateway_at.to_string(), "--gateway-timeout-ms", "300"])
                .args(["--key-window-ms", "60000", "--margin-ms", "1000"])
                .args(["--lease-ms", "1000", "--relay-ttl-ms", "1000"])
                .arg("--secret-file")
                .arg(fleet.folder.path().join("secret"))
                .arg("--data")
                .arg(fleet.folder.path().join(number.to_string()))
                .env("RUST_LOG", "warn")
                .stdout(Stdio::null())
                .stderr(log);
            let process = spawn(process).unwrap();
            fleet.instances.push(Instance { http, process: Mutex::new(process) });
            fleet.ready(number);
        }
        fleet.bearer = std::fs::read_to_string(fleet.folder.path().join("0/olga.token")).unwrap();
        // What the day's jobs do is done before the load, once by all.
        eventually("the settlement of the day", || {
            let paid = fleet.count("SELECT count(*) FROM posting WHERE kind = 'settlement'");
            let jobs = fleet.count("SELECT count(*) FROM once_job_runs WHERE finished_ms IS NOT NULL");
            if (paid, jobs) == (2, 2) { Ok(()) } else { Err(format!("{paid} postings, {jobs} jobs")) }
        });
        fleet
    }

    fn ready(&self, number: usize) {
        let log =
            || std::fs::read_to_string(self.folder.path().join(format!("log-{number}"))).unwrap_or_default();
        eventually("an instance", || {
            let up = ask(self.instances[number].http, "GET", "/readyz", &[], None);
            let gateway = ask(self.gateway_at, "GET", "/book", &[], None).is_some();
            if gateway && up.is_some_and(|answer| answer.status == 204) { Ok(()) } else { Err(log()) }
        });
    }

    fn count(&self, sql: &str) -> i64 {
        self.postgres.query(sql).unwrap().parse().unwrap()
    }

    fn send(
        &self,
        instance: usize,
        method: &str,
        path: &str,
        extra: &[(&str, &str)],
        body: Option<&Json>,
    ) -> Option<Answer> {
        let bearer = format!("Bearer {}", self.bearer);
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend(extra);
        ask(self.instances[instance].http, method, path, &headers, body)
    }

    /// Asks until there is an outcome, of one instance after the other, under the same key.
    fn insist(&self, first: usize, path: &str, key: &str, body: &Json) -> Answer {
        let mut instance = first;
        eventually("an outcome", || {
            instance = (instance + 1) % INSTANCES;
            match self.send(instance, "POST", path, &[("idempotency-key", key)], Some(body)) {
                Some(answer) if [200, 201].contains(&answer.status) => Ok(answer),
                // No answer, no outcome yet, or somebody else is at it.
                None => Err("no answer".to_owned()),
                Some(answer) if [202, 409, 503].contains(&answer.status) => Err(format!("{answer:?}")),
                Some(answer) => panic!("{path}: {answer:?}"),
            }
        })
    }

    /// What an instance shows of a wallet, with a token: balance and version.
    fn shown(&self, instance: usize, account: &str, token: &str) -> Option<(i64, i64, Answer)> {
        let answer =
            self.send(instance, "GET", &format!("/accounts/{account}"), &[("trueup-token", token)], None)?;
        if answer.status == 503 {
            return None;
        }
        assert_eq!(answer.status, 200, "{answer:?}");
        let view: Json = serde_json::from_slice(&answer.body).unwrap();
        Some((view["balance"].as_i64().unwrap(), view["version"].as_i64().unwrap(), answer))
    }

    fn audit(&self) -> (bool, String) {
        let out = Command::new(env!("CARGO_BIN_EXE_payments"))
            .args(["audit", "--database", &self.url])
            .output()
            .unwrap();
        (out.status.success(), String::from_utf8(out.stdout).unwrap())
    }
}

/// A client: transfers both ways, charges whose gateway fails as it is told, and looks at the wallet that it changed.
fn client(fleet: &Fleet, number: usize, done: &AtomicUsize) -> (usize, Vec<String>) {
    let (mut transfers, mut charges, mut seen) = (0, Vec::new(), 0);
    for operation in 0..OPERATIONS {
        let at = (number + operation) % INSTANCES;
        let key = id();
        let (path, body) = match operation % 4 {
            3 => {
                let fault = ["none", "lose-reply", "lose-request", "garbage", "hold-reply", "webhook-only"]
                    [(number + operation / 4) % 6];
                ask(fleet.gateway_at, "POST", "/script", &[], Some(&json!([fault])));
                (
                    "/payments",
                    json!({"id": id(), "account": ANN, "amount": 1_000, "currency": "EUR", "card": "tok_visa"}),
                )
            }
            way => {
                let (from, to) = if way == 1 { (BEN, ANN) } else { (ANN, BEN) };
                ("/transfers", json!({"id": id(), "from": from, "to": to, "amount": 7, "currency": "EUR"}))
            }
        };
        let answer = fleet.insist(at, path, &key, &body);
        if path == "/payments" {
            charges.push(body["id"].as_str().unwrap().to_owned());
        } else {
            transfers += 1;
        }
        // A repeat at another instance does nothing more, and says the same.
        let again = fleet.insist(at + 1, path, &key, &body);
        if answer.status == 201 && again.status == 201 {
            assert_eq!(answer.body, again.body);
        }
        // Each write of ours moves the wallet's version on, and whoever shows it with our token shows at least that.
        let token = [&answer, &again].map(|answer| answer.header("trueup-token").to_owned());
        let token = token.iter().find(|token| !token.is_empty());
        for instance in 0..INSTANCES {
            let Some(token) = token else { break };
            let Some((_, version, shown)) = fleet.shown(instance, ANN, token) else { continue };
            assert!(version > seen, "client {number}, operation {operation}: {version} after {seen}");
            assert!(
                !shown.header("age").is_empty() && shown.header("cache-status").starts_with("trueup;"),
                "{shown:?}"
            );
            if instance == INSTANCES - 1 {
                seen = version;
            }
        }
        done.fetch_add(1, Ordering::SeqCst);
    }
    (transfers, charges)
}

#[test]
fn one_of_three_is_killed_under_load_and_no_effect_comes_about_twice() {
    let fleet = Fleet::start();
    let (done, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (outcomes, looks) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (fleet, done) = (&fleet, &done);
                scope.spawn(move || client(fleet, number, done))
            })
            .collect();
        // Those who only look, at each of the instances.
        let looking: Vec<_> = (0..INSTANCES)
            .map(|instance| {
                let (fleet, over) = (&fleet, &over);
                scope.spawn(move || {
                    let mut hits = 0;
                    while !over.load(Ordering::SeqCst) {
                        let path = format!("/accounts/{BEN}");
                        let Some(answer) = fleet.send(instance, "GET", &path, &[], None) else { continue };
                        assert!([200, 503].contains(&answer.status), "{answer:?}");
                        hits += usize::from(answer.header("cache-status").starts_with("trueup; hit"));
                    }
                    hits
                })
            })
            .collect();
        eventually("half of the load", || match done.load(Ordering::SeqCst) {
            done if done >= CLIENTS * OPERATIONS / 2 => Ok(()),
            done => Err(format!("{done} operations")),
        });
        // SIGKILL, to the one that came first: the relay's lease is its.
        fleet.instances[0].process.lock().unwrap().kill().unwrap();
        let outcomes: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        over.store(true, Ordering::SeqCst);
        (outcomes, looking.into_iter().map(|looks| looks.join().unwrap()).collect::<Vec<_>>())
    });
    eventually("nothing under way", || {
        let (right, found) = fleet.audit();
        assert!(right, "{found}");
        let open = ["holds", "unfinished", "keys"].iter().any(|what| !found.contains(&format!("{what}: 0")));
        if open { Err(found) } else { Ok(()) }
    });
    // One effect for each operation that was asked for: in the books, at the gateway, in what people are told.
    let transfers: usize = outcomes.iter().map(|(transfers, _)| transfers).sum();
    let charges: Vec<&String> = outcomes.iter().flat_map(|(_, charges)| charges).collect();
    assert_eq!(fleet.count("SELECT count(*) FROM transfer") as usize, transfers);
    assert_eq!(fleet.count("SELECT count(*) FROM posting WHERE kind = 'charge'") as usize, charges.len());
    let book: Json =
        serde_json::from_slice(&ask(fleet.gateway_at, "GET", "/book", &[], None).unwrap().body).unwrap();
    for charge in &charges {
        assert_eq!(book[charge.as_str()], 1, "money moved once");
    }
    assert_eq!(fleet.count("SELECT sum(minor) FROM entry"), 0, "the ledger sums to zero");
    let together = fleet.count("SELECT sum(balance) FROM account WHERE kind = 'wallet'");
    assert_eq!(together, 2 * (OPENING + INTEREST) + charges.len() as i64 * NET);
    eventually("every message to be told", || {
        let waiting = fleet.count("SELECT count(*) FROM once_outbox WHERE published_ms IS NULL");
        let (messages, notices) =
            (fleet.count("SELECT count(*) FROM once_outbox"), fleet.count("SELECT count(*) FROM notice"));
        // A transfer is one message, a charge is two.
        assert!(messages == (transfers + 2 * charges.len()) as i64 && notices <= messages);
        if waiting == 0 && notices == messages {
            Ok(())
        } else {
            Err(format!("{notices} of {messages}, {waiting} waiting"))
        }
    });
    // The day's jobs were not done again by anybody.
    assert_eq!(fleet.count("SELECT count(*) FROM posting WHERE kind = 'settlement'"), 2);
    // What the others show is what the database has, and comes from their memory.
    let transfer = json!({"id": id(), "from": ANN, "to": BEN, "amount": 7, "currency": "EUR"});
    let last = fleet.insist(1, "/transfers", &id(), &transfer);
    let truth = fleet.count(&format!("SELECT balance FROM account WHERE id = '{ANN}'"));
    for instance in 1..INSTANCES {
        let (balance, ..) = fleet.shown(instance, ANN, last.header("trueup-token")).unwrap();
        assert_eq!(balance, truth);
        // Without a token from memory, at most a second behind; each instance follows the database by itself, so that another's token is honoured by asking it.
        eventually("a hit", || {
            let answer = fleet.send(instance, "GET", &format!("/accounts/{ANN}"), &[], None).unwrap();
            let view: Json = serde_json::from_slice(&answer.body).unwrap();
            let status = answer.header("cache-status").to_owned();
            let hit = view["balance"] == truth && status.starts_with("trueup; hit");
            if hit { Ok(()) } else { Err(format!("{status} {view}")) }
        });
        assert!(looks[instance] > 0, "instance {instance} answered looks from memory: {looks:?}");
    }
    // The remote tier took part, beside the stream of events.
    let held: usize = fleet
        .cluster
        .nodes()
        .iter()
        .map(|node| {
            node.cli(&["--scan"])
                .unwrap()
                .lines()
                .filter(|key| !key.is_empty() && !key.contains("payments.events"))
                .count()
        })
        .sum();
    assert!(held > 0, "nothing stands in the cluster");
}
