//! The loops that are measured. Closed loop: each task asks as soon as it has its answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use tokio::{sync::Barrier, task::JoinSet};

use crate::{
    clock::{nanos, now},
    protocol::Answer,
    rivals::Rival,
};

/// Reads of one task between two turns of the others; hits never wait, and would keep the thread.
const TURN: usize = 64;
/// Longest time that is told apart, in nanoseconds.
const LONGEST_NS: u64 = 60_000_000_000;

/// What a task has seen.
struct Seen {
    times: Histogram<u64>,
    failed: u64,
    why: Option<String>,
}

impl Seen {
    fn new() -> Result<Self> {
        Ok(Self { times: Histogram::new_with_max(LONGEST_NS, 3)?, failed: 0, why: None })
    }

    fn add(&mut self, began: u64, ended: u64, read: Result<i64>) {
        match read {
            Ok(_) => self.times.saturating_record(ended.saturating_sub(began)),
            Err(why) => {
                self.failed += 1;
                self.why.get_or_insert_with(|| format!("{why:#}"));
            }
        }
    }
}

async fn gather(mut tasks: JoinSet<Result<Seen>>, began: u64) -> Result<Answer> {
    let mut all = Seen::new()?;
    while let Some(seen) = tasks.join_next().await {
        let Seen { times, failed, why } = seen??;
        all.times.add(times)?;
        all.failed += failed;
        all.why = all.why.or(why);
    }
    Ok(Answer {
        reads: all.times.len(),
        failed: all.failed,
        nanos: now() - began,
        p50_ns: all.times.value_at_quantile(0.5),
        p99_ns: all.times.value_at_quantile(0.99),
        why: all.why,
        error: None,
    })
}

/// Each key once.
pub(super) async fn each<R: Rival>(rival: &Arc<R>, keys: u64, tasks: usize, limit_ms: u64) -> Result<Answer> {
    let (next, began) = (Arc::new(AtomicU64::new(1)), now());
    let deadline = began + nanos(Duration::from_millis(limit_ms));
    let mut running = JoinSet::new();
    for _ in 0..tasks {
        let (rival, next) = (Arc::clone(rival), Arc::clone(&next));
        running.spawn(async move {
            let mut seen = Seen::new()?;
            loop {
                let start = now();
                let key = next.fetch_add(1, Ordering::Relaxed);
                if key > keys || start >= deadline {
                    return Ok(seen);
                }
                let read = rival.get(key.cast_signed()).await;
                seen.add(start, now(), read);
            }
        });
    }
    gather(running, began).await
}

/// Each key once, then as the sequence says.
pub(super) async fn hot<R: Rival>(
    rival: &Arc<R>,
    sequence: Arc<[i64]>,
    keys: u64,
    tasks: usize,
    run_ms: u64,
) -> Result<Answer> {
    ensure!(!sequence.is_empty(), "the sequence is empty");
    each(rival, keys, tasks, u64::MAX / 2_000_000).await?;
    let (stop, began) = (Arc::new(AtomicBool::new(false)), now());
    let mut running = JoinSet::new();
    for task in 0..tasks {
        let (rival, sequence, stop) = (Arc::clone(rival), Arc::clone(&sequence), Arc::clone(&stop));
        running.spawn(async move {
            let mut seen = Seen::new()?;
            let mut at = task * (sequence.len() / tasks);
            while !stop.load(Ordering::Relaxed) {
                let mut start = now();
                for _ in 0..TURN {
                    let read = rival.get(sequence[at % sequence.len()]).await;
                    let end = now();
                    seen.add(start, end, read);
                    (start, at) = (end, at + 1);
                }
                tokio::task::yield_now().await;
            }
            Ok(seen)
        });
    }
    tokio::time::sleep(Duration::from_millis(run_ms)).await;
    stop.store(true, Ordering::Relaxed);
    gather(running, began).await
}

/// Many readers at once of one key.
pub(super) async fn crowd<R: Rival>(rival: &Arc<R>, key: i64, readers: usize) -> Result<Answer> {
    let (together, began) = (Arc::new(Barrier::new(readers)), now());
    let mut running = JoinSet::new();
    for _ in 0..readers {
        let (rival, together) = (Arc::clone(rival), Arc::clone(&together));
        running.spawn(async move {
            let mut seen = Seen::new()?;
            together.wait().await;
            let start = now();
            let read = rival.get(key).await;
            seen.add(start, now(), read);
            Ok(seen)
        });
    }
    gather(running, began).await
}
