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

const ANN: &str = "0197b1f0-0000-7000-8000-00000000000a";
const BEN: &str = "0197b1f0-0000-7000-8000-00000000000b";
const OPENING: i64 = 100_000;
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
    folder: TempDir,
    database: String,
    gateway: Child,
    gateway_at: SocketAddr,
    http: SocketAddr,
    service: Option<Child>,
    extra: Vec<String>,
    draw: Draw,
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
fn eventually<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
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

/// Who wakes late tells what the other did; or, if the time of its request ran out while it stood still, that the same key will.
fn assert_tells_what_happened(woken: &Answer) {
    let told = [200, 201].contains(&woken.status);
    let late = woken.status == 503 && String::from_utf8_lossy(&woken.body).contains("with the same key");
    assert!(told || late, "{woken:?}");
}

/// Waits until a process has stopped.
fn until_stopped(pid: u32) {
    eventually("the process to stop", || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let state = stat.rsplit_once(") ").unwrap().1.chars().next().unwrap();
        if state == 'T' { Ok(()) } else { Err(format!("it is in state {state}")) }
    });
}

fn local(port: u16) -> SocketAddr {
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

    fn command(&self, http: SocketAddr) -> Command {
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
    fn up(&mut self, at: Option<(&str, &str)>) {
        let mut command = self.command(self.http);
        if let Some((variable, point)) = at {
            command.env(variable, point);
        }
        self.service = Some(spawn(command).unwrap());
        self.ready(self.http);
    }

    fn ready(&self, http: SocketAddr) {
        eventually("the service and its gateway", || {
            let log = || std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            let up = ask(http, "GET", "/readyz", &[], None).is_some_and(|answer| answer.status == 204);
            let gateway = ask(self.gateway_at, "GET", "/book", &[], None).is_some();
            if up && gateway { Ok(()) } else { Err(log()) }
        });
    }

    fn bearer(&self, who: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(format!("{who}.token"))).unwrap()
    }

    fn ask(&self, who: &str, method: &str, path: &str, key: &str, body: Option<&Json>) -> Option<Answer> {
        self.ask_at(self.http, who, method, path, key, body)
    }

    fn ask_at(
        &self,
        http: SocketAddr,
        who: &str,
        method: &str,
        path: &str,
        key: &str,
        body: Option<&Json>,
    ) -> Option<Answer> {
        let bearer = format!("Bearer {}", self.bearer(who));
        ask(http, method, path, &[("authorization", &bearer), ("idempotency-key", key)], body)
    }

    fn script(&self, faults: &[&str]) {
        assert_eq!(ask(self.gateway_at, "POST", "/script", &[], Some(&json!(faults))).unwrap().status, 200);
    }

    /// How often money moved at the gateway for a reference.
    fn moved(&self, reference: &str) -> u64 {
        let book: Json =
            serde_json::from_slice(&ask(self.gateway_at, "GET", "/book", &[], None).unwrap().body).unwrap();
        book[reference].as_u64().unwrap_or(0)
    }

    /// Waits until the service was killed by its own signal.
    fn died(&mut self) {
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

    fn audit(&self) -> (bool, String) {
        let out = Command::new(env!("CARGO_BIN_EXE_payments"))
            .args(["audit", "--database", &self.database])
            .arg("--data")
            .arg(self.folder.path())
            .output()
            .unwrap();
        (out.status.success(), String::from_utf8(out.stdout).unwrap())
    }

    /// Waits until nothing is under way; the books are right all the time.
    fn rest(&self) {
        eventually("nothing under way", || {
            let (right, found) = self.audit();
            assert!(right, "{found}");
            let open =
                ["holds", "unfinished", "keys"].iter().any(|what| !found.contains(&format!("{what}: 0")));
            if open { Err(found) } else { Ok(()) }
        });
    }

    fn balance(&self) -> i64 {
        let answer =
            self.ask("olga", "GET", &format!("/accounts/{ANN}/statement?limit=1"), "", None).unwrap();
        let page: Json = serde_json::from_slice(&answer.body).unwrap();
        page["lines"][0]["balance_after"].as_i64().unwrap()
    }

    fn count_of_postings(&self, kind: &str) -> usize {
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

/// What was asked of a service that died of it.
pub(crate) struct Crashed<'w> {
    world: Option<&'w mut World>,
    who: &'static str,
    path: String,
    key: String,
    body: Json,
    /// What the wallet is to have afterwards.
    balance: i64,
    posting: &'static str,
    /// References at the gateway.
    references: Vec<String>,
    replays: bool,
}

impl<'w> Crashed<'w> {
    fn new(who: &'static str, path: String, body: Json, balance: i64, posting: &'static str) -> Self {
        let references = vec![body["id"].as_str().unwrap().to_owned()];
        Self { world: None, who, path, key: id(), body, balance, posting, references, replays: true }
    }

    fn ask(&self, world: &World) -> Option<Answer> {
        world.ask(self.who, "POST", &self.path, &self.key, Some(&self.body))
    }

    fn crash(self, world: &'w mut World, point: &str) -> Self {
        let asked = self.ask(world);
        let late = ["consumer-committed", "published"].contains(&point);
        assert!(asked.is_none() || late, "the service died before it answered: {asked:?}");
        world.died();
        // Before leases have ended, or after.
        std::thread::sleep(Duration::from_millis(world.draw.from(0..=1_600) as u64));
        Self { world: Some(world), ..self }
    }

    fn up(mut self) -> Self {
        self.world.as_mut().unwrap().up(None);
        self
    }

    /// Of an amount of which 1.4 % are whole cents; these and 25 cents are the fee.
    fn a_charge(world: &mut World) -> Self {
        let amount = 500 * world.draw.from(1..=100);
        let body =
            json!({"id": id(), "account": ANN, "amount": amount, "currency": "EUR", "card": "tok_visa"});
        Self::new("ann", "/payments".to_owned(), body, OPENING + amount - amount * 14 / 1_000 - 25, "charge")
    }

    pub(crate) fn charge(world: &'w mut World, point: &str, fault: &str) -> Self {
        world.up(Some(("PAYMENTS_CRASH_AT", point)));
        world.script(&[fault]);
        Self::a_charge(world).crash(world, point).up()
    }

    pub(crate) fn charge_without_replay(world: &'w mut World, point: &str, fault: &str) -> Self {
        Self { replays: false, ..Self::charge(world, point, fault) }
    }

    pub(crate) fn charge_and_stay_down(world: &mut World, point: &str, fault: &str) -> Crashed<'static> {
        world.up(Some(("PAYMENTS_CRASH_AT", point)));
        world.script(&[fault]);
        let charge = Crashed::a_charge(world);
        assert!(charge.ask(world).is_none());
        world.died();
        charge
    }

    pub(crate) fn up_again(self, world: &mut World) -> Crashed<'_> {
        world.up(None);
        Crashed {
            world: Some(world),
            who: self.who,
            path: self.path,
            key: self.key,
            body: self.body,
            balance: self.balance,
            posting: self.posting,
            references: self.references,
            replays: self.replays,
        }
    }

    pub(crate) fn transfer(world: &'w mut World, point: &str) -> Self {
        world.up(Some(("PAYMENTS_CRASH_AT", point)));
        // A larger one would need a one-time password.
        let amount = world.draw.from(1..=10_000);
        let body = json!({"id": id(), "from": ANN, "to": BEN, "amount": amount, "currency": "EUR"});
        let mut transfer = Self::new("ann", "/transfers".to_owned(), body, OPENING - amount, "transfer");
        transfer.references.clear();
        transfer.crash(world, point).up()
    }

    pub(crate) fn refund(world: &'w mut World, point: &str, fault: &str) -> Self {
        world.up(None);
        let charge = Self::a_charge(world);
        assert_eq!(charge.ask(world).unwrap().status, 201);
        let mut first = world.service.take().unwrap();
        first.kill().unwrap();
        first.wait().unwrap();
        world.up(Some(("PAYMENTS_CRASH_AT", point)));
        world.script(&[fault]);
        let payment = charge.references[0].clone();
        let amount = world.draw.from(1..=charge.body["amount"].as_i64().unwrap());
        let body = json!({"id": id(), "amount": amount, "currency": "EUR"});
        let path = format!("/payments/{payment}/refunds");
        let mut refund = Self::new("olga", path, body, charge.balance - amount, "refund");
        refund.references.push(payment);
        refund.crash(world, point).up()
    }

    /// A worker pauses at a point; the completer finishes its work; then it wakes.
    pub(crate) fn paused_and_woken(world: &'w mut World, point: &str) -> Self {
        world.up(Some(("PAYMENTS_PAUSE_AT", point)));
        world.script(&[if point == "after-unanswered" { "lose-reply" } else { "none" }]);
        let charge = Self::a_charge(world);
        let (http, bearer) = (world.http, format!("Bearer {}", world.bearer(charge.who)));
        let (path, key, body) = (charge.path.clone(), charge.key.clone(), charge.body.clone());
        let waiting = std::thread::spawn(move || {
            ask(http, "POST", &path, &[("authorization", &bearer), ("idempotency-key", &key)], Some(&body))
        });
        eventually("the intent", || {
            let (_, found) = world.audit();
            if found.contains("unfinished: 1") { Ok(()) } else { Err(found) }
        });
        world.rest();
        std::fs::write(world.folder.path().join("wake"), "").unwrap();
        let woken = waiting.join().unwrap().expect("an answer of the one that woke");
        assert_tells_what_happened(&woken);
        Self { world: Some(world), ..charge }
    }

    /// The service stops at a point; another instance finishes its work; then it wakes.
    pub(crate) fn stopped_and_woken(world: &'w mut World, point: &str) -> Self {
        world.up(Some(("PAYMENTS_STOP_AT", point)));
        world.script(&["none"]);
        let charge = Self::a_charge(world);
        let (http, bearer) = (world.http, format!("Bearer {}", world.bearer(charge.who)));
        let (path, key, body) = (charge.path.clone(), charge.key.clone(), charge.body.clone());
        let waiting = std::thread::spawn(move || {
            ask(http, "POST", &path, &[("authorization", &bearer), ("idempotency-key", &key)], Some(&body))
        });
        let pid = world.service.as_ref().unwrap().id();
        until_stopped(pid);
        let other = local(free_port().unwrap());
        let mut second = spawn(world.command(other)).unwrap();
        world.ready(other);
        world.rest();
        Command::new("kill").args(["-CONT", &pid.to_string()]).status().unwrap();
        let woken = waiting.join().unwrap().expect("an answer of the one that woke");
        assert_tells_what_happened(&woken);
        second.kill().unwrap();
        second.wait().unwrap();
        Self { world: Some(world), ..charge }
    }

    /// Everything that must hold; some come back at once, beside whoever completes what was left.
    pub(crate) fn assert_once(mut self, what: &str) {
        let impatient = self.world.as_mut().unwrap().draw.from(0..=2);
        let Self { world, replays, .. } = &self;
        let world = &**world.as_ref().unwrap();
        std::thread::scope(|scope| {
            let asked: Vec<_> =
                (0..if *replays { impatient } else { 0 }).map(|_| scope.spawn(|| self.ask(world))).collect();
            for answer in asked {
                let answer = answer.join().unwrap().unwrap_or_else(|| panic!("{what}: no answer"));
                assert!([200, 201, 202, 409].contains(&answer.status), "{what}: {answer:?}");
            }
        });
        world.rest();
        let first = self.ask(world).unwrap_or_else(|| panic!("{what}: no answer"));
        assert!([200, 201, 202].contains(&first.status), "{what}: {first:?}");
        world.rest();
        let (one, two) = (self.ask(world).unwrap(), self.ask(world).unwrap());
        assert!([200, 201].contains(&one.status), "{what}: {one:?}");
        assert_eq!((one.status, &one.body), (two.status, &two.body), "{what}: a repeat gets one answer");
        if first.status == 201 && *replays {
            assert_eq!(first.body, one.body, "{what}");
        }
        assert_eq!(
            world.count_of_postings(self.posting),
            1 + usize::from(self.posting == "transfer"),
            "{what}"
        );
        assert_eq!(world.balance(), self.balance, "{what}");
        for reference in &self.references {
            assert_eq!(world.moved(reference), 1, "{what}: money moved once");
        }
        world.rest();
    }
}
