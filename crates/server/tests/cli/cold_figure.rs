//! What a warm start gains: a server that starts under load, on a real database and a real Redis, side by side.
//!
//! `cargo test --release -p trueup-server --test cli cold_figure -- --ignored --nocapture`; `TRUEUP_FIGURES_TIME=0.02` for a quick look, and
//! `TRUEUP_FIGURES_RATE` for other reads a second.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use trueup_core::env::{Clock, Nanos, random};
use trueup_testbed::{Postgres, PostgresOptions, Redis, RedisOptions, free_port};

use crate::support::Server;

const PRODUCTS: usize = 20_000;
/// Loads a second that the database can be asked for.
const BUDGET: u64 = 300;
const RATE_DEFAULT: f64 = 10_000.0;
/// Readers, each with a connection, and how many reads each sends at once.
const READERS: usize = 8;
const PIPELINE: usize = 25;
/// How long the first server runs, and then each of the others.
const RECORDED_FOR_S: f64 = 180.0;
const WATCHED_FOR_S: f64 = 300.0;
/// Windows in which hit rates are taken.
const WINDOW: Duration = Duration::from_secs(1);

fn variable(name: &str, or: f64) -> f64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(or)
}

fn scaled(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds * variable("TRUEUP_FIGURES_TIME", 1.0))
}

/// Draws ids so that the n-th is drawn n times less often than the first.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new() -> Self {
        let mut sum = 0.0;
        Self(
            (1..=PRODUCTS)
                .map(|rank| {
                    sum += 1.0 / rank as f64;
                    sum
                })
                .collect(),
        )
    }

    fn draw(&self) -> usize {
        let at = random::number() as f64 / u64::MAX as f64 * self.0[PRODUCTS - 1];
        // Ranks are spread over the ids.
        (self.0.partition_point(|sum| *sum < at).min(PRODUCTS - 1) * 7_919) % PRODUCTS + 1
    }
}

/// What became of reads in one window.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    hits: u64,
    l2: u64,
    source: u64,
    refused: u64,
}

impl Window {
    fn reads(&self) -> u64 {
        self.hits + self.l2 + self.source + self.refused
    }

    /// Share answered without the source.
    fn hit_rate(&self) -> f64 {
        (self.hits + self.l2) as f64 / self.reads().max(1) as f64
    }
}

struct World {
    postgres: Postgres,
    redis: Redis,
    folder: tempfile::TempDir,
    clock: Clock,
}

impl World {
    fn start() -> Self {
        let postgres = Postgres::start(&PostgresOptions::default()).unwrap();
        postgres
            .query(&format!(
                "CREATE TABLE product (id int PRIMARY KEY, name text NOT NULL); \
                 INSERT INTO product SELECT g, repeat('thing ', 20) || g FROM generate_series(1, {PRODUCTS}) g"
            ))
            .unwrap();
        let redis = Redis::start(&RedisOptions::default()).unwrap();
        Self { postgres, redis, folder: tempfile::tempdir().unwrap(), clock: Clock::system() }
    }

    fn hot_keys(&self) -> PathBuf {
        self.folder.path().join("state/hot-keys")
    }

    /// A server that starts as `cold_start` says, once it says that it is ready, and how long that took.
    fn serve(&self, cold_start: &str) -> (Server, Duration) {
        let (resp, http) = (free_port().unwrap(), free_port().unwrap());
        let config = format!(
            "[source]\nurl = \"{}\"\nloads_max = 16\nloads_per_second_max = {BUDGET}\ncritical_reserve = \"0%\"\n\
             [fleet]\nadvertise = \"http://127.0.0.1:{http}\"\nstate_dir = \"state\"\nsave_every = \"2s\"\n\
             [l2]\nurls = [\"{}\"]\n[memory]\nbuckets = 65536\n\
             [warm]\nwithin = \"60s\"\n\
             [class.product]\ntable = \"product\"\nkey = [\"id\"]\ncold_start = \"{cold_start}\"\nmax_staleness = \"5s\"\n",
            self.postgres.url(),
            self.redis.url()
        );
        let file = self.folder.path().join("trueup.toml");
        std::fs::write(&file, config).unwrap();
        let began = self.clock.now();
        let mut command = trueup_testbed::tied(env!("CARGO_BIN_EXE_trueup"));
        command.current_dir(self.folder.path()).args(["serve", "--install-feed"]).args([
            "--resp",
            &format!("127.0.0.1:{resp}"),
            "--http",
            &format!("127.0.0.1:{http}"),
        ]);
        let server = Server::start(command);
        (server, self.clock.now().since(began))
    }

    /// Rows that the database has read from the table so far.
    fn rows_read(&self) -> u64 {
        let sql = "SELECT coalesce(idx_tup_fetch, 0) + coalesce(seq_tup_read, 0) FROM pg_stat_user_tables WHERE relname = 'product'";
        self.postgres.query(sql).unwrap().trim().parse().unwrap()
    }
}

/// The windows of a server under load, for so long; and its loads in each.
fn under_load(server: &Server, clock: &Clock, span: Duration) -> (Vec<Window>, Vec<u64>) {
    let (zipf, stop) = (Arc::new(Zipf::new()), Arc::new(AtomicBool::new(false)));
    let window = Arc::new(Mutex::new(Window::default()));
    let pause =
        Duration::from_secs_f64((READERS * PIPELINE) as f64 / variable("TRUEUP_FIGURES_RATE", RATE_DEFAULT));
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let (zipf, stop, window, resp) =
                (Arc::clone(&zipf), Arc::clone(&stop), Arc::clone(&window), server.resp.clone());
            std::thread::spawn(move || read(&resp, &zipf, pause, &stop, &window))
        })
        .collect();
    let (began, mut windows, mut loads) = (clock.now(), Vec::new(), vec![loads_of(server)]);
    while clock.now().since(began) < span {
        std::thread::sleep(WINDOW);
        windows.push(std::mem::take(&mut *window.lock().unwrap()));
        loads.push(loads_of(server));
    }
    stop.store(true, Ordering::SeqCst);
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    (windows, loads.windows(2).map(|pair| pair[1] - pair[0]).collect())
}

fn read(resp: &str, zipf: &Zipf, pause: Duration, stop: &AtomicBool, window: &Mutex<Window>) {
    let clock = Clock::system();
    let mut stream = TcpStream::connect(resp).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut replies = BufReader::new(stream.try_clone().unwrap());
    let mut due: Nanos = clock.now();
    while !stop.load(Ordering::SeqCst) {
        let batch: String =
            (0..PIPELINE).map(|_| format!("TRUEUP.GET product {}\r\n", zipf.draw())).collect();
        stream.write_all(batch.as_bytes()).unwrap();
        let mut seen = Window::default();
        for _ in 0..PIPELINE {
            match reply(&mut replies).as_str() {
                "l1" => seen.hits += 1,
                "l2" => seen.l2 += 1,
                "source" => seen.source += 1,
                _ => seen.refused += 1,
            }
        }
        let mut all = window.lock().unwrap();
        all.hits += seen.hits;
        all.l2 += seen.l2;
        all.source += seen.source;
        all.refused += seen.refused;
        drop(all);
        // A reader that waited does not make up for it.
        due = due.after(pause).max(clock.now());
        std::thread::sleep(due.since(clock.now()));
    }
}

/// The last word of a reply.
fn reply(replies: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    replies.read_line(&mut line).unwrap();
    let line = line.trim_end();
    let length = || line[1..].parse::<usize>();
    match line.as_bytes()[0] {
        b'*' => (0..length().unwrap()).map(|_| reply(replies)).last().unwrap_or_default(),
        b'$' if line != "$-1" => {
            let mut bytes = vec![0; length().unwrap() + 2];
            replies.read_exact(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes[..bytes.len() - 2]).into_owned()
        }
        _ => line.to_owned(),
    }
}

fn loads_of(server: &Server) -> u64 {
    let text = server.get("/metrics", "");
    let counts =
        text.lines().filter(|line| line.starts_with("trueup_load_duration_seconds_count{class=\"product\""));
    counts.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
}

fn end(server: Server) {
    server.signal("TERM");
    let ended = server.ends();
    assert_eq!(ended.code, 0, "{}", ended.err);
}

fn copy(from: &Path, to: &Path) {
    std::fs::copy(from, to).unwrap();
}

#[test]
#[ignore = "takes half an hour"]
fn a_server_started_under_load_is_as_good_as_before_much_sooner_when_it_warms() {
    let world = World::start();
    let (server, _) = world.serve("warm");
    let (windows, _) = under_load(&server, &world.clock, scaled(RECORDED_FOR_S));
    end(server);
    let kept = world.folder.path().join("kept");
    copy(&world.hot_keys(), &kept);
    let last = &windows[windows.len() * 3 / 4..];
    let warm = last.iter().map(Window::hit_rate).sum::<f64>() / last.len() as f64;
    let per_second = last.iter().map(Window::reads).sum::<u64>() as f64 / last.len() as f64;
    println!(
        "\n{PRODUCTS} products, {per_second:.0} reads a second (Zipf), a budget of {BUDGET} loads a second; warm hit rate {:.2} %\n",
        warm * 100.0
    );
    println!(
        "| | ready after s | hit rate of the first second | 95 % of the warm one after s | reads refused | loads | rows read | busiest second, loads |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let mut firsts = Vec::new();
    for (name, cold_start, keeps_l2) in [
        ("cold, Redis empty", "empty", false),
        ("warming, Redis empty", "warm", false),
        ("cold, Redis filled", "empty", true),
        ("warming, Redis filled", "warm", true),
    ] {
        if !keeps_l2 {
            world.redis.cli(&["FLUSHALL"]).unwrap();
        }
        copy(&kept, &world.hot_keys());
        let rows = world.rows_read();
        let (server, ready) = world.serve(cold_start);
        let at_start = loads_of(&server);
        let (windows, loads) = under_load(&server, &world.clock, scaled(WATCHED_FOR_S));
        end(server);
        // The database tells what its sessions have read once they have ended.
        std::thread::sleep(Duration::from_secs(2));
        let reached = windows.iter().position(|window| window.hit_rate() >= 0.95 * warm);
        let reached = reached.map_or_else(|| format!("not in {}", windows.len()), |at| at.to_string());
        let (refused, reads): (u64, u64) =
            (windows.iter().map(|w| w.refused).sum(), windows.iter().map(Window::reads).sum());
        println!(
            "| {name} | {:.1} | {:.1} % | {reached} | {:.2} % | {} | {} | {} |",
            ready.as_secs_f64(),
            windows[0].hit_rate() * 100.0,
            refused as f64 / reads.max(1) as f64 * 100.0,
            at_start + loads.iter().sum::<u64>(),
            world.rows_read() - rows,
            loads.iter().max().unwrap()
        );
        firsts.push(windows[0].hit_rate());
    }
    assert!(firsts[1] > firsts[0] && firsts[3] >= firsts[1] * 0.9, "{firsts:?}");
}
