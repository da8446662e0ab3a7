//! Commands on several keys: grouped by server, sent to all at once, and sent on where a cluster says that a key is elsewhere.

use std::{sync::Arc, time::Duration};

use compact_str::{CompactString, format_compact};
use futures_util::future;
use redis::{Cmd, Pipeline, ServerErrorKind, Value};
use trueup_core::tier::{LockOwner, RemoteError, RemoteOperation, RemoteResult};

use super::{
    deadline::Deadline,
    fault::{self, Failure},
    lock::LockAct,
    map::{Map, redirection},
    script::plain_put,
    server::Server,
    servers::Servers,
};

/// How often a command is sent on: to where a slot has moved, to where it is moving, with a script that was not known.
const STEPS_MAX: usize = 4;

/// What is asked about one key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ask<'a> {
    Get,
    Delete,
    Put { envelope: &'a [u8], life: Duration, how: PutHow },
    Lock { act: LockAct, owner: LockOwner, life: Duration, how: PutHow },
}

impl Ask<'_> {
    /// The same by another way; none if it is asked in this way already, or in the only one.
    fn by(self, how: PutHow) -> Option<Self> {
        match self {
            Self::Put { envelope, life, how: was } if was != how => Some(Self::Put { envelope, life, how }),
            Self::Lock { act, owner, life, how: was } if was != how => {
                Some(Self::Lock { act, owner, life, how })
            }
            _ => None,
        }
    }
}

/// How an entry is written, or a lock is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PutHow {
    /// By the digest of a script that keeps the newer entry, or the lock of another.
    Digest,
    /// By its text, because the server does not know it yet.
    Text,
    /// In place of whatever is there.
    Plain,
}

/// One key of a batch.
#[derive(Clone, Debug)]
pub(super) struct Job<'a> {
    /// Where its outcome goes.
    pub(super) index: usize,
    pub(super) name: CompactString,
    pub(super) slot: u16,
    pub(super) ask: Ask<'a>,
}

/// Jobs for one server, sent in one go.
struct Wave<'a> {
    server: Arc<Server>,
    /// The slots are on their way to it: it serves them only to those who say that they know.
    asking: bool,
    jobs: Vec<Job<'a>>,
}

/// What becomes of a job after an answer.
enum Step<'a> {
    Done(RemoteResult<Value>),
    Again { server: Arc<Server>, asking: bool, job: Job<'a> },
}

type Outcome = (usize, RemoteResult<Value>);

impl Servers {
    /// The outcome of one job.
    pub(super) async fn run_one(
        &self,
        mut job: Job<'_>,
        operation: RemoteOperation,
        deadline: &Deadline,
    ) -> RemoteResult<Value> {
        let Some(mut server) = self.owner(job.slot) else { return Err(self.nobody(operation)) };
        let mut asking = false;
        for _ in 0..STEPS_MAX {
            let answer = self.send_one(&job, &server, asking, deadline).await;
            let answer =
                answer.map_err(|failure| failure.told(operation, &server.endpoint, deadline.within))?;
            match self.step(&server, job, answer, operation) {
                (_, Step::Done(outcome)) => return outcome,
                (_, Step::Again { server: next, asking: now, job: again }) => {
                    (server, asking, job) = (next, now, again);
                }
            }
        }
        Err(sent_on_too_often(operation, &server))
    }

    async fn send_one(
        &self,
        job: &Job<'_>,
        server: &Arc<Server>,
        asking: bool,
        deadline: &Deadline,
    ) -> Result<Value, Failure> {
        let command = self.command(job, server);
        if !asking {
            return server.call(&command, deadline).await;
        }
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.cmd("ASKING").add_command(command);
        let answers = server.call_all(&pipeline, 2, deadline).await?;
        answers.into_iter().nth(1).ok_or_else(|| Failure::Nonsense(CompactString::const_new("no answer")))
    }

    /// The outcome of each job, by its index. Servers are asked side by side: the failure of one is the outcome of its own
    /// keys alone.
    pub(super) async fn run(
        &self,
        jobs: Vec<Job<'_>>,
        operation: RemoteOperation,
        deadline: &Deadline,
    ) -> Vec<RemoteResult<Value>> {
        let count = jobs.len();
        let map = self.map();
        let (waves, homeless) = group(&map, jobs);
        let mut outcomes: Vec<Option<RemoteResult<Value>>> = (0..count).map(|_| None).collect();
        let mut place = |(index, outcome): Outcome| {
            if let Some(place) = outcomes.get_mut(index) {
                *place = Some(outcome);
            }
        };
        homeless.into_iter().for_each(|job| place((job.index, Err(self.nobody(operation)))));
        let mut serving = waves.into_iter().map(|wave| self.serve(wave, operation, deadline));
        match (serving.next(), serving.len()) {
            (Some(only), 0) => only.await.into_iter().for_each(&mut place),
            (Some(first), _) => {
                let all = future::join_all(std::iter::once(first).chain(serving)).await;
                all.into_iter().flatten().for_each(&mut place);
            }
            (None, _) => {}
        }
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| Err(self.nobody(operation)))).collect()
    }

    /// No server is known to hold the key.
    fn nobody(&self, operation: RemoteOperation) -> RemoteError {
        self.shared().distrust_map();
        RemoteError::Unavailable {
            operation,
            endpoint: self.name().clone(),
            reason: CompactString::const_new("no server is known to hold the key's slot"),
        }
    }

    /// Asks one server, and those it refers to.
    async fn serve<'a>(
        &self,
        first: Wave<'a>,
        operation: RemoteOperation,
        deadline: &Deadline,
    ) -> Vec<Outcome> {
        let mut done = Vec::with_capacity(first.jobs.len());
        let mut waves = vec![first];
        for _ in 0..STEPS_MAX {
            let mut next: Vec<Wave<'a>> = Vec::new();
            for wave in waves {
                match self.send(&wave, deadline).await {
                    Ok(answers) => {
                        for (job, answer) in wave.jobs.into_iter().zip(answers) {
                            match self.step(&wave.server, job, answer, operation) {
                                (index, Step::Done(outcome)) => done.push((index, outcome)),
                                (_, Step::Again { server, asking, job }) => {
                                    add(&mut next, &server, asking, job)
                                }
                            }
                        }
                    }
                    Err(failure) => {
                        let told = || Err(failure.told(operation, &wave.server.endpoint, deadline.within));
                        done.extend(wave.jobs.iter().map(|job| (job.index, told())));
                    }
                }
            }
            if next.is_empty() {
                return done;
            }
            waves = next;
        }
        for wave in waves {
            let error = || Err(sent_on_too_often(operation, &wave.server));
            done.extend(wave.jobs.iter().map(|job| (job.index, error())));
        }
        done
    }

    async fn send(&self, wave: &Wave<'_>, deadline: &Deadline) -> Result<Vec<Value>, Failure> {
        let per_job = if wave.asking { 2 } else { 1 };
        let mut pipeline = Pipeline::with_capacity(wave.jobs.len() * per_job);
        for job in &wave.jobs {
            if wave.asking {
                pipeline.cmd("ASKING");
            }
            pipeline.add_command(self.command(job, &wave.server));
        }
        let answers = wave.server.call_all(&pipeline, wave.jobs.len() * per_job, deadline).await?;
        if !wave.asking {
            return Ok(answers);
        }
        Ok(answers.into_iter().skip(per_job - 1).step_by(per_job).collect())
    }

    fn command(&self, job: &Job<'_>, server: &Server) -> Cmd {
        let name = job.name.as_str();
        match job.ask {
            Ask::Get => on_key("GET", name),
            Ask::Delete => on_key("UNLINK", name),
            Ask::Put { envelope, life, how } => match how {
                PutHow::Digest if server.takes_scripts() => {
                    self.shared().script.by_digest(name, envelope, life)
                }
                PutHow::Text if server.takes_scripts() => self.shared().script.by_text(name, envelope, life),
                _ => plain_put(name, envelope, life),
            },
            Ask::Lock { act, owner, life, how } => {
                let how = if server.takes_lock_scripts() { how } else { PutHow::Plain };
                self.shared().locks.command(act, how, name, owner, life)
            }
        }
    }

    /// What follows from an answer.
    fn step<'a>(
        &self,
        server: &Arc<Server>,
        job: Job<'a>,
        answer: Value,
        operation: RemoteOperation,
    ) -> (usize, Step<'a>) {
        let index = job.index;
        let Value::ServerError(error) = answer else { return (index, Step::Done(Ok(answer))) };
        let done = || Step::Done(Err(fault::refusal(&error, operation, &server.endpoint)));
        let again = |how| match job.ask.by(how) {
            Some(ask) => {
                let job = Job { ask, ..job.clone() };
                Step::Again { server: Arc::clone(server), asking: false, job }
            }
            None => done(),
        };
        let step = match error.kind() {
            Some(kind @ (ServerErrorKind::Moved | ServerErrorKind::Ask)) => {
                self.shared().counts.redirects.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if kind == ServerErrorKind::Moved {
                    self.shared().distrust_map();
                }
                let target = error.details().and_then(|details| redirection(details, &server.node));
                match target.and_then(|node| self.find_or_want(&node)) {
                    Some(server) => Step::Again { server, asking: kind == ServerErrorKind::Ask, job },
                    None => Step::Done(Err(RemoteError::Unavailable {
                        operation,
                        endpoint: server.endpoint.clone(),
                        reason: CompactString::const_new("the key has moved to a server not connected yet"),
                    })),
                }
            }
            Some(ServerErrorKind::NoScript) => again(PutHow::Text),
            _ if fault::refuses_scripts(&error) && matches!(job.ask, Ask::Put { .. } | Ask::Lock { .. }) => {
                server.give_up_scripts(&fault::words(&error));
                again(PutHow::Plain)
            }
            Some(ServerErrorKind::ReadOnly) => {
                // In a cluster another server has become the primary.
                self.shared().distrust_map();
                done()
            }
            _ => done(),
        };
        (index, step)
    }
}

fn on_key(command: &str, name: &str) -> Cmd {
    let mut made = Cmd::with_capacity(2, command.len() + name.len());
    made.arg(command).arg(name);
    made
}

fn sent_on_too_often(operation: RemoteOperation, server: &Server) -> RemoteError {
    let reason = format_compact!("sent on {STEPS_MAX} times");
    RemoteError::Unavailable { operation, endpoint: server.endpoint.clone(), reason }
}

/// Jobs by the server that holds their keys, and those whose keys nobody is known to hold.
fn group<'a>(map: &Map, jobs: Vec<Job<'a>>) -> (Vec<Wave<'a>>, Vec<Job<'a>>) {
    let (mut waves, mut homeless) = (Vec::new(), Vec::new());
    for job in jobs {
        match map.owner(job.slot) {
            Some(server) => add(&mut waves, server, false, job),
            None => homeless.push(job),
        }
    }
    (waves, homeless)
}

fn add<'a>(waves: &mut Vec<Wave<'a>>, server: &Arc<Server>, asking: bool, job: Job<'a>) {
    let same = |wave: &&mut Wave<'_>| wave.asking == asking && Arc::ptr_eq(&wave.server, server);
    match waves.iter_mut().find(same) {
        Some(wave) => wave.jobs.push(job),
        None => waves.push(Wave { server: Arc::clone(server), asking, jobs: vec![job] }),
    }
}
