//! What following a SQLite database costs: a point load, the reader's polls, and the way from a commit to its
//! application. Run with `cargo bench -p trueup --bench sqlite_cost`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a bench stops at the first surprise"
)]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use rusqlite::Connection;
use rustix::time::{ClockId, clock_gettime};
use trueup::sqlite::{FeedPlan, InstallOptions, RowLoader, RowOptions, Sqlite, SqliteOptions};
use trueup_core::{
    apply::{Feed, FeedStats},
    env::{Clock, spawn},
    proof::{Ledger, Position},
    source::{Loader as _, Source as _},
};

/// Rows of the table.
const ROWS: i64 = 100_000;
/// Loads that are timed together.
const LOADS: u32 = 50_000;
/// Commits per second, and for how many seconds.
const COMMITS_PER_SECOND: u64 = 1_000;
const SECONDS: u64 = 5;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cost.db");
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch("CREATE TABLE account(id INTEGER PRIMARY KEY, owner TEXT, balance INTEGER)").unwrap();
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
        INSERT INTO account SELECT i, 'owner ' || i, i FROM n";
    conn.execute(fill, [ROWS]).unwrap();
    FeedPlan::new(&path, &InstallOptions::default()).unwrap().apply().unwrap();
    conn.pragma_update(None, "synchronous", "normal").unwrap();
    let sqlite = Sqlite::open(&path, SqliteOptions::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        loads(&sqlite).await;
        let feed = follow(&sqlite).await;
        polls().await;
        commits(conn, &feed).await;
        feed.stop();
    });
}

fn rate(what: &str, clock: &Clock, times: u32, mut work: impl FnMut(u32)) {
    let started = clock.now();
    (0..times).for_each(&mut work);
    let each = clock.now().since(started).as_nanos() / u128::from(times);
    println!("{what}: {each} ns");
}

async fn loads(sqlite: &Sqlite) {
    let clock = Clock::system();
    let limit = Duration::from_secs(1);
    rate("an empty load (transaction, position, epoch)", &clock, LOADS, |_| {
        sqlite.load(limit, |_| Ok(())).map(drop).unwrap()
    });
    let key = |i: u32| i64::from(i).wrapping_mul(7919) % ROWS + 1;
    rate("a point load by a closure", &clock, LOADS, |i| {
        let load = |conn: &Connection| {
            let mut statement = conn.prepare_cached("SELECT balance FROM account WHERE id = ?1")?;
            statement.query_row([key(i)], |row| row.get::<_, i64>(0))
        };
        sqlite.load(limit, load).map(drop).unwrap();
    });
    let options = RowOptions { leave_out: Vec::new(), limit, value_bytes_max: 1 << 20 };
    let rows = RowLoader::new(sqlite, "account", options).unwrap();
    let keys: Vec<_> = (0..LOADS).map(|i| rows.key_form().key(&key(i)).unwrap()).collect();
    let started = clock.now();
    for key in &keys {
        drop(rows.load(key).await.unwrap());
    }
    println!(
        "a row by key as JSON, with its tags: {} ns",
        clock.now().since(started).as_nanos() / u128::from(LOADS)
    );
}

async fn follow(sqlite: &Sqlite) -> Feed {
    let ledger = Ledger::new(1 << 20, 1 << 20);
    let feed = Feed::new(ledger, Clock::system(), Arc::new(FeedStats::default()));
    spawn("feed", Arc::new(sqlite.clone()).follow(feed.clone()));
    feed.until_fresh().await;
    feed
}

async fn polls() {
    let cpu = || {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
    };
    // The first second polls at the pace of a busy database.
    for (pace, wait) in [("busy", 900), ("idle", 3_000)] {
        let (clock, before) = (Clock::system(), cpu());
        let started = clock.now();
        tokio::time::sleep(Duration::from_millis(wait)).await;
        let share = (cpu() - before).as_secs_f64() / clock.now().since(started).as_secs_f64();
        println!("following at the {pace} pace, nothing changes: {:.2} % of a core", share * 100.0);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn commits(conn: Connection, feed: &Feed) {
    let delays = Arc::new(Mutex::new(Vec::new()));
    let (sender, mut committed) = tokio::sync::mpsc::unbounded_channel();
    let clock = Clock::system();
    let writer = std::thread::spawn({
        let clock = clock.clone();
        move || {
            let started = clock.now();
            for i in 0..COMMITS_PER_SECOND * SECONDS {
                let due = started.after(Duration::from_nanos(i * 1_000_000_000 / COMMITS_PER_SECOND));
                std::thread::sleep(due.since(clock.now()));
                let id = i64::try_from(i).unwrap() * 7919 % ROWS + 1;
                conn.prepare_cached("UPDATE account SET balance = balance + 1 WHERE id = ?1")
                    .unwrap()
                    .execute([id])
                    .unwrap();
                let at = clock.now();
                let seq: i64 = conn
                    .prepare_cached("SELECT max(seq) FROM _trueup_log")
                    .unwrap()
                    .query_row([], |row| row.get(0))
                    .unwrap();
                sender.send((at, Position(seq.unsigned_abs()))).unwrap();
            }
            clock.now().since(started)
        }
    });
    let mut waiting = Vec::new();
    while let Some((at, position)) = committed.recv().await {
        let (feed, clock, delays) = (feed.clone(), clock.clone(), Arc::clone(&delays));
        waiting.push(spawn("wait", async move {
            feed.until_applied(position).await;
            delays.lock().unwrap().push(clock.now().since(at));
        }));
    }
    for task in waiting {
        task.ended().await;
    }
    let took = writer.join().unwrap();
    let mut delays = delays.lock().unwrap().clone();
    delays.sort();
    let at = |share: usize| delays[(delays.len() - 1) * share / 1000].as_secs_f64() * 1000.0;
    println!(
        "from commit to applied, {:.0} commits/s: p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms",
        delays.len() as f64 / took.as_secs_f64(),
        at(500),
        at(990),
        at(999)
    );
}
