//! How warm a node is.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use serde::Serialize;
use trueup_core::{env::Nanos, stats::Warmed};

/// How the warming at a start has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarmEnd {
    /// There was nothing to read: no class starts warm, or nothing was recorded.
    Nothing,
    /// All recorded keys were read, or could not be.
    Warm,
    /// The time for it was over first.
    TimeUp,
}

impl WarmEnd {
    /// All of them, in the order of their metrics.
    pub const ALL: [Self; 3] = [Self::Nothing, Self::Warm, Self::TimeUp];

    /// The name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Warm => "warm",
            Self::TimeUp => "time_up",
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Nothing keeps the node from being ready.
    Idle,
    /// The feed has to catch up first.
    Waiting,
    Warming {
        since: Nanos,
        total: u64,
    },
    Ended {
        end: WarmEnd,
        took: Duration,
        total: u64,
        warmed: Warmed,
    },
}

/// How warm a node is; shared by whoever warms and whoever tells.
#[derive(Debug)]
pub struct WarmState {
    phase: Mutex<Phase>,
    done: AtomicU64,
    preheats: [AtomicU64; PREHEATS.len()],
}

/// How preheating ahead of a set time can end, as labels.
pub(crate) const PREHEATS: [&str; 3] = ["warm", "time_up", "failed"];

/// How warm a node is, at one time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WarmStatus {
    /// `idle`, `waiting`, `warming`, or how it has ended: `nothing`, `warm`, `time_up`.
    pub phase: &'static str,
    /// Keys that are to be read at the start.
    pub total: u64,
    /// Those of them that have been taken up.
    pub done: u64,
    /// Those of them that can be answered without the source; known at the end.
    pub warm: Option<u64>,
    /// Seconds that it took; known at the end.
    pub took_s: Option<f64>,
}

impl Default for WarmState {
    fn default() -> Self {
        Self { phase: Mutex::new(Phase::Idle), done: AtomicU64::new(0), preheats: Default::default() }
    }
}

impl WarmState {
    /// The node is not ready before it is warm.
    pub(super) fn waits(&self) {
        *self.phase.lock() = Phase::Waiting;
    }

    pub(super) fn begins(&self, now: Nanos, total: u64) {
        self.done.store(0, Ordering::Relaxed);
        *self.phase.lock() = Phase::Warming { since: now, total };
    }

    pub(super) fn advance(&self, keys: u64) -> u64 {
        self.done.fetch_add(keys, Ordering::Relaxed) + keys
    }

    pub(super) fn ends(&self, now: Nanos, end: WarmEnd, warmed: Warmed) {
        let mut phase = self.phase.lock();
        let (took, total) = match *phase {
            Phase::Warming { since, total } => (now.since(since), total),
            _ => (Duration::ZERO, 0),
        };
        *phase = Phase::Ended { end, took, total, warmed };
    }

    pub(super) fn preheated(&self, outcome: &str) {
        if let Some(at) = PREHEATS.iter().position(|one| *one == outcome) {
            self.preheats[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often keys were read ahead of a set time, by how that ended.
    pub(crate) fn preheats(&self) -> [(&'static str, u64); PREHEATS.len()] {
        std::array::from_fn(|i| (PREHEATS[i], self.preheats[i].load(Ordering::Relaxed)))
    }

    /// Why the node is not ready yet; none where warming does not keep it.
    pub(crate) fn not_ready(&self) -> Option<String> {
        let phase = *self.phase.lock();
        match phase {
            Phase::Idle | Phase::Ended { .. } => None,
            Phase::Waiting => Some("its recorded hot keys are to be read first".to_owned()),
            Phase::Warming { total, .. } => {
                let done = self.done.load(Ordering::Relaxed).min(total);
                Some(format!("it reads its recorded hot keys: {done} of {total}"))
            }
        }
    }

    /// How warm the node is.
    #[must_use]
    pub fn status(&self) -> WarmStatus {
        let phase = *self.phase.lock();
        let done = self.done.load(Ordering::Relaxed);
        match phase {
            Phase::Idle => WarmStatus { phase: "idle", ..WarmStatus::default() },
            Phase::Waiting => WarmStatus { phase: "waiting", ..WarmStatus::default() },
            Phase::Warming { total, .. } => {
                WarmStatus { phase: "warming", total, done, ..WarmStatus::default() }
            }
            Phase::Ended { end, took, total, warmed } => WarmStatus {
                phase: end.as_str(),
                total,
                done: warmed.total(),
                warm: Some(warmed.warm()),
                took_s: Some(took.as_secs_f64()),
            },
        }
    }
}
