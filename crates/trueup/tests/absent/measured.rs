//! Figures for `docs/measured.md`: run one with `--ignored --nocapture`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use trueup::{catalog::Demand, engine::env::Clock};

use super::{
    node::{File, Node},
    postgres::server,
};

/// Ids asked for that do not exist; of the naive way a fortieth, for the source's sake.
const ASKED: u64 = 800_000;
const ASKED_NAIVELY: u64 = 20_000;
/// Ids that exist.
const ROWS: u64 = 200_000;
/// Ids inserted meanwhile.
const INSERTED: u64 = 10_000;
/// Inserted in one transaction.
const TOGETHER: u64 = 100;
const READERS: u64 = 4;

/// Inserts these ids as another program would.
type Insert = Box<dyn Fn(std::ops::Range<u64>) + Send>;

/// Asks for ids that do not exist, each once, as fast as it goes, while others are inserted; prints how many reached the
/// source, and when the inserted ones were found.
async fn attack(title: &str, node: Node, insert: Insert, filtered: bool) {
    let to_ask = if filtered { ASKED } else { ASKED_NAIVELY };
    if filtered {
        node.until_known("item").await;
    }
    let (node, clock) = (Arc::new(node), Clock::system());
    let (loads, started) = (node.loads("item"), clock.now());
    let (next, asked) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let done = Arc::new(AtomicBool::new(false));
    let reader = |_| {
        let (node, next, asked, done) =
            (Arc::clone(&node), Arc::clone(&next), Arc::clone(&asked), Arc::clone(&done));
        tokio::task::spawn_blocking(move || {
            tokio::runtime::Handle::current().block_on(async move {
                let class = node.catalog.class("item").unwrap();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= to_ask {
                        break;
                    }
                    let key = class.form().parse(&(2 * ROWS + number * 7).to_string()).unwrap();
                    assert!(class.read(&key, Demand::default()).await.unwrap().value().is_none());
                    asked.fetch_add(1, Ordering::Relaxed);
                }
                done.store(true, Ordering::Relaxed);
            });
        })
    };
    let readers: Vec<_> = (0..READERS).map(reader).collect();
    // Loads of the inserted ids themselves are no part of the attack.
    let (mut delays_ms, mut loads_of_inserted) = (Vec::new(), 0);
    for begin in (0..INSERTED).step_by(TOGETHER as usize) {
        let ids = 100_000_000 + begin..100_000_000 + begin + TOGETHER;
        let first = node.read("item", &ids.start.to_string()).await.0;
        assert!(first.is_none());
        loads_of_inserted += u64::from(!filtered);
        insert(ids.clone());
        let acknowledged = clock.now();
        for id in ids {
            loop {
                let before = clock.now();
                loads_of_inserted += 1;
                if node.read("item", &id.to_string()).await.0.is_some() {
                    delays_ms.push(before.since(acknowledged).as_secs_f64() * 1_000.0);
                    break;
                }
                loads_of_inserted -= 1;
                assert!(before.since(acknowledged) < Duration::from_secs(5), "{id} is not found");
            }
        }
    }
    for reader in readers {
        reader.await.unwrap();
    }
    let took = clock.now().since(started).as_secs_f64();
    let loaded = (node.loads("item") - loads).saturating_sub(loads_of_inserted);
    let asked = asked.load(Ordering::Relaxed);
    delays_ms.sort_by(f64::total_cmp);
    let at = |share: f64| delays_ms[((delays_ms.len() - 1) as f64 * share) as usize];
    let share = 100.0 * (1.0 - loaded as f64 / asked as f64);
    println!(
        "| {title} | {asked} | {loaded} | {share:.4} % | {:.0}/s | {} of {INSERTED} | {:.2} | {:.2} | {:.2} |",
        asked as f64 / took,
        delays_ms.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

const NAIVE: &str = "[class.item]\ntable = \"item\"\nkey = \"id\"\nnegative_life = \"off\"\nloads_max = 1000\n\
    max_staleness = \"5s\"\n";

fn filtered() -> String {
    format!("{NAIVE}bloom = {{ entries = 300_000, error = \"0.01%\" }}\n")
}

fn head() {
    println!(
        "| | asked | reached the source | did not | asked | inserted, found | p50 ms | p99 ms | longest ms |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "a figure: minutes"]
async fn penetration_of_postgres() {
    head();
    let sql = format!(
        "CREATE TABLE item (id bigint PRIMARY KEY, name text); \
         INSERT INTO item SELECT g, 'x' FROM generate_series(1, {ROWS}) g; ANALYZE item"
    );
    for (title, classes, is_filtered) in
        [("PostgreSQL, filter", filtered(), true), ("PostgreSQL, naive", NAIVE.to_owned(), false)]
    {
        let server = Arc::new(server(&sql));
        let node = Node::postgres(&server, &classes).await;
        let mut client = postgres_client(&server);
        let insert = move |ids: std::ops::Range<u64>| client.insert(ids);
        let insert = std::sync::Mutex::new(insert);
        let insert: Insert = Box::new(move |ids| (insert.lock().unwrap())(ids));
        attack(title, node, insert, is_filtered).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "a figure: minutes"]
async fn penetration_of_sqlite() {
    head();
    let sql = format!(
        "CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT); \
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS}) \
         INSERT INTO item SELECT i, 'x' FROM n"
    );
    for (title, classes, is_filtered) in
        [("SQLite, filter", filtered(), true), ("SQLite, naive", NAIVE.to_owned(), false)]
    {
        let file = File::new(&sql);
        let node = Node::sqlite(&file, &classes).await;
        let program = file.program();
        let insert = move |ids: std::ops::Range<u64>| {
            program.execute_batch("BEGIN IMMEDIATE").unwrap();
            for id in ids {
                program.execute("INSERT INTO item VALUES (?1, 'new')", [id as i64]).unwrap();
            }
            program.execute_batch("COMMIT").unwrap();
        };
        attack(title, node, Box::new(insert), is_filtered).await;
    }
}

/// A program that writes by plain SQL, with a connection of its own.
struct Client {
    psql: std::process::Child,
    output: std::io::BufReader<std::process::ChildStdout>,
}

impl Drop for Client {
    fn drop(&mut self) {
        // Its end of input is the end of the session.
        drop(self.psql.stdin.take());
        self.psql.wait().unwrap();
    }
}

fn postgres_client(server: &trueup_testbed::Postgres) -> Client {
    let mut psql = server.psql();
    psql.args(["-qAt"]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut psql = psql.spawn().unwrap();
    let output = std::io::BufReader::new(psql.stdout.take().unwrap());
    Client { psql, output }
}

impl Client {
    /// Returns when the commit is acknowledged.
    fn insert(&mut self, ids: std::ops::Range<u64>) {
        use std::io::{BufRead as _, Write as _};
        let input = self.psql.stdin.as_mut().unwrap();
        let last = ids.end - 1;
        writeln!(
            input,
            "INSERT INTO item SELECT g, 'new' FROM generate_series({}, {last}) g;\nSELECT 'done';",
            ids.start
        )
        .unwrap();
        input.flush().unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "done");
    }
}
