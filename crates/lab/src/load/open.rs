//! Requests that come when they come, whether or not the last ones were answered.
//!
//! A client that waits for an answer before it asks again spares a server that is slow, and then measures the few requests that
//! it still sends. Here the times of all arrivals are drawn beforehand, by a seed, and a request that is late because
//! this machine was busy has waited since it was to come.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use rand::{SeedableRng as _, rngs::StdRng};
use rand_distr::Distribution as _;
use trueup_core::env::{Clock, spawn};

/// How often the last requests are looked for.
const TURN: Duration = Duration::from_millis(5);
/// Digits that a histogram keeps of each time.
const DIGITS: u8 = 3;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    /// Answered from a cache.
    Cached,
    /// Answered by the database.
    Loaded,
    /// Answered by what stands in, and says so.
    StoodIn,
    /// Refused, with a reason and a time to come back.
    Shed,
    /// Neither an answer nor a word.
    Failed,
}

impl Fate {
    pub(crate) const fn is_answered(self) -> bool {
        matches!(self, Self::Cached | Self::Loaded | Self::StoodIn)
    }

    /// What became of a read through Trueup.
    pub(crate) fn of<T>(read: &Result<trueup::Cached<T>, trueup::ReadError>) -> Self {
        use trueup::{LoadError, ReadError, ServedBy};
        match read {
            Ok(answer) => match answer.receipt().served_by {
                ServedBy::L1 | ServedBy::L2 | ServedBy::Filter => Self::Cached,
                ServedBy::Source => Self::Loaded,
                ServedBy::Stale | ServedBy::Fallback | ServedBy::Pending => Self::StoodIn,
            },
            Err(ReadError::Load(LoadError::Shed { .. } | LoadError::LeftAlone { .. })) => Self::Shed,
            Err(_) => Self::Failed,
        }
    }
}

/// When requests are to come.
#[derive(Clone, Debug)]
pub(crate) struct Arrivals {
    times: Vec<Duration>,
    until: Duration,
    dice: StdRng,
}

impl Arrivals {
    /// None yet.
    pub(crate) fn new(seed: u64) -> Self {
        Self { times: Vec::new(), until: Duration::ZERO, dice: StdRng::seed_from_u64(seed) }
    }

    /// So many a second on average for `span`, each independent of the others.
    pub(crate) fn at_rate(mut self, per_second: f64, span: Duration) -> Self {
        let end = self.until + span;
        if let Ok(gaps) = rand_distr::Exp::new(per_second) {
            let mut at = self.until;
            loop {
                at += Duration::from_secs_f64(gaps.sample(&mut self.dice));
                if at >= end {
                    break;
                }
                self.times.push(at);
            }
        }
        self.until = end;
        self
    }

    /// How many.
    pub(crate) const fn len(&self) -> usize {
        self.times.len()
    }

    /// From the first to the end of the last span.
    pub(crate) const fn span(&self) -> Duration {
        self.until
    }

    /// Sends `request`s by their numbers, each at its time, and waits for the last; who has no answer within `patience` has none.
    pub(crate) async fn send<F>(
        &self,
        clock: &Clock,
        patience: Duration,
        request: impl Fn(usize) -> F,
    ) -> Answers
    where
        F: Future<Output = Fate> + Send + 'static,
    {
        let began = clock.now();
        let answers = Arc::new(Mutex::new(Vec::with_capacity(self.times.len())));
        let pending = Arc::new(AtomicU64::new(0));
        for (number, at) in self.times.iter().copied().enumerate() {
            let early = at.saturating_sub(clock.now().since(began));
            if early > Duration::ZERO {
                tokio::time::sleep(early).await;
            }
            let (asked, clock) = (request(number), clock.clone());
            let (answers, pending) = (Arc::clone(&answers), Arc::clone(&pending));
            pending.fetch_add(1, Ordering::Relaxed);
            let _ = spawn("lab request", async move {
                let fate = tokio::time::timeout(patience, asked).await.unwrap_or(Fate::Failed);
                let took = clock.now().since(began.after(at));
                answers.lock().push(Answer { number, at, took, fate });
                pending.fetch_sub(1, Ordering::Release);
            });
        }
        while pending.load(Ordering::Acquire) > 0 {
            tokio::time::sleep(TURN).await;
        }
        let mut answers = std::mem::take(&mut *answers.lock());
        answers.sort_unstable_by_key(|answer: &Answer| answer.number);
        Answers(answers)
    }
}

/// What became of one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) number: usize,
    /// When it was to come.
    pub(crate) at: Duration,
    /// From then on.
    pub(crate) took: Duration,
    pub(crate) fate: Fate,
}

/// What became of all requests, in the order in which they were to come.
#[derive(Clone, Debug)]
pub(crate) struct Answers(pub(crate) Vec<Answer>);

impl Answers {
    /// Those that matter here.
    pub(crate) fn only(&self, which: impl Fn(&Answer) -> bool) -> Self {
        Self(self.0.iter().copied().filter(which).collect())
    }

    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn count(&self, which: impl Fn(Fate) -> bool) -> u64 {
        self.0.iter().filter(|answer| which(answer.fate)).count() as u64
    }

    /// The time within which such a share of all has its answer; who has none took as long as patience lasted.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        quantile(self.0.iter().map(|answer| answer.took), share)
    }

    /// The same for those who were to come in each `step` of `span`, in milliseconds.
    pub(crate) fn quantiles_ms(&self, share: f64, step: Duration, span: Duration) -> Vec<f64> {
        let steps = span.as_secs_f64() / step.as_secs_f64().max(1e-9);
        let mut by_step = vec![Vec::new(); steps.ceil() as usize];
        for answer in &self.0 {
            let index = (answer.at.as_secs_f64() / step.as_secs_f64().max(1e-9)) as usize;
            if let Some(times) = by_step.get_mut(index) {
                times.push(answer.took);
            }
        }
        by_step.into_iter().map(|times| quantile(times, share).as_secs_f64() * 1e3).collect()
    }
}

/// The time within which such a share of `times` lies.
pub(crate) fn quantile(times: impl IntoIterator<Item = Duration>, share: f64) -> Duration {
    // Three digits over any range: neither making it nor recording can fail.
    let Ok(mut histogram) = Histogram::<u64>::new(DIGITS) else { return Duration::ZERO };
    for time in times {
        let _ = histogram.record(time.as_micros() as u64);
    }
    Duration::from_micros(histogram.value_at_quantile(share))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn arrivals_come_at_their_rate_by_their_seed() {
        let arrivals = |seed| Arrivals::new(seed).at_rate(1_000.0, SECOND).at_rate(100.0, SECOND);
        let (first, second) = (arrivals(1), arrivals(2));
        assert_eq!(first.times, arrivals(1).times);
        assert_ne!(first.times, second.times);
        assert_eq!(first.span(), SECOND * 2);
        let early = first.times.partition_point(|time| *time < SECOND);
        assert!((850..1_150).contains(&early), "{early} in the first second");
        assert!((first.len() - early).abs_diff(100) < 50);
        assert!(first.times.is_sorted());
    }

    #[tokio::test]
    async fn a_slow_server_is_asked_as_often_and_who_waits_behind_it_has_waited() {
        // One place, 20 ms each, a request each 5 ms: a client that waited for its answer would see 20 ms each time.
        let place = Arc::new(tokio::sync::Semaphore::new(1));
        let mut arrivals = Arrivals::new(1);
        arrivals.times = (0..20).map(|n| Duration::from_millis(5 * n)).collect();
        let answers = arrivals
            .send(&Clock::system(), SECOND * 5, |_| {
                let place = Arc::clone(&place);
                async move {
                    let _held = place.acquire_owned().await;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    Fate::Loaded
                }
            })
            .await;
        assert_eq!(answers.count(Fate::is_answered), 20);
        assert!(answers.0.iter().map(|answer| answer.number).eq(0..20));
        assert!(answers.quantile(0.99) >= Duration::from_millis(280), "{:?}", answers.quantile(0.99));
        let by_step = answers.quantiles_ms(0.99, Duration::from_millis(50), Duration::from_millis(100));
        assert!(by_step.len() == 2 && by_step[1] > by_step[0], "{by_step:?}");
    }

    #[tokio::test]
    async fn who_has_no_answer_in_time_has_none() {
        let mut arrivals = Arrivals::new(1);
        arrivals.times = vec![Duration::ZERO; 3];
        let never =
            |number| async move { if number == 1 { std::future::pending().await } else { Fate::Cached } };
        let answers = arrivals.send(&Clock::system(), Duration::from_millis(20), never).await;
        assert_eq!((answers.count(Fate::is_answered), answers.0[1].fate), (2, Fate::Failed));
        assert_eq!(answers.only(|answer| answer.fate == Fate::Cached).len(), 2);
    }
}
