//! The remote tier dies under a load whose misses the database can bear, and comes back empty.

use std::{sync::Arc, time::Duration};

use super::{
    Finding, Shown, end,
    series::{Loads, Mark, Second, Series},
};
use crate::{
    history::ServedBy,
    load::{Load, Rates},
    world::{LabError, World},
};

/// Until every node has what is read often.
const WARM: Duration = Duration::from_secs(10);
const CALM: Duration = Duration::from_secs(15);
const DOWN: Duration = Duration::from_secs(20);
const AFTER: Duration = Duration::from_secs(25);
/// How much more a second than the busiest one before may ask of the database and still be no second peak: so few queries
/// vary by chance.
const PEAK: f64 = 1.25;

/// Plays it.
pub(crate) async fn redis_killed(world: &Arc<World>, rates: Rates) -> Result<Shown, LabError> {
    let clock = world.book.clock.clone();
    let load = Load::start(world, rates, false);
    tokio::time::sleep(WARM).await;
    let loads = Loads::watch(world);
    let unproven_before = unproven_s(world).await;
    let origin = clock.now();
    tokio::time::sleep(CALM).await;
    let killed = clock.now();
    world.l2.redis(|redis| {
        redis.kill();
        Ok(())
    })?;
    tokio::time::sleep(DOWN).await;
    let back = clock.now();
    world.l2.redis(trueup_testbed::Redis::start_again)?;
    tokio::time::sleep(AFTER).await;
    let unproven = match (unproven_before, unproven_s(world).await) {
        (Some(before), Some(after)) => after - before,
        _ => {
            return Err(LabError::failed("reading the nodes' metrics", "one tells no seconds without proof"));
        }
    };
    let until = clock.now();
    let (log, checked) = end(world, load).await;
    let mut series = Series::new(&log, &loads.end(), origin, until);
    let at = |time: trueup_core::env::Nanos| time.since(origin).as_secs_f64();
    series.marks = vec![
        Mark { at_s: at(killed), what: "remote tier killed" },
        Mark { at_s: at(back), what: "started again, empty" },
    ];
    let before = series.between(0.0, at(killed));
    let down = series.between(at(killed), at(back));
    let after = series.between(at(back), at(until));
    let findings = vec![
        failed(&series),
        memory_goes_on(before, down),
        Finding::new(unproven < 0.05, format!("{unproven:.2} s in which a node could not prove its answers")),
        no_second_peak(before, down, after),
        l2_is_back(before, after),
        checked,
    ];
    Ok(Shown { title: "The remote tier is killed under load, and comes back empty", series, findings })
}

/// Of all nodes; none where one does not tell.
async fn unproven_s(world: &World) -> Option<f64> {
    world.counted().await.unproven_s.into_iter().sum()
}

fn failed(series: &Series) -> Finding {
    let failed: u64 = series.seconds.iter().map(|second| second.failed).sum();
    let answered: u64 = series.seconds.iter().map(Second::answered).sum();
    Finding::new(failed == 0, format!("{failed} of {answered} reads failed"))
}

fn share(seconds: &[Second], by: ServedBy) -> f64 {
    let answered: u64 = seconds.iter().map(Second::answered).sum();
    seconds.iter().map(|second| second.by(by)).sum::<u64>() as f64 / answered.max(1) as f64
}

fn memory_goes_on(before: &[Second], down: &[Second]) -> Finding {
    let (was, is) = (share(before, ServedBy::L1), share(down, ServedBy::L1));
    let least = down.iter().map(|second| share(std::slice::from_ref(second), ServedBy::L1));
    let least = least.fold(1.0, f64::min);
    let what = format!(
        "answered from memory: {:.1} % before, {:.1} % while it was down, {:.1} % in the worst second",
        100.0 * was,
        100.0 * is,
        100.0 * least
    );
    Finding::new(least > 0.8 * was, what)
}

fn busiest(seconds: &[Second]) -> f64 {
    seconds.iter().map(|second| second.loads).fold(0.0, f64::max)
}

fn no_second_peak(before: &[Second], down: &[Second], after: &[Second]) -> Finding {
    let (was, is, then) = (busiest(before), busiest(down), busiest(after));
    let what =
        format!("queries in the busiest second: {was:.0} before, {is:.0} while it was down, {then:.0} after");
    Finding::new(then <= PEAK * is.max(was), what)
}

fn l2_is_back(before: &[Second], after: &[Second]) -> Finding {
    let last = &after[after.len().saturating_sub(5)..];
    let (was, is) = (share(before, ServedBy::L2), share(last, ServedBy::L2));
    let what = format!(
        "answered by the remote tier: {:.1} % before, {:.1} % in the last five seconds",
        100.0 * was,
        100.0 * is
    );
    Finding::new(is > 0.5 * was, what)
}
