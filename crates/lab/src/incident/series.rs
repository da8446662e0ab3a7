//! How something went over time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use serde::Serialize;
use trueup_core::env::{Clock, Nanos, Task, spawn};

/// One figure, step by step.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Series {
    pub(crate) what: &'static str,
    /// Of the values, with what they are counted in: `in 100 ms`.
    pub(crate) unit: &'static str,
    pub(crate) along: Along,
    /// Length of a step.
    pub(crate) step: f64,
    pub(crate) values: Vec<f64>,
    pub(crate) marks: Vec<Mark>,
}

/// What the steps go along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Along {
    Seconds,
    Requests,
}

/// Something that was done meanwhile.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Mark {
    pub(crate) at: f64,
    pub(crate) what: &'static str,
}

impl Series {
    /// A value for each `step` of time.
    pub(super) fn over_time(
        what: &'static str,
        unit: &'static str,
        step: Duration,
        values: Vec<f64>,
    ) -> Self {
        let step = step.as_secs_f64();
        Self { what, unit, along: Along::Seconds, step, values, marks: Vec::new() }
    }

    /// A value for each so many requests.
    pub(super) fn over_requests(
        what: &'static str,
        unit: &'static str,
        step: usize,
        values: Vec<f64>,
    ) -> Self {
        Self { what, unit, along: Along::Requests, step: step as f64, values, marks: Vec::new() }
    }

    /// Something was done `at` this time since the beginning.
    pub(crate) fn mark(mut self, at: Duration, what: &'static str) -> Self {
        self.marks.push(Mark { at: at.as_secs_f64(), what });
        self
    }

    /// The largest value.
    pub(crate) fn most(&self) -> f64 {
        self.values.iter().copied().fold(0.0, f64::max)
    }
}

/// Looks at a counter step by step.
pub(super) struct Watch {
    looks: Arc<Mutex<Vec<u64>>>,
    over: Arc<AtomicBool>,
    task: Task,
    step: Duration,
}

impl Watch {
    /// Begins to look.
    pub(super) fn start(clock: &Clock, step: Duration, counter: impl Fn() -> u64 + Send + 'static) -> Self {
        let (looks, over) = (Arc::new(Mutex::new(vec![counter()])), Arc::new(AtomicBool::default()));
        let (kept, told, clock) = (Arc::clone(&looks), Arc::clone(&over), clock.clone());
        let task = spawn("incident figures", async move {
            let began = clock.now();
            loop {
                // By the clock, not by the pauses: those are never shorter than asked for, and add up.
                let due = began.after(step * kept.lock().len() as u32);
                tokio::time::sleep(due.since(clock.now())).await;
                kept.lock().push(counter());
                if told.load(Ordering::Acquire) {
                    break;
                }
            }
        });
        Self { looks, over, task, step }
    }

    /// By how much the counter rose in each step so far.
    pub(super) async fn end(self, what: &'static str, unit: &'static str) -> Series {
        self.over.store(true, Ordering::Release);
        self.task.ended().await;
        let looks = std::mem::take(&mut *self.looks.lock());
        let rises = looks.windows(2).map(|pair| pair[1].saturating_sub(pair[0]) as f64);
        Series::over_time(what, unit, self.step, rises.collect())
    }
}

/// Counts what happens, by the step in which it does.
pub(super) struct Ticks {
    clock: Clock,
    began: Nanos,
    step: Duration,
    counts: Mutex<Vec<u32>>,
}

impl Ticks {
    /// Begins now.
    pub(super) fn start(clock: &Clock, step: Duration) -> Self {
        Self { clock: clock.clone(), began: clock.now(), step, counts: Mutex::default() }
    }

    /// Time passes, and it happened or it did not.
    pub(super) fn note(&self, happened: bool) {
        let index = (self.so_far().as_nanos() / self.step.as_nanos().max(1)) as usize;
        let mut counts = self.counts.lock();
        if counts.len() <= index {
            counts.resize(index + 1, 0);
        }
        if let Some(count) = counts.get_mut(index) {
            *count += u32::from(happened);
        }
    }

    /// Since the beginning.
    pub(super) fn so_far(&self) -> Duration {
        self.clock.now().since(self.began)
    }

    /// How often it happened in each step.
    pub(super) fn series(&self, what: &'static str, unit: &'static str) -> Series {
        let counts = self.counts.lock().iter().map(|count| f64::from(*count)).collect();
        Series::over_time(what, unit, self.step, counts)
    }

    /// How often it had happened by the end of each step.
    pub(super) fn sum(&self, what: &'static str, unit: &'static str) -> Series {
        let mut sum = 0.0;
        let mut series = self.series(what, unit);
        for value in &mut series.values {
            sum += *value;
            *value = sum;
        }
        series
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    const STEP: Duration = Duration::from_millis(10);

    #[test]
    fn what_happens_is_counted_in_its_step() {
        let clock = Clock::stepped();
        let ticks = Ticks::start(&clock, STEP);
        ticks.note(true);
        clock.advance(Duration::from_millis(25));
        ticks.note(true);
        ticks.note(true);
        ticks.note(false);
        clock.advance(Duration::from_millis(10));
        ticks.note(false);
        assert_eq!(ticks.series("a", "").values, [1.0, 0.0, 2.0, 0.0]);
        assert_eq!(ticks.sum("a", "").values, [1.0, 1.0, 3.0, 3.0]);
    }

    #[tokio::test]
    async fn a_counter_is_looked_at_to_its_end() {
        let counter = Arc::new(AtomicU64::new(5));
        let shown = Arc::clone(&counter);
        let watch = Watch::start(&Clock::system(), STEP, move || shown.load(Ordering::SeqCst));
        tokio::time::sleep(STEP * 3).await;
        counter.store(12, Ordering::SeqCst);
        let series = watch.end("a", "").await;
        assert!((series.values.iter().sum::<f64>() - 7.0).abs() < 1e-9, "{series:?}");
        assert!((series.step - 0.01).abs() < 1e-9 && series.values.len() >= 3);
    }
}
