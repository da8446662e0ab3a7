//! Scenarios: one thing breaks by a script, and the run is shown second by second.

mod feed_outage;
mod plot;
mod redis_killed;
mod series;

pub(crate) use self::{
    feed_outage::feed_outage,
    plot::svg,
    redis_killed::redis_killed,
    series::{Second, Series},
};
use crate::{
    history::{Judge, Verdict},
    load::{Load, Log},
    world::{World, schema},
};

/// What a scenario has shown.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) title: &'static str,
    pub(crate) series: Series,
    /// What was found, in words and figures.
    pub(crate) findings: Vec<Finding>,
}

/// One assertion of a scenario.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) holds: bool,
    pub(crate) what: String,
}

impl Finding {
    fn new(holds: bool, what: impl Into<String>) -> Self {
        Self { holds, what: what.into() }
    }
}

/// Judges everything that was read, as every run of the lab does.
fn judged(world: &World, log: &Log) -> Verdict {
    let (writes, rewinds) = world.book.so_far();
    let mut judge = Judge::new(schema::PAIR_SUM);
    judge.hear(&writes, &rewinds, &log.reads, &log.together);
    judge.verdict()
}

/// Ends the load, and judges what it read.
async fn end(world: &World, mut load: Load) -> (Log, Finding) {
    load.stop().await;
    let log = load.log.take();
    let verdict = tokio::task::block_in_place(|| judged(world, &log));
    let broken = verdict.counts.values().sum::<u64>();
    let finding =
        Finding::new(broken == 0, format!("{} answers checked, {broken} promises broken", verdict.reads));
    (log, finding)
}
