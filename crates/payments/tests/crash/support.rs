//! Processes to kill: the service and its gateway, each of its own.

use std::{
    net::SocketAddr,
    os::unix::process::ExitStatusExt as _,
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use serde_json::{Value as Json, json};
use tempfile::TempDir;
use trueup_testbed::{free_port, spawn, tied};

use crate::{
    ask::{Answer, ask},
    draw::Draw,
};

pub(crate) const ANN: &str = "0197b1f0-0000-7000-8000-00000000000a";
pub(crate) const BEN: &str = "0197b1f0-0000-7000-8000-00000000000b";
pub(crate) const OPENING: i64 = 100_000;
/// Standing orders: two chunks of them.
const ORDERS: i64 = 60;
const SIGKILL: i32 = 9;

/// Where the books are.
pub(crate) enum Place {
    Sqlite,
    Postgres,
}

impl Place {
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite
    }

    pub(crate) fn postgres() -> Self {
        Self::Postgres
    }

    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Sqlite => Self::Sqlite,
            Self::Postgres => Self::Postgres,
        }
    }

    fn url(&self, folder: &std::path::Path) -> String {
        static SERVER: OnceLock<trueup_testbed::Postgres> = OnceLock::new();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        match self {
            Self::Sqlite => format!("sqlite:{}", folder.join("payments.db").display()),
            Self::Postgres => {
                let options = trueup_testbed::PostgresOptions::default();
                let options = options.set("max_connections", "300").set("max_replication_slots", "40");
                let server = SERVER.get_or_init(|| {
                    trueup_testbed::Postgres::start(&options.set("max_wal_senders", "40")).unwrap()
                });
                let name = format!("world_{}", COUNT.fetch_add(1, Ordering::SeqCst));
                server.query(&format!("CREATE DATABASE {name}")).unwrap();
                let url = server.url();
                format!("{}/{name}", url.rsplit_once('/').unwrap().0)
            }
        }
    }
}

/// A folder, a database, a gateway; and a service, while it lives.
pub(crate) struct World {
    place: Place,
    pub(crate) folder: TempDir,
    database: String,
    gateway: Child,
    gateway_at: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) service: Option<Child>,
    extra: Vec<String>,
    pub(crate) draw: Draw,
    /// Leases that end soon, and a gateway that is given up soon.
    times: [String; 6],
}

impl Drop for World {
    fn drop(&mut self) {
        for child in self.service.iter_mut().chain([&mut self.gateway]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits until `look` gives something; a minute at most.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    const PAUSE: Duration = Duration::from_millis(20);
    let mut why = String::new();
    for _ in 0..3_000 {
        match look() {
            Ok(found) => return found,
            Err(not_yet) => why = not_yet,
        }
        std::thread::sleep(PAUSE);
    }
    panic!("waited in vain for {what}: {why}");
}

/// Waits until a process has stopped.
pub(crate) fn until_stopped(pid: u32) {
    eventually("the process to stop", || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let state = stat.rsplit_once(") ").unwrap().1.chars().next().unwrap();
        if state == 'T' { Ok(()) } else { Err(format!("it is in state {state}")) }
    });
}

pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

pub(crate) fn id() -> String {
    payments::domain::Id::new(trueup::engine::env::unix_ms()).text()
}

impl World {
    pub(crate) fn start(place: Place) -> Self {
        Self::start_with(place, &[])
    }

    pub(crate) fn start_with(place: Place, extra: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), [7; 32]).unwrap();
        let (gateway_at, http) = (local(free_port().unwrap()), local(free_port().unwrap()));
        let window =
            extra.iter().position(|one| *one == "--key-window-ms").map_or("60000", |at| extra[at + 1]);
        let mut gateway = tied(env!("CARGO_BIN_EXE_payments-gateway"));
        gateway
            .args([
                "--http",
                &gateway_at.to_string(),
                "--webhook",
                &http.to_string(),
                "--key-window-ms",
                window,
            ])
            .arg("--secret-file")
            .arg(folder.path().join("secret"));
        let gateway = spawn(gateway).unwrap();
        let database = place.url(folder.path());
        let extra = extra.iter().map(ToString::to_string).collect();
        let mut draw = Draw::new();
        let mut ms = |range| draw.from(range).to_string();
        let times = [
            "--lease-ms".to_owned(),
            ms(600..=1_500),
            "--gateway-timeout-ms".to_owned(),
            ms(200..=400),
            "--relay-ttl-ms".to_owned(),
            ms(600..=1_500),
        ];
        Self { place, folder, database, gateway, gateway_at, http, service: None, extra, draw, times }
    }

    pub(crate) fn place_again(&self) -> Place {
        self.place.again()
    }

    /// What the gateway is believed to promise.
    fn window(&self) -> &'static [&'static str] {
        let stated = self.extra.iter().any(|one| one == "--key-window-ms");
        if stated { &[] } else { &["--key-window-ms", "60000", "--margin-ms", "1000"] }
    }

    pub(crate) fn command(&self, http: SocketAddr) -> Command {
        let mut command = tied(env!("CARGO_BIN_EXE_payments"));
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .unwrap();
        command
            .args(["serve", "--demo", "--database", &self.database, "--http", &http.to_string()])
            .args(["--gateway", &self.gateway_at.to_string()])
            .args(self.window())
            .args(&self.times)
            .args(&self.extra)
            .arg("--data")
            .arg(self.folder.path())
            .env("PAYMENTS_PAUSE_UNTIL", self.folder.path().join("wake"))
            .env("RUST_LOG", "warn")
            .stdout(Stdio::null())
            .stderr(log);
        command
    }

    /// Starts the service, to die or stop at a point if one is given, and waits until it answers.
    pub(crate) fn up(&mut self, at: Option<(&str, &str)>) {
        let mut command = self.command(self.http);
        if let Some((variable, point)) = at {
            command.env(variable, point);
        }
        self.service = Some(spawn(command).unwrap());
        self.ready(self.http);
    }

    pub(crate) fn ready(&self, http: SocketAddr) {
        eventually("the service and its gateway", || {
            let log = || std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            let up = ask(http, "GET", "/readyz", &[], None).is_some_and(|answer| answer.status == 204);
            let gateway = ask(self.gateway_at, "GET", "/book", &[], None).is_some();
            if up && gateway { Ok(()) } else { Err(log()) }
        });
    }

    pub(crate) fn bearer(&self, who: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(format!("{who}.token"))).unwrap()
    }

    pub(crate) fn ask(
        &self,
        who: &str,
        method: &str,
        path: &str,
        key: &str,
        body: Option<&Json>,
    ) -> Option<Answer> {
        let bearer = format!("Bearer {}", self.bearer(who));
        ask(self.http, method, path, &[("authorization", &bearer), ("idempotency-key", key)], body)
    }

    pub(crate) fn script(&self, faults: &[&str]) {
        assert_eq!(ask(self.gateway_at, "POST", "/script", &[], Some(&json!(faults))).unwrap().status, 200);
    }

    /// How often money moved at the gateway for a reference.
    pub(crate) fn moved(&self, reference: &str) -> u64 {
        let book: Json =
            serde_json::from_slice(&ask(self.gateway_at, "GET", "/book", &[], None).unwrap().body).unwrap();
        book[reference].as_u64().unwrap_or(0)
    }

    /// Waits until the service was killed by its own signal.
    pub(crate) fn died(&mut self) {
        let mut service = self.service.take().unwrap();
        let status = eventually("the service to die", || match service.try_wait().unwrap() {
            Some(status) => Ok(status),
            None => Err("it lives".to_owned()),
        });
        assert_eq!(
            status.signal(),
            Some(SIGKILL),
            "{}",
            std::fs::read_to_string(self.folder.path().join("log")).unwrap()
        );
    }

    pub(crate) fn audit(&self) -> (bool, String) {
        let out = Command::new(env!("CARGO_BIN_EXE_payments"))
            .args(["audit", "--database", &self.database])
            .arg("--data")
            .arg(self.folder.path())
            .output()
            .unwrap();
        (out.status.success(), String::from_utf8(out.stdout).unwrap())
    }

    /// Waits until nothing is under way; the books are right all the time.
    pub(crate) fn rest(&self) {
        eventually("nothing under way", || {
            let (right, found) = self.audit();
            assert!(right, "{found}");
            let open =
                ["holds", "unfinished", "keys"].iter().any(|what| !found.contains(&format!("{what}: 0")));
            if open { Err(found) } else { Ok(()) }
        });
    }

    pub(crate) fn balance(&self) -> i64 {
        let answer =
            self.ask("olga", "GET", &format!("/accounts/{ANN}/statement?limit=1"), "", None).unwrap();
        let page: Json = serde_json::from_slice(&answer.body).unwrap();
        page["lines"][0]["balance_after"].as_i64().unwrap()
    }

    pub(crate) fn count_of_postings(&self, kind: &str) -> usize {
        let answer =
            self.ask("olga", "GET", &format!("/accounts/{ANN}/statement?limit=200"), "", None).unwrap();
        let page: Json = serde_json::from_slice(&answer.body).unwrap();
        page["lines"].as_array().unwrap().iter().filter(|line| line["kind"] == kind).count()
    }

    /// Kills a settlement at a point, and runs it again.
    pub(crate) fn settle_killed_at(mut self, point: &str) {
        self.up(None);
        self.job_killed_at("settle", point);
        assert_eq!(self.count_of_postings("settlement"), 1, "{point}");
        assert_eq!(self.balance(), OPENING + 5);
        self.rest();
    }
}

impl World {
    /// Kills a job at a point, and runs it until it has come to its end.
    fn job_killed_at(&self, job: &str, point: &str) {
        let killed = self.job(job).env("PAYMENTS_CRASH_AT", point).output().unwrap();
        assert_eq!(killed.status.signal(), Some(SIGKILL));
        self.job_taken_over(job);
    }

    fn job(&self, job: &str) -> Command {
        let mut command = tied(env!("CARGO_BIN_EXE_payments"));
        command
            .args([job, "--date", "2026-11-26", "--database", &self.database])
            .arg("--data")
            .arg(self.folder.path());
        command
    }

    /// The lease of a run that was killed or stopped ends by itself.
    fn job_taken_over(&self, job: &str) {
        eventually("the job to be taken over", || {
            let out = self.job(job).output().unwrap();
            if out.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&out.stdout).into_owned()) }
        });
    }

    /// Stops a job between two chunks, has another go on with it, and wakes the first.
    pub(crate) fn job_stopped_and_woken(mut self, job: &str, point: &str) {
        self.up(None);
        self.order(ORDERS);
        let mut stopped = self.job(job);
        stopped.env("PAYMENTS_STOP_AT", point).stdout(Stdio::piped()).stderr(Stdio::piped());
        let stopped = spawn(stopped).unwrap();
        let pid = stopped.id();
        until_stopped(pid);
        self.job_taken_over(job);
        let postings =
            |world: &Self| (world.count_of_postings("settlement"), world.count_of_postings("standing-order"));
        let after = postings(&self);
        assert_eq!(after, if job == "settle" { (1, 0) } else { (0, ORDERS as usize) });
        Command::new("kill").args(["-CONT", &pid.to_string()]).status().unwrap();
        let woken = stopped.wait_with_output().unwrap();
        assert!(!woken.status.success(), "it is told that it came too late: {woken:?}");
        assert_eq!(postings(&self), after);
        self.rest();
    }

    /// Standing orders of ann's, all due on the day of the jobs here.
    fn order(&self, orders: i64) {
        for _ in 0..orders {
            let order = json!({"id": id(), "from": ANN, "to": BEN, "amount": 10, "currency": "EUR", "day": 26, "first_month": "2026-01"});
            let answer = self.ask("ann", "POST", "/standing-orders", &id(), Some(&order)).unwrap();
            assert_eq!(answer.status, 201, "{answer:?}");
        }
    }

    /// Kills a run of the standing orders at a point, and runs it again: two chunks of them.
    pub(crate) fn standing_orders_killed_at(mut self, point: &str) {
        self.up(None);
        self.order(ORDERS);
        self.job_killed_at("standing-orders", point);
        assert_eq!(self.count_of_postings("standing-order") as i64, ORDERS, "{point}");
        assert_eq!(self.balance(), OPENING - ORDERS * 10);
        self.rest();
    }
}
