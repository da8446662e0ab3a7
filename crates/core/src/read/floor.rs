//! Watches a class's hit rate, and has the source's guard limit what is not critical while it is below its floor.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::ClassCore;
use crate::{
    class::units::{show_duration, show_share},
    entry::CacheValue,
    env::{self, Task},
    guard::{HitRateFloor, SourceGuard, Turn},
};

/// Whether a class's hit rate is below its floor; takes itself back when the class goes.
#[derive(Debug)]
pub(super) struct FloorState {
    guard: Arc<SourceGuard>,
    class: crate::class::ClassName,
    is_low: AtomicBool,
}

impl FloorState {
    pub(super) const fn new(guard: Arc<SourceGuard>, class: crate::class::ClassName) -> Self {
        Self { guard, class, is_low: AtomicBool::new(false) }
    }

    pub(super) fn is_low(&self) -> bool {
        self.is_low.load(Ordering::Relaxed)
    }

    fn set(&self, is_low: bool) {
        self.is_low.store(is_low, Ordering::Relaxed);
        self.guard.hit_rate_is_low(&self.class, is_low);
    }
}

impl Drop for FloorState {
    fn drop(&mut self) {
        if self.is_low() {
            self.set(false);
        }
    }
}

impl<K, V> ClassCore<K, V>
where
    K: Clone + Send + Sync + 'static,
    V: CacheValue,
{
    /// Watches the hit rate, where the class has a floor for it.
    pub(crate) fn watch_hit_rate(self: &Arc<Self>) -> Option<Task> {
        let floor = self.plan.measurement.hit_rate_floor?;
        let window = self.plan.guards.hit_rate_window;
        let core = Arc::downgrade(self);
        Some(env::spawn("hit rate floor", async move {
            let mut watch = HitRateFloor::new(floor, window);
            loop {
                tokio::time::sleep(watch.every()).await;
                let Some(core) = core.upgrade() else { return };
                let turn = watch.observe(core.clock.now(), core.stats.hit_counts());
                let class = core.plan.name.as_str();
                let (floor, window) = (show_share(floor), show_duration(window));
                match turn {
                    Some(Turn::Below(rate)) => {
                        tracing::warn!(
                            class,
                            rate,
                            floor,
                            window,
                            "the hit rate is below its floor: loads that are not critical are limited"
                        );
                        core.floor.set(true);
                    }
                    Some(Turn::Above(rate)) => {
                        tracing::info!(class, rate, floor, window, "the hit rate is above its floor again");
                        core.floor.set(false);
                    }
                    None => {}
                }
            }
        }))
    }
}
