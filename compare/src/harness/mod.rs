//! Starts servers and drivers, and measures one rival after the other, round by round.

mod faults;
mod missing;
mod process;
mod proxy;
mod servers;
mod size;

use std::{path::PathBuf, process::Command as Program, thread, time::Duration};

use anyhow::{Context as _, Result};
use trueup_testbed::eventually;

use self::{
    faults::Fault,
    process::Driver,
    servers::{Pair, Servers},
};
pub(crate) use self::{
    missing::{Missing, servers as missing_servers},
    size::Size,
};
use crate::{
    clock::nanos,
    driver::write_sequence,
    judge::{History, Verdict},
    names::Name,
    protocol::{Answer, Command, Open, Watch},
};

/// How old an answer may be: older ones are wrong, of whichever rival.
pub(crate) const BOUND: Duration = Duration::from_millis(250);
/// The life of an entry, in every tier that has lives.
pub(crate) const LIFE: Duration = Duration::from_secs(300);
/// Tasks that read at once in the measured phases.
pub(crate) const TASKS: usize = 64;
/// Readers of one key at once.
pub(crate) const CROWD: usize = 1_000;
/// Connections to the database of each node.
pub(crate) const CONNECTIONS: usize = 16;
/// Reads of each node in the judged phases, a second.
pub(crate) const READS_PER_S: u64 = 2_000;
/// Bursts of writes of each node, a second; and writes of one row in a burst.
pub(crate) const BURSTS_PER_S: u64 = 40;
/// Writes of one row in a burst.
pub(crate) const BURST: usize = 3;
/// Keys that every memory must have room for.
const ENTRIES: u64 = 200_000;
/// Keys of a sequence.
const SEQUENCE: usize = 1 << 20;
/// A node that has just started is left alone for so long: connections, subscriptions, what is written behind.
const SETTLE: Duration = Duration::from_secs(1);
/// How long the table is locked while a crowd arrives.
const LOCKED_S: u32 = 1;
/// A command may take longer than it says by so much.
const PATIENCE: Duration = Duration::from_secs(90);

/// What one round has found of one rival.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) memory: Answer,
    pub(crate) remote: Answer,
    /// Reads of the second tier that the database had to answer.
    pub(crate) remote_loads: u64,
    pub(crate) miss: Answer,
    /// Loads of the row that a crowd asked for.
    pub(crate) crowd: u64,
    /// Readers of the crowd that got no answer.
    pub(crate) crowd_failed: u64,
    pub(crate) race: Verdict,
    pub(crate) lost: Option<Verdict>,
    pub(crate) failover: Option<Verdict>,
}

/// Everything that runs.
pub(crate) struct Harness {
    servers: Servers,
    folder: tempfile::TempDir,
    size: Size,
    missing: Missing,
    started: usize,
}

impl Harness {
    /// Starts the servers and draws the keys.
    pub(crate) fn start(size: Size, seed: u64, missing: Missing) -> Result<Self> {
        let servers = Servers::start(size.cold_keys + 1_000)?;
        let folder = tempfile::Builder::new().prefix("trueup-compare-").tempdir()?;
        write_sequence(&folder.path().join("hot"), size.hot_keys, SEQUENCE, seed)?;
        write_sequence(&folder.path().join("judged"), size.judged_keys, SEQUENCE, seed ^ 1)?;
        Ok(Self { servers, folder, size, missing, started: 0 })
    }

    /// One round of one rival.
    pub(crate) fn round(&mut self, name: Name, number: usize) -> Result<Found> {
        let (memory, remote, remote_loads, miss, crowd) = self.measured(name, number)?;
        let race = self.judged(name, Fault::None)?;
        let lost = name.has_messages().then(|| self.judged(name, Fault::Lost)).transpose()?;
        let failover = name.has_redis().then(|| self.judged(name, Fault::Failover)).transpose()?;
        self.servers.clean()?;
        let (crowd, crowd_failed) = crowd;
        Ok(Found { memory, remote, remote_loads, miss, crowd, crowd_failed, race, lost, failover })
    }

    /// Starts a node and connects it.
    fn node(&mut self, name: Name, redis: &str, folder: &str) -> Result<Driver> {
        self.started += 1;
        let log = self.folder.path().join(format!("{}-{}.log", name.argument(), self.started));
        let mut driver = Driver::start(name.title(), self.missing.program(name)?, &log)?;
        let open = Open {
            postgres: self.servers.postgres.url(),
            redis: redis.to_owned(),
            folder: self.folder.path().join(format!("{}-{folder}", name.argument())),
            life_s: LIFE.as_secs(),
            bound_ms: u64::try_from(BOUND.as_millis())?,
            entries: ENTRIES,
            connections: CONNECTIONS,
        };
        driver.ask(&Command::Open(open), PATIENCE)?;
        Ok(driver)
    }

    /// The phases without writes: a node that has nothing reads each key, one that starts after it finds them in the second
    /// tier, and then reads popular ones from memory.
    #[expect(clippy::type_complexity, reason = "a list of figures, taken apart at once by its one caller")]
    fn measured(&mut self, name: Name, number: usize) -> Result<(Answer, Answer, u64, Answer, (u64, u64))> {
        let Size { hot_keys, cold_keys, phase, .. } = self.size;
        let limit_ms = u64::try_from(phase.as_millis())?;
        self.servers.clean()?;
        let (redis, folder) = (self.servers.redis.url(), format!("round-{number}"));
        let mut first = self.node(name, &redis, &folder)?;
        thread::sleep(SETTLE);
        let each = |keys| Command::Each { keys, tasks: TASKS, limit_ms };
        let miss = first.ask(&each(cold_keys), PATIENCE + phase)?;
        thread::sleep(SETTLE);
        first.ask(&Command::HandOver, PATIENCE)?;
        // Of others than disks the first node lives on, as nodes of a fleet do.
        let _first = name.has_redis().then_some(first);
        let mut second = self.node(name, &redis, &folder)?;
        thread::sleep(SETTLE);
        self.servers.forget_loads()?;
        let remote = second.ask(&each(miss.reads), PATIENCE + phase)?;
        let remote_loads = self.servers.loads()?;
        let hot = Command::Hot {
            sequence: self.folder.path().join("hot"),
            keys: u64::from(hot_keys),
            tasks: TASKS,
            run_ms: limit_ms,
        };
        let memory = second.ask(&hot, PATIENCE + phase)?;
        let crowd = self.crowd(&mut second, i64::try_from(cold_keys)? + 1)?;
        Ok((memory, remote, remote_loads, miss, crowd))
    }

    /// A thousand readers of one key that nobody has read, while the database takes its time: the table is locked. The
    /// database's own count says how often it was asked.
    fn crowd(&self, node: &mut Driver, key: i64) -> Result<(u64, u64)> {
        let postgres = &self.servers.postgres;
        self.servers.forget_loads()?;
        let answer = thread::scope(|scope| {
            let lock = format!(
                "BEGIN; LOCK TABLE item IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep({LOCKED_S}); COMMIT"
            );
            let locked = scope.spawn(move || postgres.query(&lock));
            eventually("the lock", || {
                let held = "SELECT 1 / count(*) FROM pg_locks \
                    WHERE relation = 'item'::regclass AND mode = 'AccessExclusiveLock' AND granted";
                postgres.query(held)
            })?;
            let answer = node.ask(&Command::Crowd { key, readers: CROWD }, PATIENCE);
            locked.join().ok().context("the lock's thread panicked")??;
            answer
        })?;
        Ok((self.servers.loads()?, answer.failed))
    }

    /// Two nodes read and write the same keys, while something happens; every read is held against the history.
    fn judged(&mut self, name: Name, fault: Fault) -> Result<Verdict> {
        let Size { judged, judged_keys, .. } = self.size;
        self.servers.clean()?;
        let mut pair = if fault == Fault::Failover { Some(Pair::start()?) } else { None };
        let redis = pair.as_ref().map_or_else(|| self.servers.redis.url(), Pair::url);
        let mut nodes = Vec::new();
        for node in 0..2 {
            let folder = format!("judged-{}", self.started);
            let driver = self.node(name, &redis, &folder)?;
            let file: PathBuf = self.folder.path().join(format!("history-{node}"));
            nodes.push((driver, file));
        }
        thread::sleep(SETTLE);
        for (index, (driver, file)) in nodes.iter_mut().enumerate() {
            driver.send(&Command::Watch(Watch {
                sequence: self.folder.path().join("judged"),
                offset: index * SEQUENCE / 2,
                readers: 32,
                reads_per_s: READS_PER_S,
                writers: 4,
                bursts_per_s: BURSTS_PER_S,
                burst: BURST,
                run_ms: u64::try_from(judged.as_millis())?,
                file: file.clone(),
            }))?;
        }
        faults::happen(fault, judged, &self.servers, pair.as_mut())?;
        let mut history = History::default();
        for (driver, file) in &mut nodes {
            driver.answer(PATIENCE + judged)?;
            history.add(file)?;
        }
        history.judge(&self.servers.versions(judged_keys)?, nanos(BOUND))
    }
}

/// How a driver that is this very program is started.
fn own(name: Name) -> Result<Program> {
    let mut program = Program::new(std::env::current_exe()?);
    program.args(["drive", &name.argument()]);
    Ok(program)
}
