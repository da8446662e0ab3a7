//! One server: its connection, the calls it is given, and whether it is left alone.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use compact_str::{CompactString, ToCompactString as _, format_compact};
use parking_lot::Mutex;
use redis::{Cmd, Pipeline, RedisResult, Value, aio::MultiplexedConnection};
use tokio::sync::{Notify, watch};
use trueup_core::{
    env::Clock,
    guard::Breaker,
    tier::{RemoteMemory, RemoteServer},
};

use super::{
    connect::Connector,
    deadline::Deadline,
    fault::{self, Failure},
    keeper,
    lock::LockScripts,
    options::RedisOptions,
    script::PutScript,
};
use crate::plan::RemoteNode;

/// A server that does not answer a ping within this gets a new connection.
const ALIVE_WITHIN: Duration = Duration::from_millis(300);

/// What all servers of one tier have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: RedisOptions,
    pub(super) connector: Connector,
    pub(super) clock: Clock,
    pub(super) script: PutScript,
    pub(super) locks: LockScripts,
    /// The cluster's slots should be learned anew: a server has said so, or is of no use any more.
    pub(super) map_is_stale: Notify,
    /// Whether a server has ever been of use.
    pub(super) ready: watch::Sender<bool>,
    pub(super) counts: Counts,
}

/// What the tier has done, beyond what the engine counts of any tier.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) connects: AtomicU64,
    pub(super) redirects: AtomicU64,
    pub(super) newer_kept: AtomicU64,
    pub(super) maps: AtomicU64,
}

impl Shared {
    /// Has the cluster's slots learned anew.
    pub(super) fn distrust_map(&self) {
        self.map_is_stale.notify_one();
    }
}

/// One server. Calls go over one connection, which carries them all at once.
pub(super) struct Server {
    pub(super) node: RemoteNode,
    pub(super) endpoint: CompactString,
    shared: Arc<Shared>,
    line: ArcSwapOption<Line>,
    /// Of the line made last.
    line_number: AtomicU64,
    /// Commands that wait for their answers.
    under_way: AtomicUsize,
    breaker: Breaker,
    /// Wakes the one who looks after it.
    pub(super) trouble: Arc<Notify>,
    /// It takes no scripts: entries are written without a look at what is there.
    takes_no_scripts: AtomicBool,
    problem: Mutex<CompactString>,
    /// What it has said of its memory lately.
    pub(super) memory: Mutex<Option<RemoteMemory>>,
    /// More of it is used than suits a cache.
    pub(super) memory_is_high: AtomicBool,
}

/// A connection, numbered: who was let down by one must not give up the next.
#[derive(Debug)]
struct Line {
    number: u64,
    connection: MultiplexedConnection,
}

/// A call that may be made: its way to the server, and its places among the commands under way, until it is dropped.
struct Place<'a> {
    server: &'a Server,
    commands: usize,
    line: u64,
    connection: MultiplexedConnection,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.server.under_way.fetch_sub(self.commands, Ordering::Relaxed);
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("endpoint", &self.endpoint)
            .field("left_alone", &self.breaker.is_open())
            .finish_non_exhaustive()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nobody needs to look after it any more.
        self.trouble.notify_one();
    }
}

impl Server {
    /// A server that is not connected yet. Its keeper connects it: a call never does.
    pub(super) fn start(node: RemoteNode, shared: Arc<Shared>) -> Arc<Self> {
        let server = Arc::new(Self::new(node, shared));
        keeper::keep_server(&server);
        server
    }

    fn new(node: RemoteNode, shared: Arc<Shared>) -> Self {
        let breaker = Breaker::new(shared.options.breaker(), shared.clock.clone());
        breaker.trip();
        Self {
            endpoint: node.to_compact_string(),
            node,
            line: ArcSwapOption::empty(),
            line_number: AtomicU64::new(0),
            under_way: AtomicUsize::new(0),
            breaker,
            trouble: Arc::default(),
            takes_no_scripts: AtomicBool::new(false),
            problem: Mutex::new(CompactString::const_new("it is not connected yet")),
            memory: Mutex::default(),
            memory_is_high: AtomicBool::new(false),
            shared,
        }
    }

    pub(super) fn is_usable(&self) -> bool {
        !self.breaker.is_open()
    }

    /// How long until it may be tried again; none while it is used.
    pub(super) fn due_in(&self) -> Option<Duration> {
        self.breaker.probe_in()
    }

    pub(super) fn told(&self) -> RemoteServer {
        let left_alone = self.breaker.is_open().then(|| self.problem.lock().clone());
        RemoteServer { endpoint: self.endpoint.clone(), left_alone, memory: *self.memory.lock() }
    }

    pub(super) fn takes_scripts(&self) -> bool {
        self.shared.options.prefer_newer && !self.takes_no_scripts.load(Ordering::Relaxed)
    }

    pub(super) fn takes_lock_scripts(&self) -> bool {
        !self.takes_no_scripts.load(Ordering::Relaxed)
    }

    /// Entries are written plainly from now on.
    pub(super) fn give_up_scripts(&self, why: &str) {
        if !self.takes_no_scripts.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                server = %self.endpoint, why,
                "the remote tier takes no scripts: an older entry may replace a newer one there, which costs loads"
            );
        }
    }

    /// Sends one command.
    pub(super) async fn call(&self, command: &Cmd, deadline: &Deadline) -> Result<Value, Failure> {
        let mut place = self.place(1)?;
        match deadline.bound(place.connection.send_packed_command(command)).await {
            Some(Ok(answer)) => {
                self.judge(std::slice::from_ref(&answer));
                Ok(answer)
            }
            Some(Err(error)) => Err(self.let_down(place.line, Failure::of(&error))),
            None => Err(self.late(deadline)),
        }
    }

    /// Sends a pipeline of `commands` and gives an answer to each.
    pub(super) async fn call_all(
        &self,
        pipeline: &Pipeline,
        commands: usize,
        deadline: &Deadline,
    ) -> Result<Vec<Value>, Failure> {
        let mut place = self.place(commands)?;
        match deadline.bound(place.connection.send_packed_commands(pipeline, 0, commands)).await {
            Some(Ok(answers)) if answers.len() == commands => {
                self.judge(&answers);
                Ok(answers)
            }
            Some(Ok(answers)) => {
                let what = format_compact!("{} answers to {commands} commands", answers.len());
                Err(self.let_down(place.line, Failure::Nonsense(what)))
            }
            Some(Err(error)) => Err(self.let_down(place.line, Failure::of(&error))),
            None => Err(self.late(deadline)),
        }
    }

    /// Lets a call of `commands` through, or refuses it at once.
    fn place(&self, commands: usize) -> Result<Place<'_>, Failure> {
        if self.breaker.is_open() {
            return Err(Failure::NotAsked(format_compact!("left alone: {}", self.problem.lock())));
        }
        let (line, connection) = match &*self.line.load() {
            Some(line) => (line.number, line.connection.clone()),
            None => return Err(Failure::NotAsked(CompactString::const_new("not connected"))),
        };
        let most = self.shared.options.calls_max;
        // A call of more commands than may be under way is let through alone.
        let commands = commands.min(most);
        let before = self.under_way.fetch_add(commands, Ordering::Relaxed);
        let place = Place { server: self, commands, line, connection };
        if before.saturating_add(commands) > most {
            return Err(Failure::NotAsked(format_compact!(
                "{most} commands are under way, which is the most"
            )));
        }
        Ok(place)
    }

    fn let_down(&self, line: u64, failure: Failure) -> Failure {
        self.lose(line, &failure);
        failure
    }

    fn late(&self, deadline: &Deadline) -> Failure {
        self.failed(format_compact!("no answer within {:?}", deadline.within));
        Failure::Late
    }

    /// Whether answers show a server that is of use.
    fn judge(&self, answers: &[Value]) {
        let unusable = answers.iter().find_map(|answer| match answer {
            Value::ServerError(error) if fault::is_unusable(error) => Some(fault::words(error)),
            _ => None,
        });
        match unusable {
            None => self.breaker.succeeded(),
            Some(words) => {
                // A cluster that is down may be up by another server's account.
                self.shared.distrust_map();
                self.failed(words);
            }
        }
    }

    /// An answer that none of our commands has.
    pub(super) fn talks_nonsense(&self, what: &CompactString) {
        if let Some(number) = self.line.load().as_ref().map(|line| line.number) {
            self.lose(number, &Failure::Nonsense(what.clone()));
        }
    }

    fn failed(&self, why: CompactString) {
        *self.problem.lock() = why;
        if self.breaker.failed() {
            tracing::warn!(server = %self.endpoint, why = %self.problem.lock(), "a server of the remote tier is left alone");
            self.is_of_no_use();
        }
    }

    fn is_of_no_use(&self) {
        self.trouble.notify_one();
        self.shared.distrust_map();
    }

    /// Gives up the connection of this number, unless another is in its place already.
    fn lose(&self, number: u64, why: &Failure) {
        let current = self.line.load();
        if current.as_ref().is_none_or(|line| line.number != number) {
            return;
        }
        // Nobody but the one who took it away goes on, and a new connection that came in between stays.
        let taken = self.line.compare_and_swap(&current, None);
        if taken.as_ref().is_some_and(|line| line.number == number) {
            self.rest_because(why);
            if self.breaker.trip() {
                tracing::warn!(server = %self.endpoint, why = %self.problem.lock(), "the connection to the remote tier is lost");
            }
            self.is_of_no_use();
        }
    }

    fn rest_because(&self, why: &Failure) {
        *self.problem.lock() = match why {
            Failure::NotAsked(reason) | Failure::Broken(reason) => reason.clone(),
            Failure::Nonsense(reason) => format_compact!("it answered with nonsense: {reason}"),
            Failure::Late => CompactString::const_new("it did not answer in time"),
        };
    }

    /// Asks something outside of the calls of readers: over the connection there is, within `within`.
    pub(super) async fn ask(
        &self,
        pipeline: &Pipeline,
        commands: usize,
        within: Duration,
    ) -> Option<Vec<Value>> {
        let mut connection = self.line.load().as_ref()?.connection.clone();
        let asking = connection.send_packed_commands(pipeline, 0, commands);
        tokio::time::timeout(within, asking).await.ok()?.ok()
    }

    /// Finds out whether a server that is left alone is of use again, over a new connection if the old one is silent.
    pub(super) async fn revive(&self) {
        if let Some(line) = self.line.load_full()
            && self.try_out(&line).await
        {
            return;
        }
        self.line.store(None);
        match self.shared.connector.connect(&self.node).await {
            Ok(connection) => {
                self.shared.counts.connects.fetch_add(1, Ordering::Relaxed);
                let number = self.line_number.fetch_add(1, Ordering::Relaxed) + 1;
                let line = Arc::new(Line { number, connection });
                if self.try_out(&line).await {
                    self.line.store(Some(line));
                }
            }
            Err(failure) => {
                self.rest_because(&failure);
                self.breaker.probe_failed();
            }
        }
    }

    /// Pings over `line` and draws the conclusion; false if it is of no use.
    async fn try_out(&self, line: &Arc<Line>) -> bool {
        let began = self.shared.clock.now();
        let mut pinging = line.connection.clone();
        let pong = tokio::time::timeout(ALIVE_WITHIN, ping(&mut pinging)).await;
        let took = self.shared.clock.now().since(began);
        let unusable = match pong {
            Ok(Ok(Value::ServerError(error))) if fault::is_unusable(&error) => fault::words(&error),
            // A server that answers too late for calls stays connected, and stays left alone.
            Ok(Ok(_)) if took > self.shared.options.get_timeout => {
                format_compact!(
                    "it answers in {took:?}, and calls wait {:?}",
                    self.shared.options.get_timeout
                )
            }
            Ok(Ok(_)) => {
                // Before the breaker lets calls through.
                self.line.store(Some(Arc::clone(line)));
                if self.breaker.is_open() {
                    tracing::info!(server = %self.endpoint, "a server of the remote tier is used");
                }
                self.breaker.close();
                self.shared.ready.send_if_modified(|ready| !std::mem::replace(ready, true));
                return true;
            }
            Ok(Err(error)) => {
                self.rest_because(&Failure::of(&error));
                self.breaker.probe_failed();
                return false;
            }
            Err(_) => {
                self.rest_because(&Failure::Late);
                self.breaker.probe_failed();
                return false;
            }
        };
        *self.problem.lock() = unusable;
        self.breaker.probe_failed();
        true
    }
}

async fn ping(connection: &mut MultiplexedConnection) -> RedisResult<Value> {
    connection.send_packed_command(&redis::cmd("PING")).await
}
