//! The plan: classes and settings, read from `trueup.toml`, the environment and flags.
//!
//! Layers, later ones winning: defaults, file, `TRUEUP__SECTION__KEY`, flags. Every finding is reported at once, each
//! with its line and what to do. Keys, types, units and defaults stand in `docs/guide/plan.md`.

mod absent;
mod behind;
mod class;
mod discover;
mod error;
mod guards;
mod l2;
mod node;
mod overrides;
mod reload;
mod render;
mod section;
mod server;
#[cfg(test)]
mod tests;
mod tunables;
mod warm;

use std::{collections::BTreeMap, path::Path};

use trueup_core::class::{Bloom, ClassName, ClassPlan, ClassPlanBuilder, Purpose};

pub(crate) use self::behind::is_written_behind;
pub use self::{
    behind::WriteBehindSettings,
    discover::{DiscoveredTable, Skipped},
    error::{ConfigError, ConfigErrors, Place, Problem},
    l2::{AddressError, RemoteAddress, RemoteNode},
    overrides::{ENVIRONMENT_PREFIX, Override},
    reload::Reloader,
    render::render,
    server::{
        FleetSettings, L2Settings, MemorySettings, SecretFile, ServerSettings, SourceSettings, SourceUrl,
    },
    tunables::Tunables,
    warm::WarmSettings,
};
use self::{
    error::nearest,
    node::Table,
    section::{Findings, Section},
};

/// Everything that is configured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The database of record; a library user hands the engine one instead.
    pub source: Option<SourceSettings>,
    /// `[fleet]`; none for a node on its own.
    pub fleet: Option<FleetSettings>,
    /// Where clients come in.
    pub server: ServerSettings,
    /// What the proof may take.
    pub memory: MemorySettings,
    /// The remote tier.
    pub l2: Option<L2Settings>,
    /// What is read before anybody asks for it.
    pub warm: WarmSettings,
    /// The journal of accepted writes.
    pub write_behind: Option<WriteBehindSettings>,
    /// What classes take unless they say otherwise.
    pub defaults: Tunables,
    /// The classes.
    pub classes: BTreeMap<ClassName, ClassPlan>,
    /// Classes of the text that say nothing of a remote tier.
    l2_unsaid: Unsaid,
}

/// What a text leaves open is no part of what it says.
#[derive(Clone, Debug, Default)]
struct Unsaid(Vec<ClassName>);

impl PartialEq for Unsaid {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// No class of that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown class {name:?}{}; known: {known}", .suggestion.as_deref().map(|s| format!(", did you mean {s:?}?")).unwrap_or_default())]
pub struct UnknownClass {
    name: String,
    suggestion: Option<String>,
    known: String,
}

impl Plan {
    /// Reads `text`, which errors call `file`, and lays `overrides` over it.
    ///
    /// # Errors
    /// [`ConfigErrors`]: everything that is wrong, in the order of the file.
    pub fn parse(file: &str, text: &str, overrides: &[Override]) -> Result<Self, ConfigErrors> {
        let (mut root, mut errors) = node::parse(text);
        // What follows from half a file would only hide what is wrong with it.
        if errors.is_empty() {
            errors = overrides::merge(&mut root, overrides);
            let findings = Findings::default();
            let plan = Self::read(&root, &findings);
            errors.extend(findings.errors.into_inner());
            if errors.is_empty() {
                return Ok(plan);
            }
        }
        errors.sort_by(|a, b| a.place.cmp(&b.place));
        Err(ConfigErrors { file: file.to_owned(), errors })
    }

    /// Reads the file at `path`, or no file, and lays `overrides` over it.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), or the file cannot be read.
    pub fn load(path: Option<&Path>, overrides: &[Override]) -> Result<Self, ConfigErrors> {
        let Some(path) = path else { return Self::parse("configuration", "", overrides) };
        let file = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&file, &text, overrides),
            Err(error) => {
                let problem = Problem::Unreadable(error.to_string());
                let error = ConfigError { place: Place::Whole, path: String::new(), problem };
                Err(ConfigErrors { file, errors: vec![error] })
            }
        }
    }

    fn read(root: &Table, findings: &Findings) -> Self {
        let root = Section::root(root, findings);
        let source = SourceSettings::read(root.section("source"));
        let fleet = FleetSettings::read(root.section("fleet"));
        let server = ServerSettings::read(root.section("server"));
        let memory = MemorySettings::read(root.section("memory"));
        let warm = WarmSettings::read(root.section("warm"));
        let l2_section = root.section("l2");
        let has_l2 = l2_section.is_present();
        let l2 = L2Settings::read(l2_section);
        let write_behind_section = root.section("write_behind");
        let has_journal = write_behind_section.is_present();
        let write_behind = WriteBehindSettings::read(write_behind_section);
        let defaults_section = root.section("defaults");
        let mut defaults = Tunables::read(&defaults_section);
        // Whoever names a remote tier means it to be used.
        defaults.l2 = defaults.l2.or(has_l2.then_some(true));
        let mut classes = BTreeMap::new();
        let (mut sharing, mut l2_unsaid) = (Vec::new(), Vec::new());
        let memory_place = root.section("memory").place_of("capacity");
        for (name, section) in root.section("class").named() {
            let place = (section.place.clone(), section.path.clone());
            let journal_place = place.clone();
            let has_capacity = section.place_of("l1_capacity").is_some() || defaults.l1_capacity.is_some();
            let says_l2 = section.place_of("l2").is_some() || defaults.l2.is_some();
            let Some(plan) = class::read(name, section, &defaults, &defaults_section) else { continue };
            if !says_l2 {
                l2_unsaid.push(plan.name().clone());
            }
            if !has_capacity {
                sharing.push(plan.name().clone());
            }
            if !has_l2 && plan.cacheable().is_ok_and(|plan| plan.l2.is_some()) {
                let problem = "the class asks for a remote tier, and none is named".to_owned();
                let fix = "name one (`--l2 URL`, or `[l2]` with `urls`), or write `l2 = false`".to_owned();
                root.report_at(place.0, place.1, Problem::Conflict { problem, fix });
            }
            if !has_journal && is_written_behind(&plan) {
                let problem = "the class is written behind, and no journal is named".to_owned();
                let fix = "write a section `[write_behind]` with `journal = \"/var/lib/trueup/journal\"`"
                    .to_owned();
                root.report_at(journal_place.0, journal_place.1, Problem::Conflict { problem, fix });
            }
            classes.insert(plan.name().clone(), plan);
        }
        defaults_section.finish("key");
        root.finish("section");
        let l2_unsaid = Unsaid(l2_unsaid);
        let mut plan =
            Self { source, fleet, server, memory, l2, warm, write_behind, defaults, classes, l2_unsaid };
        if let Err(problem) = plan.share_memory(&sharing) {
            let path = "memory.capacity".to_owned();
            findings.errors.borrow_mut().push(ConfigError {
                place: memory_place.unwrap_or_default(),
                path,
                problem,
            });
        }
        plan
    }

    /// The class of that name.
    ///
    /// # Errors
    /// [`UnknownClass`] with the nearest name.
    pub fn class(&self, name: &str) -> Result<&ClassPlan, UnknownClass> {
        self.classes.get(name).ok_or_else(|| self.unknown(name))
    }

    /// Where the node keeps what it knows over a restart: its own folder for hot keys, or else that of its ledger.
    #[must_use]
    pub fn state_dir(&self) -> Option<&Path> {
        let of_fleet = || self.fleet.as_ref().and_then(|fleet| fleet.state_dir.as_deref());
        self.warm.state_dir.as_deref().or_else(of_fleet)
    }

    /// A remote tier is there although the plan names none: classes use it unless they, or `[defaults]`, say `l2 = false`.
    pub(crate) fn use_l2(&mut self) {
        self.defaults.l2 = self.defaults.l2.or(Some(true));
        for name in std::mem::take(&mut self.l2_unsaid.0) {
            if let Some(class) = self.classes.get_mut(&name)
                && let ClassPlan::Cacheable(plan) = class
            {
                *plan = plan.clone().with_l2();
            }
        }
    }

    /// Classes that know the keys there are, with their filters.
    pub fn filters(&self) -> impl Iterator<Item = (ClassName, Bloom)> {
        self.classes.values().filter_map(|class| {
            let plan = class.cacheable().ok()?;
            Some((plan.name.clone(), plan.bloom?))
        })
    }

    /// What to say of a class that is not there.
    pub(crate) fn unknown(&self, name: &str) -> UnknownClass {
        UnknownClass {
            name: name.chars().take(trueup_core::class::CLASS_NAME_BYTES_MAX).collect(),
            suggestion: nearest(name, self.classes.keys().map(ClassName::as_str)),
            known: self.classes.keys().map(ClassName::as_str).collect::<Vec<_>>().join(", "),
        }
    }

    /// Starts a class in Rust, with `[defaults]` already stated.
    pub fn start(&self, purpose: Purpose, name: &str) -> ClassPlanBuilder {
        Tunables::default().over(&self.defaults, purpose).apply(ClassPlan::of(purpose, name))
    }
}
