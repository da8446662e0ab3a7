//! What a node reads before anybody asks for it: recorded hot keys at its start, and the keys of an access log ahead of set
//! times. See `docs/guide/warm.md`.

mod preheat;
mod record;
mod start;
mod state;

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use tokio_util::sync::CancellationToken;
use trueup::{plan::WarmSettings, warm::Routes, warm::TimeOfDay};
use trueup_core::{
    class::ColdStart,
    env::{self, Task},
    read::WarmRules,
};

pub use self::state::{WarmEnd, WarmState, WarmStatus};
use crate::node::Node;

/// What is warmed, and from what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where hot keys are kept over a restart; none: nowhere.
    pub state_dir: Option<PathBuf>,
    /// How often they are saved.
    pub save_every: Duration,
    /// What bounds the warming at a start.
    pub rules: WarmRules,
    /// What is read ahead of set times.
    pub preheat: Option<Preheat>,
}

/// Keys that are read ahead of set times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preheat {
    /// An access log, or a list of keys.
    pub file: PathBuf,
    /// Which of its URLs are keys.
    pub routes: Routes,
    /// The times of each day.
    pub at: Vec<TimeOfDay>,
    /// How long before them it begins.
    pub window: Duration,
    /// Most keys of a class in a second.
    pub keys_per_second_max: Option<NonZeroU32>,
    /// Most loads of a class under way at once.
    pub loads_max: NonZeroU32,
}

impl Settings {
    /// Those of the plan's `[warm]`, with the state folder that holds for it.
    #[must_use]
    pub fn of(warm: &WarmSettings, state_dir: Option<PathBuf>) -> Self {
        let preheat = warm.preheat_file.clone().map(|file| Preheat {
            file,
            routes: warm.routes.clone(),
            at: warm.preheat_at.clone(),
            window: warm.preheat_window,
            keys_per_second_max: warm.keys_per_second_max,
            loads_max: warm.loads_at_once,
        });
        let rules = WarmRules {
            within: warm.within,
            loads_max: warm.loads_at_once,
            keys_per_second_max: warm.keys_per_second_max,
        };
        Self { state_dir, save_every: warm.save_every, rules, preheat }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::of(&WarmSettings::default(), None)
    }
}

/// Begins all of it; the tasks end when `stop` is cancelled, hot keys saved.
pub(crate) fn begin(node: &Node, settings: Settings, stop: &CancellationToken) -> Vec<Task> {
    let starts_warm = node.catalog().classes().any(|class| {
        class.cached().is_some_and(|class| matches!(class.plan().cold_start, ColdStart::Warm { .. }))
    });
    if starts_warm {
        node.warm_state().waits();
    }
    let mut tasks = Vec::new();
    if let Some(preheat) = settings.preheat.clone() {
        let (node, stop) = (node.clone(), stop.clone());
        tasks.push(env::spawn("preheating", async move {
            let _ = stop.run_until_cancelled(preheat::keep(&node, &preheat)).await;
        }));
    }
    let (node, stop) = (node.clone(), stop.clone());
    tasks.push(env::spawn("hot keys", async move {
        let recorded = match &settings.state_dir {
            Some(folder) if starts_warm => record::read(folder).await,
            _ => None,
        };
        if stop
            .run_until_cancelled(start::warm(&node, &settings.rules, recorded, starts_warm))
            .await
            .is_none()
        {
            // It never was warm, and what it would save is less than what it has read.
            return;
        }
        if let Some(folder) = settings.state_dir.filter(|_| starts_warm) {
            record::keep(&node, folder, settings.save_every, &stop).await;
        }
    }));
    tasks
}
