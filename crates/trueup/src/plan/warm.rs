//! `[warm]`: what is read before anybody asks for it.

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use trueup_core::read::WARM_LOADS_DEFAULT;

use super::section::Section;
use crate::warm::{Route, Routes, TimeOfDay};

/// How often hot keys are saved, unless stated.
const SAVE_EVERY_DEFAULT: Duration = Duration::from_secs(60);
/// How long a node is not ready because it warms, at most, unless stated.
const WITHIN_DEFAULT: Duration = Duration::from_secs(30);
/// How long before its time preheating begins, unless stated.
const PREHEAT_WINDOW_DEFAULT: Duration = Duration::from_secs(600);
/// The longest such time: it is one of a day.
const PREHEAT_WINDOW_MAX: Duration = Duration::from_secs(12 * 3_600);
/// Most keys in a second that a plan may allow.
const RATE_MAX: u64 = 1_000_000;

/// `[warm]`: hot keys over a restart, and ahead of a set time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WarmSettings {
    /// Where hot keys are kept over a restart; none: where the ledger is.
    pub state_dir: Option<PathBuf>,
    /// How often they are saved.
    pub save_every: Duration,
    /// How long the node is not ready because it warms, at most.
    pub within: Duration,
    /// Most loads under way at once that warm, of each class.
    pub loads_at_once: NonZeroU32,
    /// Most keys of a class that are warmed in a second; none: as many as the source lets through.
    pub keys_per_second_max: Option<NonZeroU32>,
    /// Which URLs of access logs are keys of which class, besides the server's own.
    pub routes: Routes,
    /// The access log, or the list of keys, that is read ahead of the set times.
    pub preheat_file: Option<PathBuf>,
    /// The times, each day, by which its keys are to be warm; UTC.
    pub preheat_at: Vec<TimeOfDay>,
    /// How long before each time that begins; its keys are spread over this.
    pub preheat_window: Duration,
}

impl Default for WarmSettings {
    fn default() -> Self {
        Self {
            state_dir: None,
            save_every: SAVE_EVERY_DEFAULT,
            within: WITHIN_DEFAULT,
            loads_at_once: WARM_LOADS_DEFAULT,
            keys_per_second_max: None,
            routes: Routes::default(),
            preheat_file: None,
            preheat_at: Vec::new(),
            preheat_window: PREHEAT_WINDOW_DEFAULT,
        }
    }
}

impl WarmSettings {
    pub(super) fn read(section: Section<'_>) -> Self {
        let standard = Self::default();
        let count = |section: &Section<'_>, key, most| {
            section.count(key, 1..=most).and_then(|count| u32::try_from(count).ok()).and_then(NonZeroU32::new)
        };
        let read = Self {
            state_dir: section.text("state_dir").map(PathBuf::from),
            save_every: section.duration("save_every").unwrap_or(standard.save_every),
            within: section.duration("within").unwrap_or(standard.within),
            loads_at_once: count(&section, "loads_at_once", 64).unwrap_or(standard.loads_at_once),
            keys_per_second_max: section
                .or_off("keys_per_second_max", |section, key| count(section, key, RATE_MAX))
                .flatten(),
            routes: Routes(parsed::<Route>(&section, "routes")),
            preheat_file: section.text("preheat_file").map(PathBuf::from),
            preheat_at: parsed(&section, "preheat_at"),
            preheat_window: section.duration("preheat_window").unwrap_or(standard.preheat_window),
        };
        match (&read.preheat_file, read.preheat_at.is_empty()) {
            (Some(_), true) if section.place_of("preheat_at").is_none() => {
                let fix =
                    "write the times by which they are to be warm, UTC, such as `preheat_at = \"08:30\"`";
                section.conflict("preheat_file", "nobody knows when its keys are to be read", fix);
            }
            (None, false) => {
                let fix = "name an access log, or a list of keys: `preheat_file = \"PATH\"`";
                section.conflict("preheat_at", "nobody knows what is to be read", fix);
            }
            _ => {}
        }
        if read.preheat_window > PREHEAT_WINDOW_MAX {
            section.conflict("preheat_window", "it is longer than half a day", "write \"12h\" at most");
        }
        if read.save_every.is_zero() {
            section.conflict("save_every", "nothing can be saved all the time", "write \"60s\"");
        }
        section.finish("key");
        read
    }
}

/// Each text of a list; what is none is reported in its own words.
fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(section: &Section<'_>, key: &'static str) -> Vec<T> {
    let texts = section.texts(key).unwrap_or_default();
    texts
        .iter()
        .filter_map(|text| match text.parse() {
            Ok(one) => Some(one),
            Err(error) => {
                let error: T::Err = error;
                let told = error.to_string();
                let (problem, fix) = told.split_once("; ").unwrap_or((&told, "see the guide"));
                section.conflict(key, format!("{text:?}: {problem}"), fix);
                None
            }
        })
        .collect()
}
