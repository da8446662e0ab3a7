//! Reads that come when they come, whether or not the last ones were answered; and what became of them, second by second.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use trueup::{
    LoadError, ReadError, ServedBy,
    engine::env::{self, Clock, random},
};

use super::world::now_ms;

/// Length of a turn of the generator, as short as the timer allows: all reads of one turn come at once, and those that wait for each other
/// for no other reason are not what is measured.
const TURN: Duration = Duration::from_millis(1);
/// Who has no answer after this has none.
const PATIENCE: Duration = Duration::from_secs(2);

/// What became of one read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    /// From a tier.
    Cached,
    /// From the database.
    Source,
    /// Labelled stale or fallback.
    StoodIn,
    /// Refused with a reason and a wait.
    Shed,
    /// Neither an answer nor a word.
    Failed,
}

impl Fate {
    pub(crate) fn of<T>(answer: &Result<trueup::Cached<T>, ReadError>) -> Self {
        match answer {
            Ok(answer) => match answer.receipt().served_by {
                ServedBy::L1 | ServedBy::L2 | ServedBy::Filter => Self::Cached,
                ServedBy::Source => Self::Source,
                ServedBy::Stale | ServedBy::Fallback | ServedBy::Pending => Self::StoodIn,
            },
            Err(ReadError::Load(
                LoadError::Shed { retry_after_ms, .. } | LoadError::LeftAlone { retry_after_ms },
            )) => {
                assert!(*retry_after_ms > 0);
                Self::Shed
            }
            Err(_) => Self::Failed,
        }
    }

    const fn is_answered(self) -> bool {
        matches!(self, Self::Cached | Self::Source | Self::StoodIn)
    }
}

/// Which of the shop's pages a read is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Page {
    /// An account: the core of the shop.
    Core,
    /// A product.
    Other,
}

#[derive(Default)]
struct Second {
    fates: BTreeMap<(Page, Fate), u64>,
    core_us: Vec<u64>,
}

/// What became of the reads of one run, by the second in which they came.
#[derive(Default)]
pub(crate) struct Outcomes(Mutex<BTreeMap<u64, Second>>);

/// Reads of some seconds, summed up.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    fates: BTreeMap<(Page, Fate), u64>,
    core_us: Vec<u64>,
}

impl Outcomes {
    fn record(&self, came_ms: u64, page: Page, fate: Fate, took: Duration) {
        let mut seconds = self.0.lock();
        let second = seconds.entry(came_ms / 1_000).or_default();
        *second.fates.entry((page, fate)).or_default() += 1;
        if page == Page::Core && fate.is_answered() {
            second.core_us.push(took.as_micros() as u64);
        }
    }

    /// The reads that came within these milliseconds.
    pub(crate) fn between(&self, from_ms: u64, to_ms: u64) -> Summary {
        let mut summary = Summary::default();
        for (_, second) in self.0.lock().range(from_ms / 1_000..to_ms / 1_000) {
            for (key, count) in &second.fates {
                *summary.fates.entry(*key).or_default() += count;
            }
            summary.core_us.extend(&second.core_us);
        }
        summary.core_us.sort_unstable();
        summary
    }

    /// A line for each second: what the database was asked beside what became of the reads.
    pub(crate) fn print(&self, title: &str, began_ms: u64, statements_ms: &[u64]) {
        println!(
            "{title}\n   s  asked  core: cached source stood-in   shed failed   p99 ms | other: cached source stood-in   shed failed"
        );
        for (second, told) in self.0.lock().iter_mut() {
            let from = statements_ms.partition_point(|at| *at < second * 1_000);
            let to = statements_ms.partition_point(|at| *at < (second + 1) * 1_000);
            let each = |page| {
                [Fate::Cached, Fate::Source, Fate::StoodIn, Fate::Shed, Fate::Failed]
                    .map(|fate| told.fates.get(&(page, fate)).copied().unwrap_or(0))
            };
            let ([a, b, c, d, e], [f, g, h, i, j]) = (each(Page::Core), each(Page::Other));
            told.core_us.sort_unstable();
            let p99_ms = quantile(&told.core_us, 0.99) as f64 / 1_000.0;
            let at = second.saturating_sub(began_ms / 1_000);
            println!(
                "{at:>4} {:>6} {a:>13} {b:>6} {c:>8} {d:>6} {e:>6} {p99_ms:>8.2} | {f:>13} {g:>6} {h:>8} {i:>6} {j:>6}",
                to - from
            );
        }
    }
}

impl Summary {
    pub(crate) fn count(&self, page: Page, fate: Fate) -> u64 {
        self.fates.get(&(page, fate)).copied().unwrap_or(0)
    }

    /// Share of the core's reads that had an answer.
    pub(crate) fn core_answered(&self) -> f64 {
        let of_core = self.fates.iter().filter(|((page, _), _)| *page == Page::Core);
        let (all, answered) = of_core.fold((0, 0), |(all, answered), ((_, fate), count)| {
            (all + count, answered + if fate.is_answered() { *count } else { 0 })
        });
        answered as f64 / (all as f64).max(1.0)
    }

    /// Milliseconds.
    pub(crate) fn core_p99(&self) -> f64 {
        quantile(&self.core_us, 0.99) as f64 / 1_000.0
    }

    pub(crate) fn core_p50(&self) -> f64 {
        quantile(&self.core_us, 0.50) as f64 / 1_000.0
    }
}

fn quantile(sorted: &[u64], share: f64) -> u64 {
    let at = (sorted.len() as f64 * share) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0)
}

/// Sends `per_second` reads for as long as `span`; `core_share` of them are for the core.
pub(crate) async fn run<R, F>(
    outcomes: &Arc<Outcomes>,
    per_second: u64,
    span: Duration,
    core_share: f64,
    read: R,
) where
    R: Fn(Page) -> F,
    F: Future<Output = Fate> + Send + 'static,
{
    let clock = Clock::system();
    let began = clock.now();
    let pending = Arc::new(AtomicU64::new(0));
    let mut turns = tokio::time::interval(TURN);
    let mut sent = 0_u64;
    loop {
        turns.tick().await;
        let elapsed = clock.now().since(began).min(span);
        let due = (elapsed.as_secs_f64() * per_second as f64) as u64;
        while sent < due {
            sent += 1;
            let page = if (random::number() as f64) < core_share * u64::MAX as f64 {
                Page::Core
            } else {
                Page::Other
            };
            let (reading, outcomes, pending, clock) =
                (read(page), Arc::clone(outcomes), Arc::clone(&pending), clock.clone());
            pending.fetch_add(1, Ordering::Relaxed);
            let (came_ms, came) = (now_ms(), clock.now());
            let _ = env::spawn("reader", async move {
                let fate = tokio::time::timeout(PATIENCE, reading).await.unwrap_or(Fate::Failed);
                outcomes.record(came_ms, page, fate, clock.now().since(came));
                pending.fetch_sub(1, Ordering::Relaxed);
            });
        }
        if elapsed >= span {
            break;
        }
    }
    while pending.load(Ordering::Relaxed) > 0 {
        tokio::time::sleep(TURN).await;
    }
}
