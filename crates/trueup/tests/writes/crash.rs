//! A process that writes behind is killed at random moments: nothing that it acknowledged is lost or applied twice.
//!
//! The process is this very test program, told by its environment to be the writer. It prints each acknowledgement as it comes; each
//! row has a number that only ever rises, and a trigger logs every change that reaches the table.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use trueup_testbed as testbed;

use super::support::{PgNode, row};

const ROLE: &str = "TRUEUP_TEST_WRITER";
const WRITERS: u64 = 16;
const ROWS: u64 = 40;
/// Numbers of one run of the process are above those of all runs before.
const RUN: u64 = 1_000_000_000;

#[derive(Serialize, Deserialize)]
struct Counter {
    id: i64,
    n: i64,
}

fn plan(journal: &Path) -> String {
    format!(
        "[write_behind]\njournal = \"{}\"\nflush_every = \"10ms\"\n\n[class.counter]\ntable = \"counter\"\nkey = [\"id\"]\n\
         pattern = \"write-behind\"\nloss = \"nothing but a lost disk\"\nlife = \"1min\"\n\
         invalidation = {{ owner = \"tests\", reason = \"shown only\" }}\n",
        journal.display()
    )
}

/// Not a test: the process that is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by the tests of this file, as a process of its own"]
async fn the_writing_process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let [url, journal, run]: [&str; 3] = role.split('|').collect::<Vec<_>>().try_into().unwrap();
    let node = PgNode::start(url, None, &plan(Path::new(journal))).await;
    if run == "drain" {
        node.trueup.shut_down().await;
        let left = node.trueup.cache().write_behind_counts().unwrap();
        println!("drained pending={} replayed={}", left.pending, left.replayed);
        return;
    }
    let counters = node.trueup.class::<i64, Counter>("counter").unwrap();
    let first = run.parse::<u64>().unwrap() * RUN;
    let next = Arc::new(AtomicU64::new(first));
    println!("ready");
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let (counters, next) = (counters.clone(), Arc::clone(&next));
        writers.spawn(async move {
            for turn in 0.. {
                // A row has one writer, so that its numbers rise in the order of its writes.
                let id = (writer + WRITERS * (turn % (ROWS / WRITERS + 1))) as i64;
                let n = next.fetch_add(1, Ordering::Relaxed) as i64;
                if counters.put(&id, row(&Counter { id, n })).await.is_ok() {
                    // One call, so that a kill leaves whole lines.
                    let line = format!("ack {id} {n}\n");
                    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
                }
            }
        });
    }
    writers.join_all().await;
}

fn start(url: &str, folder: &Path, run: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::the_writing_process", "--ignored", "--nocapture"])
        .env(ROLE, format!("{url}|{}|{run}", folder.join("journal").display()))
        .stdout(Stdio::piped())
        .stderr(fs::File::options().create(true).append(true).open(folder.join("stderr")).unwrap())
        .spawn()
        .unwrap()
}

fn kills(count: u32, seed: u64) {
    println!("seed {seed}");
    let server = testbed::Postgres::start(&testbed::PostgresOptions::default()).unwrap();
    server
        .query(
            "CREATE TABLE counter (id bigint PRIMARY KEY, n bigint NOT NULL); \
             CREATE TABLE applied (at bigserial PRIMARY KEY, id bigint, n bigint); \
             CREATE FUNCTION log_applied() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN INSERT INTO applied (id, n) VALUES (NEW.id, NEW.n); RETURN NEW; END $$; \
             CREATE TRIGGER log_applied AFTER INSERT OR UPDATE ON counter FOR EACH ROW EXECUTE FUNCTION log_applied()",
        )
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut state = seed;
    let mut acknowledged: HashMap<i64, i64> = HashMap::new();
    let (mut total, mut with_pending) = (0_u64, 0);
    for kill in 1..=count {
        let mut process = start(&server.url(), folder.path(), &kill.to_string());
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let ready = lines.by_ref().map_while(Result::ok).any(|line| line.contains("ready"));
        assert!(ready, "{}", fs::read_to_string(folder.path().join("stderr")).unwrap());
        let reader = std::thread::spawn(move || {
            let acks = lines.map_while(Result::ok).filter_map(|line| {
                let mut parts = line.strip_prefix("ack ")?.split(' ').map(|part| part.parse::<i64>().ok());
                Some((parts.next()??, parts.next()??))
            });
            acks.collect::<Vec<_>>()
        });
        // Any moment: while the journal is synced, a batch is under way, or both.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_micros(20_000 + (state >> 33) % 300_000));
        process.kill().unwrap();
        process.wait().unwrap();
        for (id, n) in reader.join().unwrap() {
            total += 1;
            let last = acknowledged.entry(id).or_default();
            *last = (*last).max(n);
        }
        let reached: String = server.query("SELECT coalesce(max(n), 0) FROM counter").unwrap();
        let behind = acknowledged.values().max().is_some_and(|last| *last > reached.parse::<i64>().unwrap());
        with_pending += u32::from(behind);
    }
    let drained = start(&server.url(), folder.path(), "drain").wait_with_output().unwrap();
    let drained = String::from_utf8_lossy(&drained.stdout).into_owned();
    assert!(drained.contains("drained pending=0"), "{drained}");
    let rows = server.query("SELECT string_agg(id || ' ' || n, ',') FROM counter").unwrap();
    let rows: HashMap<i64, i64> = rows
        .split(',')
        .filter_map(|row| row.split_once(' '))
        .map(|(id, n)| (id.parse().unwrap(), n.parse().unwrap()))
        .collect();
    let lost = acknowledged.iter().filter(|(id, n)| rows.get(id).is_none_or(|held| held < n)).count();
    let twice = server
        .query("SELECT count(*) FROM (SELECT FROM applied GROUP BY id, n HAVING count(*) > 1) t")
        .unwrap();
    let back = "SELECT count(*) FROM (SELECT n < lag(n) OVER (PARTITION BY id ORDER BY at) AS back FROM applied) t WHERE back";
    let back = server.query(back).unwrap();
    let applied = server.query("SELECT count(*) FROM applied").unwrap();
    println!(
        "{count} kills, {with_pending} of them with acknowledged writes not in the database yet; {total} writes acknowledged, \
         {applied} rows applied; lost {lost}, applied twice {twice}, applied out of order {back}"
    );
    assert!(total > 0 && !rows.is_empty());
    assert_eq!((lost, twice.as_str(), back.as_str()), (0, "0", "0"), "seed {seed}");
}

fn seed() -> u64 {
    let given = std::env::var("TRUEUP_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| trueup::engine::env::random::number() >> 1)
}

#[test]
fn killed_at_random_moments_it_loses_nothing_acknowledged_and_applies_nothing_twice() {
    kills(4, seed());
}

/// `cargo test -p trueup --test writes -- --ignored --nocapture killed_fifty`
#[test]
#[ignore = "a minute or more, and a figure for people"]
fn killed_fifty_times() {
    kills(50, seed());
}
