//! Ways of doing the same thing, measured in turns: on a machine that does other things too, a figure counts beside another one
//! of the same moment, and what counts of many such pairs is their median.
#![allow(dead_code, reason = "each bench uses a part")]

pub(crate) mod link;

use std::{future::Future, pin::Pin, time::Duration};

use rustix::time::{ClockId, clock_gettime};
use trueup_core::env::{Clock, spawn};

/// One round of a way: so many calls, spread over so many tasks.
type Round<'a> = Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + 'a>> + 'a>;

/// One way of doing it.
pub(crate) struct Way<'a> {
    name: String,
    round: Round<'a>,
}

impl<'a> Way<'a> {
    /// A way of which `work` is what one task does in a round, by the task's number.
    pub(crate) fn tasks<F, W>(name: impl Into<String>, tasks: u32, work: F) -> Self
    where
        F: Fn(u32) -> W + Clone + 'a,
        W: Future<Output = ()> + Send + 'static,
    {
        let round = move || {
            let running: Vec<_> = (0..tasks).map(|task| spawn("bench", work(task))).collect();
            let ended = async move {
                for task in running {
                    task.ended().await;
                }
            };
            Box::pin(ended) as Pin<Box<dyn Future<Output = ()>>>
        };
        Self { name: name.into(), round: Box::new(round) }
    }
}

/// What a way took, turn by turn, in microseconds a call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Took {
    name: String,
    /// By the clock: calls of several tasks overlap.
    pub(crate) wall_us: Vec<f64>,
    /// Of this process's processor time: what others on the machine do leaves it alone.
    pub(crate) cpu_us: Vec<f64>,
    /// How often a thread of this process went to sleep: what a wake-up costs differs most between machines.
    pub(crate) sleeps: Vec<f64>,
}

/// Takes all ways in turns; each turn begins with another one. A first turn is not counted.
pub(crate) async fn in_turns(turns: usize, calls: u32, ways: &[Way<'_>]) -> Vec<Took> {
    let (clock, calls) = (Clock::system(), f64::from(calls));
    let mut all: Vec<Took> =
        ways.iter().map(|way| Took { name: way.name.clone(), ..Took::default() }).collect();
    for turn in 0..=turns {
        for place in 0..ways.len() {
            let which = (turn + place) % ways.len();
            let (began, before, slept) = (clock.now(), processor(), sleeps());
            (ways[which].round)().await;
            if turn > 0 {
                all[which].wall_us.push(clock.now().since(began).as_secs_f64() * 1e6 / calls);
                all[which].cpu_us.push((processor() - before).as_secs_f64() * 1e6 / calls);
                all[which].sleeps.push(sleeps().saturating_sub(slept) as f64 / calls);
            }
        }
    }
    all
}

fn processor() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// How often this process's threads have waited until now; zero where the system does not say.
fn sleeps() -> u64 {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return 0 };
    let of_thread = |thread: std::io::Result<std::fs::DirEntry>| -> Option<u64> {
        let status = std::fs::read_to_string(thread.ok()?.path().join("status")).ok()?;
        let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        count.trim().parse().ok()
    };
    threads.filter_map(of_thread).sum()
}

/// The value that the share `at` of `values` lies below.
pub(crate) fn quantile(values: impl IntoIterator<Item = f64>, at: f64) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    let place = (values.len().saturating_sub(1) as f64 * at).round() as usize;
    values.get(place).copied().unwrap_or(f64::NAN)
}

impl Took {
    /// Median by the clock.
    pub(crate) fn median(&self) -> f64 {
        quantile(self.wall_us.iter().copied(), 0.5)
    }

    /// The share `at` of this way's time over `base`'s, pair by pair.
    fn ratio(&self, base: &Self, at: f64) -> f64 {
        quantile(self.wall_us.iter().zip(&base.wall_us).map(|(own, base)| own / base), at)
    }

    fn cpu_ratio(&self, base: &Self) -> f64 {
        quantile(self.cpu_us.iter().zip(&base.cpu_us).map(|(own, base)| own / base), 0.5)
    }
}

/// Prints each way beside the first.
pub(crate) fn report(title: &str, took: &[Took]) {
    println!("{title}");
    let Some(base) = took.first() else { return };
    for way in took {
        let (wall, cpu) = (way.median(), quantile(way.cpu_us.iter().copied(), 0.5));
        let sleeps = quantile(way.sleeps.iter().copied(), 0.5);
        let ratio = if std::ptr::eq(way, base) {
            String::new()
        } else {
            format!(
                "  x {:.2} (quartiles {:.2}, {:.2}; processor x {:.2})",
                way.ratio(base, 0.5),
                way.ratio(base, 0.25),
                way.ratio(base, 0.75),
                way.cpu_ratio(base)
            )
        };
        println!(
            "  {:<44} {wall:>8.2} us a call, {cpu:>7.2} us of processor, {sleeps:.2} sleeps{ratio}",
            way.name
        );
    }
}
