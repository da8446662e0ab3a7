//! Ahead of set times, the keys of an access log or a list are read.

use std::{fs::File, io::BufReader, num::NonZeroU32, time::Duration};

use futures_util::future::join_all;
use trueup::{
    catalog::Catalog,
    warm::{KEYS_MAX_DEFAULT, Tally},
};
use trueup_core::{
    entry::Raw,
    env::unix_ms,
    key::Key,
    read::{Class, WarmRules},
    stats::{Warmed, WarmedFrom},
};

use super::Preheat;
use crate::node::Node;

/// How long is slept at once: the wall clock may be set meanwhile.
const SLEEP_MAX: Duration = Duration::from_secs(30);
/// Slept beyond a set time, so that the next one is another.
const BEYOND: Duration = Duration::from_secs(1);

/// Preheats ahead of each of the times, for ever.
pub(super) async fn keep(node: &Node, preheat: &Preheat) {
    loop {
        let Some(until) = until_next(preheat) else { return };
        let ahead = until.saturating_sub(preheat.window);
        if !ahead.is_zero() {
            tokio::time::sleep(ahead.min(SLEEP_MAX)).await;
            continue;
        }
        let set_time_ms = unix_ms() + until.as_millis() as u64 + BEYOND.as_millis() as u64;
        node.catalog().cache().ready().await;
        node.warm_state().preheated(now(node, preheat, until).await);
        // The same time is not taken for another.
        while let left = set_time_ms.saturating_sub(unix_ms())
            && left > 0
        {
            tokio::time::sleep(Duration::from_millis(left).min(SLEEP_MAX)).await;
        }
    }
}

fn until_next(preheat: &Preheat) -> Option<Duration> {
    let now = unix_ms();
    preheat.at.iter().map(|at| at.after(now, Duration::ZERO)).min()
}

/// Reads the file and warms its keys, spread over `window`; returns how that ended.
async fn now(node: &Node, preheat: &Preheat, window: Duration) -> &'static str {
    let (catalog, file, routes) = (node.catalog().clone(), preheat.file.clone(), preheat.routes.clone());
    let read = tokio::task::spawn_blocking(move || {
        let mut tally = tally(&catalog, routes);
        tally.read(BufReader::new(File::open(file)?), |_| ())?;
        Ok::<_, std::io::Error>((keys_of(&catalog, &tally), tally.counted, tally.unknown))
    });
    let file = preheat.file.display();
    let (jobs, counted, unknown) = match read.await.map_err(std::io::Error::other).and_then(|read| read) {
        Ok(read) => read,
        Err(error) => {
            tracing::warn!(%file, %error, "the file to preheat from cannot be read");
            return "failed";
        }
    };
    let keys: usize = jobs.iter().map(|(_, keys)| keys.len()).sum();
    tracing::info!(%file, counted, unknown, keys, over_s = window.as_secs(), "preheating");
    let warmed = join_all(jobs.iter().map(|(class, keys)| async {
        let rules = rules(keys.len(), window, preheat);
        class.warm_canonical(keys, &rules, |_| ()).await
    }))
    .await;
    let mut all = Warmed::default();
    warmed.iter().for_each(|class| all.add(class));
    let (l2, source) = (all.of(WarmedFrom::Remote), all.of(WarmedFrom::Source));
    let (held, refused, failed) =
        (all.of(WarmedFrom::Memory), all.of(WarmedFrom::Refused), all.of(WarmedFrom::Failed));
    tracing::info!(%file, keys, held, l2, source, refused, failed, "preheated");
    if refused > 0 { "time_up" } else { "warm" }
}

/// Spread over the window, but for a part of it at its end: what comes late is not too late.
fn rules(keys: usize, window: Duration, preheat: &Preheat) -> WarmRules {
    const PART: f64 = 0.9;
    let per_second =
        (keys as f64 / (window.as_secs_f64() * PART).max(0.001)).ceil().clamp(1.0, u32::MAX.into());
    let spread = NonZeroU32::new(per_second as u32);
    let slower = spread.into_iter().chain(preheat.keys_per_second_max).min();
    WarmRules { within: window, loads_max: preheat.loads_max, keys_per_second_max: slower }
}

/// Counts keys in the normal form of their class.
pub(crate) fn tally(catalog: &Catalog, routes: trueup::warm::Routes) -> Tally<'_> {
    Tally::new(routes, KEYS_MAX_DEFAULT).in_normal_form(|class, key| {
        let class = catalog.get(class).filter(|class| class.cached().is_some())?;
        Some(class.form().parse(key).ok()?.as_str().into())
    })
}

fn keys_of(catalog: &Catalog, tally: &Tally<'_>) -> Vec<(Class<Key, Raw>, Vec<Key>)> {
    let job = |class: trueup::warm::TalliedClass<'_>| {
        let cached = catalog.get(class.name)?.cached()?.clone();
        let keys = class.keys.iter().filter_map(|(key, ..)| cached.form().parse(key).ok()).collect();
        Some((cached, keys))
    };
    tally.classes(KEYS_MAX_DEFAULT).into_iter().filter_map(job).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_spread_over_the_window_and_no_faster_than_declared() {
        let preheat = |most| Preheat {
            file: "log".into(),
            routes: Default::default(),
            at: Vec::new(),
            window: Duration::from_secs(600),
            keys_per_second_max: NonZeroU32::new(most),
            loads_max: NonZeroU32::MIN,
        };
        let window = Duration::from_secs(100);
        let rate = |keys, most| rules(keys, window, &preheat(most)).keys_per_second_max.map(NonZeroU32::get);
        assert_eq!(rate(9_000, 0), Some(100));
        assert_eq!(rate(9_000, 30), Some(30));
        assert_eq!(rate(1, 0), Some(1));
        assert_eq!(rules(5, Duration::ZERO, &preheat(0)).within, Duration::ZERO);
    }
}
