//! Before a node is ready: its recorded hot keys are read, within a time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use trueup::catalog::CatalogClass;
use trueup_core::{
    class::ColdStart,
    entry::Raw,
    key::Key,
    policy::RecordedKeys,
    read::{Class, WarmRules},
    stats::{Warmed, WarmedFrom},
};

use super::state::WarmEnd;
use crate::node::Node;

/// How often progress is logged.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// Reads what was recorded, once the feed has caught up, and then lets the node be ready. From then on its ramp counts.
pub(super) async fn warm(node: &Node, rules: &WarmRules, recorded: Option<RecordedKeys>, starts_warm: bool) {
    // Also counted on from, so that the next save knows more than this process has seen.
    let mut jobs = Vec::new();
    for class in recorded.iter().flat_map(|recorded| &recorded.classes) {
        // Of a class that is gone, or starts empty now, nothing is wanted.
        let Some(cached) = node.catalog().get(&class.name).and_then(|known| warm_class(known)) else {
            continue;
        };
        let keys = cached.0.restore_hot_keys(&class.keys);
        jobs.push((cached.0, keys.into_iter().take(cached.1).collect::<Vec<_>>()));
    }
    node.catalog().cache().ready().await;
    if starts_warm {
        read_all(node, rules, jobs).await;
    }
    node.catalog().cache().source_guard().begin_ramp();
}

/// The class, if it starts warm, and with how many keys at most.
fn warm_class(class: &CatalogClass) -> Option<(Class<Key, Raw>, usize)> {
    let cached = class.cached()?;
    match cached.plan().cold_start {
        ColdStart::Warm { keys_max } => Some((cached.clone(), keys_max.get() as usize)),
        ColdStart::Empty => None,
    }
}

async fn read_all(node: &Node, rules: &WarmRules, jobs: Vec<(Class<Key, Raw>, Vec<Key>)>) {
    let total: u64 = jobs.iter().map(|(_, keys)| keys.len() as u64).sum();
    let clock = node.clock();
    let began = clock.now();
    node.warm_state().begins(began, total);
    if total == 0 {
        node.warm_state().ends(clock.now(), WarmEnd::Nothing, Warmed::default());
        tracing::info!("there are no recorded hot keys yet: the node starts cold");
        return;
    }
    tracing::info!(keys = total, within_s = rules.within.as_secs(), "reading the recorded hot keys");
    let told = Arc::new(AtomicU64::new(clock.now().0));
    let read = jobs.iter().map(|(class, keys)| {
        let (node, told) = (node.clone(), Arc::clone(&told));
        class.warm_canonical(keys, rules, move |batch| {
            let done = node.warm_state().advance(batch.total());
            let (now, last) = (node.clock().now().0, told.load(Ordering::Relaxed));
            if now.saturating_sub(last) >= TELL_EVERY.as_nanos() as u64
                && told.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
            {
                tracing::info!(done, total, "reading the recorded hot keys");
            }
        })
    });
    let mut warmed = Warmed::default();
    join_all(read).await.iter().for_each(|class| warmed.add(class));
    // A source that fails is asked again until the time is over.
    let is_late = clock.now().since(began) >= rules.within && warmed.of(WarmedFrom::Failed) > 0;
    let end = if warmed.of(WarmedFrom::Refused) > 0 || is_late { WarmEnd::TimeUp } else { WarmEnd::Warm };
    node.warm_state().ends(clock.now(), end, warmed);
    let took_s = node.warm_state().status().took_s;
    let (l2, source) = (warmed.of(WarmedFrom::Remote), warmed.of(WarmedFrom::Source));
    let (refused, failed) = (warmed.of(WarmedFrom::Refused), warmed.of(WarmedFrom::Failed));
    match end {
        WarmEnd::TimeUp => tracing::warn!(
            total,
            l2,
            source,
            refused,
            failed,
            took_s,
            "the time to read hot keys is over: the node serves with those it has"
        ),
        _ => tracing::info!(total, l2, source, failed, took_s, "the recorded hot keys have been read"),
    }
}
