//! What happened in each second.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use trueup_core::env::{Nanos, Task, spawn};

use crate::{
    history::{Read, ServedBy},
    load::Log,
    world::World,
};

/// Pause between two looks at the nodes' counters.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// One second.
#[derive(Clone, Debug, Default)]
pub(crate) struct Second {
    pub(crate) served: BTreeMap<ServedBy, u64>,
    pub(crate) failed: u64,
    /// Queries of all nodes to the database.
    pub(crate) loads: f64,
    pub(crate) p99_ms: f64,
}

impl Second {
    pub(crate) fn by(&self, from: ServedBy) -> u64 {
        self.served.get(&from).copied().unwrap_or(0)
    }

    pub(crate) fn answered(&self) -> u64 {
        self.served.values().sum()
    }
}

/// When something was done, in seconds since the beginning.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) at_s: f64,
    pub(crate) what: &'static str,
}

/// A run, second by second.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series {
    pub(crate) seconds: Vec<Second>,
    pub(crate) marks: Vec<Mark>,
}

impl Series {
    /// The whole seconds from `origin` to `end`.
    pub(super) fn new(log: &Log, loads: &[(Nanos, u64)], origin: Nanos, end: Nanos) -> Self {
        let mut seconds = vec![Second::default(); end.since(origin).as_secs() as usize];
        let mut latencies: Vec<Vec<Duration>> = vec![Vec::new(); seconds.len()];
        let reads = log.reads.iter().chain(log.together.iter().flat_map(|together| &together.reads));
        for read in reads.filter(|read| read.end >= origin) {
            let second = second(origin, read.end);
            if let (Some(of), Some(took)) = (seconds.get_mut(second), latencies.get_mut(second)) {
                *of.served.entry(read.served_by).or_default() += 1;
                took.push(took_of(read));
            }
        }
        for failure in log.failures.iter().filter(|failure| failure.end >= origin) {
            if let Some(of) = seconds.get_mut(second(origin, failure.end)) {
                of.failed += u64::from(failure.reads);
            }
        }
        for (index, (of, mut took)) in seconds.iter_mut().zip(latencies).enumerate() {
            took.sort_unstable();
            let p99 = took.get(took.len().saturating_sub(1) * 99 / 100).copied().unwrap_or_default();
            of.p99_ms = p99.as_secs_f64() * 1_000.0;
            let begin = origin.after(Duration::from_secs(index as u64));
            of.loads = count_at(loads, begin.after(Duration::from_secs(1))) - count_at(loads, begin);
        }
        Self { seconds, marks: Vec::new() }
    }

    /// The seconds from `from_s` to `to_s`, those that are cut left out.
    pub(super) fn between(&self, from_s: f64, to_s: f64) -> &[Second] {
        let from = (from_s.ceil().max(0.0) as usize).min(self.seconds.len());
        let to = (to_s.floor().max(0.0) as usize).clamp(from, self.seconds.len());
        &self.seconds[from..to]
    }
}

fn took_of(read: &Read) -> Duration {
    read.end.since(read.start)
}

fn second(origin: Nanos, at: Nanos) -> usize {
    at.since(origin).as_secs() as usize
}

/// A counter that was looked at now and then, between two looks on the straight line.
fn count_at(looks: &[(Nanos, u64)], at: Nanos) -> f64 {
    let after = looks.partition_point(|(time, _)| *time < at);
    match (after.checked_sub(1).and_then(|before| looks.get(before)), looks.get(after)) {
        (Some((t0, n0)), Some((t1, n1))) => {
            let share = at.since(*t0).as_secs_f64() / t1.since(*t0).as_secs_f64().max(1e-9);
            *n0 as f64 + share * n1.saturating_sub(*n0) as f64
        }
        (Some((_, n)), None) | (None, Some((_, n))) => *n as f64,
        (None, None) => 0.0,
    }
}

/// Looks at the nodes' counters of loads until it is stopped.
pub(super) struct Loads {
    seen: Arc<Mutex<Vec<(Nanos, u64)>>>,
    task: Task,
}

impl Loads {
    pub(super) fn watch(world: &Arc<World>) -> Self {
        let (seen, world) = (Arc::new(Mutex::new(Vec::new())), Arc::clone(world));
        let kept = Arc::clone(&seen);
        let task = spawn("lab load counters", async move {
            loop {
                let at = world.book.clock.now();
                if let Some(loads) = world.loads().await {
                    kept.lock().push((at, loads));
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        Self { seen, task }
    }

    pub(super) fn end(self) -> Vec<(Nanos, u64)> {
        self.task.stop();
        std::mem::take(&mut *self.seen.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_read_between_two_looks() {
        let looks = [(Nanos(1_000), 10), (Nanos(2_000), 20)];
        assert!((count_at(&looks, Nanos(1_500)) - 15.0).abs() < 1e-9);
        assert!((count_at(&looks, Nanos(5_000)) - 20.0).abs() < 1e-9);
        assert!((count_at(&looks, Nanos(0)) - 10.0).abs() < 1e-9);
        assert!(count_at(&[], Nanos(0)).abs() < 1e-9);
    }
}
