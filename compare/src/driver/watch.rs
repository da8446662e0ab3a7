//! Readers and writers on a schedule that does not depend on how fast answers come; everything they see is written down.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;

use super::{Database, sequence};
use crate::{
    clock::{Nanos, nanos, now},
    protocol::{Answer, Watch},
    rivals::Rival,
};

/// A read or a write that takes longer is given up, and is no answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What one task has seen.
#[derive(Default)]
struct Log {
    lines: String,
    reads: u64,
    failed: u64,
    why: Option<String>,
}

/// Turns of one task: at a fixed rate, from a moment of its own on, until the end. One that is late goes at once.
struct Schedule {
    next: Nanos,
    every: Nanos,
    end: Nanos,
}

impl Schedule {
    fn new(began: Nanos, end: Nanos, task: usize, tasks: usize, per_s: u64) -> Self {
        let every = 1_000_000_000 * tasks as u64 / per_s.max(1);
        Self { next: began + every * task as u64 / tasks as u64, every, end }
    }

    /// False at the end.
    async fn turn(&mut self) -> bool {
        if self.next >= self.end {
            return false;
        }
        let wait = self.next.saturating_sub(now());
        if wait > 0 {
            tokio::time::sleep(Duration::from_nanos(wait)).await;
        }
        self.next += self.every;
        now() < self.end
    }
}

/// Runs them all.
pub(super) async fn run<R: Rival>(rival: &Arc<R>, database: &Database, watch: &Watch) -> Result<Answer> {
    let keys = sequence::read(&watch.sequence)?;
    let began = now();
    let end = began + nanos(Duration::from_millis(watch.run_ms));
    let mut tasks: JoinSet<Log> = JoinSet::new();
    let stride = keys.len() / (watch.readers + watch.writers).max(1);
    for reader in 0..watch.readers {
        let schedule = Schedule::new(began, end, reader, watch.readers, watch.reads_per_s);
        let at = watch.offset + reader * stride;
        tasks.spawn(read(Arc::clone(rival), Arc::clone(&keys), at, schedule));
    }
    for writer in 0..watch.writers {
        let schedule = Schedule::new(began, end, writer, watch.writers, watch.bursts_per_s);
        let at = watch.offset + (watch.readers + writer) * stride;
        let (rival, database) = (Arc::clone(rival), database.clone());
        tasks.spawn(write(rival, database, Arc::clone(&keys), at, schedule, watch.burst));
    }
    let (mut answer, mut lines) = (Answer::default(), String::new());
    while let Some(log) = tasks.join_next().await {
        let log = log?;
        lines.push_str(&log.lines);
        answer.reads += log.reads;
        answer.failed += log.failed;
        answer.why = answer.why.or(log.why);
    }
    answer.nanos = now() - began;
    std::fs::write(&watch.file, lines).with_context(|| format!("cannot write {}", watch.file.display()))?;
    Ok(answer)
}

async fn read<R: Rival>(rival: Arc<R>, keys: Arc<[i64]>, mut at: usize, mut schedule: Schedule) -> Log {
    let mut log = Log::default();
    while schedule.turn().await {
        let key = keys[at % keys.len()];
        at += 1;
        let start = now();
        let answer = tokio::time::timeout(PATIENCE, rival.get(key)).await;
        let end = now();
        let failed = match answer {
            Ok(Ok(version)) => {
                log.reads += 1;
                let _ = writeln!(log.lines, "R {key} {version} {start} {end}");
                continue;
            }
            Ok(Err(why)) => format!("{why:#}"),
            Err(_) => format!("no answer in {PATIENCE:?}"),
        };
        log.failed += 1;
        log.why.get_or_insert(failed);
        let _ = writeln!(log.lines, "F {start}");
    }
    log
}

async fn write<R: Rival>(
    rival: Arc<R>,
    database: Database,
    keys: Arc<[i64]>,
    mut at: usize,
    mut schedule: Schedule,
    burst: usize,
) -> Log {
    let mut log = Log::default();
    while schedule.turn().await {
        let key = keys[at % keys.len()];
        at += 1;
        for _ in 0..burst {
            match database.change(key).await {
                Ok(version) => {
                    let _ = writeln!(log.lines, "W {key} {version} {}", now());
                }
                // It may have been committed, and nobody was told: the judge asks the database.
                Err(why) => {
                    log.why.get_or_insert(format!("writing: {why:#}"));
                    continue;
                }
            }
            let told = tokio::time::timeout(PATIENCE, rival.changed(key)).await;
            if !matches!(told, Ok(Ok(()))) {
                let _ = writeln!(log.lines, "L {key}");
            }
        }
    }
    log
}
