//! What `[defaults]` can set for every class, and a class for itself.

use std::{num::NonZeroU32, time::Duration};

use trueup_core::class::{
    AtRest, ClassPlanBuilder, ColdStart, Eviction, Fallback, LifeBound, Priority, Purpose, Settings,
    StampedeScope, Strategy,
};

use super::{guards, section::Section};

/// Most keys that are loaded before a node is ready, unless stated.
const WARM_KEYS_MAX_DEFAULT: NonZeroU32 = NonZeroU32::new(10_000).expect("10,000 is not zero");
/// Weight of early refresh, unless stated: the published optimum.
const BETA_DEFAULT: f64 = 1.0;

/// Settings of a class that have a default. `None` is "not said"; an inner `None` is "off".
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "each field is documented at trueup_core::class::Settings")]
pub struct Tunables {
    pub max_staleness: Option<Duration>,
    pub life: Option<Duration>,
    pub jitter: Option<f64>,
    pub hard_age: Option<Duration>,
    pub negative_life: Option<Option<Duration>>,
    pub serve_stale: Option<Option<Duration>>,
    pub soft_timeout: Option<Option<Duration>>,
    pub hard_timeout: Option<Duration>,
    pub failure_backoff: Option<Duration>,
    pub value_bytes_max: Option<usize>,
    pub l1_capacity: Option<usize>,
    pub l1_eviction: Option<Eviction>,
    pub l1_life: Option<Duration>,
    pub l2: Option<bool>,
    pub l2_life: Option<Duration>,
    pub at_rest: Option<AtRest>,
    pub stampede_scope: Option<StampedeScope>,
    pub loads_max: Option<NonZeroU32>,
    pub refresh: Option<Strategy>,
    pub cold_start: Option<ColdStart>,
    pub check_share: Option<f64>,
    pub hit_rate_floor: Option<Option<f64>>,
    pub hit_rate_window: Option<Duration>,
    pub priority: Option<Priority>,
    pub fallback: Option<Fallback>,
    pub fallback_age_max: Option<Duration>,
    pub fallback_capacity: Option<usize>,
    pub memory_weight: Option<f64>,
}

impl Tunables {
    /// Reads the keys that both `[defaults]` and `[class.NAME]` have.
    pub(super) fn read(section: &Section<'_>) -> Self {
        let read = Self {
            max_staleness: section.duration("max_staleness"),
            life: section.duration("life"),
            jitter: section.share("jitter"),
            hard_age: section.duration("hard_age"),
            negative_life: section.or_off("negative_life", Section::duration),
            serve_stale: section.or_off("serve_stale", Section::duration),
            soft_timeout: section.or_off("soft_timeout", Section::duration),
            hard_timeout: section.duration("hard_timeout"),
            failure_backoff: section.duration("failure_backoff"),
            value_bytes_max: section.bytes("value_bytes_max"),
            l1_capacity: section.bytes("l1_capacity"),
            l1_eviction: section
                .choice("l1_eviction", &Eviction::ALL.map(|policy| (policy.as_str(), policy))),
            l1_life: section.duration("l1_life"),
            l2: section.flag("l2"),
            l2_life: section.duration("l2_life"),
            at_rest: section.choice("at_rest", &AtRest::ALL.map(|choice| (choice.as_str(), choice))),
            stampede_scope: section
                .choice("stampede_scope", &StampedeScope::ALL.map(|scope| (scope.as_str(), scope))),
            loads_max: positive(section, "loads_max"),
            refresh: refresh(section),
            cold_start: cold_start(section),
            check_share: section.share("check_share"),
            hit_rate_floor: section.or_off("hit_rate_floor", Section::share),
            hit_rate_window: section.duration("hit_rate_window"),
            priority: section
                .choice("priority", &Priority::ALL.map(|priority| (priority.as_str(), priority))),
            fallback: guards::fallback(section),
            fallback_age_max: section.duration("fallback_age_max"),
            fallback_capacity: section.bytes("fallback_capacity"),
            memory_weight: section.weight("memory_weight"),
        };
        if read.l2 == Some(false) && read.l2_life.is_some() {
            section.conflict(
                "l2_life",
                "the class is kept out of the remote tier by `l2 = false`",
                "remove one of them",
            );
        }
        read
    }

    /// These settings where something is said, else those of `base` that fit the purpose: lives that come with a
    /// purpose stand above `[defaults]`, and what is never cached has none.
    #[must_use]
    pub fn over(self, base: &Self, purpose: Purpose) -> Self {
        let base = base.fitting(purpose);
        let l2_life = if self.l2 == Some(false) { None } else { base.l2_life };
        Self {
            max_staleness: self.max_staleness.or(base.max_staleness),
            life: self.life.or(base.life),
            jitter: self.jitter.or(base.jitter),
            hard_age: self.hard_age.or(base.hard_age),
            negative_life: self.negative_life.or(base.negative_life),
            serve_stale: self.serve_stale.or(base.serve_stale),
            soft_timeout: self.soft_timeout.or(base.soft_timeout),
            hard_timeout: self.hard_timeout.or(base.hard_timeout),
            failure_backoff: self.failure_backoff.or(base.failure_backoff),
            value_bytes_max: self.value_bytes_max.or(base.value_bytes_max),
            l1_capacity: self.l1_capacity.or(base.l1_capacity),
            l1_eviction: self.l1_eviction.or(base.l1_eviction),
            l1_life: self.l1_life.or(base.l1_life),
            l2: self.l2.or(self.l2_life.map(|_| true)).or(base.l2),
            l2_life: self.l2_life.or(l2_life),
            at_rest: self.at_rest.or(base.at_rest),
            stampede_scope: self.stampede_scope.or(base.stampede_scope),
            loads_max: self.loads_max.or(base.loads_max),
            refresh: self.refresh.or(base.refresh),
            cold_start: self.cold_start.or(base.cold_start),
            check_share: self.check_share.or(base.check_share),
            hit_rate_floor: self.hit_rate_floor.or(base.hit_rate_floor),
            hit_rate_window: self.hit_rate_window.or(base.hit_rate_window),
            priority: self.priority.or(base.priority),
            fallback: self.fallback.or(base.fallback),
            fallback_age_max: self.fallback_age_max.or(base.fallback_age_max),
            fallback_capacity: self.fallback_capacity.or(base.fallback_capacity),
            memory_weight: self.memory_weight.or(base.memory_weight),
        }
    }

    /// What of these defaults a class of that purpose takes.
    fn fitting(&self, purpose: Purpose) -> Self {
        if purpose.never_reason().is_some() {
            return Self { hard_timeout: self.hard_timeout, ..Self::default() };
        }
        let cap = match purpose.life_bound() {
            LifeBound::Free => return self.clone(),
            LifeBound::Default(_) => Duration::MAX,
            LifeBound::AtMost(cap) => cap,
        };
        Self {
            max_staleness: self.max_staleness.filter(|span| *span <= cap),
            life: None,
            hard_age: None,
            negative_life: None,
            serve_stale: None,
            fallback_age_max: None,
            soft_timeout: None,
            l1_life: None,
            l2_life: None,
            ..self.clone()
        }
    }

    /// States these settings in a class.
    pub fn apply(self, mut class: ClassPlanBuilder) -> ClassPlanBuilder {
        /// Calls the setter for what is said.
        macro_rules! state {
            ($($said:expr => $setter:ident;)*) => {$(
                if let Some(value) = $said {
                    class = class.$setter(value);
                }
            )*};
        }
        state! {
            self.max_staleness => max_staleness;
            self.life => life;
            self.jitter => jitter;
            self.hard_age => hard_age;
            self.serve_stale.flatten() => serve_stale;
            self.soft_timeout.flatten() => soft_timeout;
            self.hard_timeout => hard_timeout;
            self.failure_backoff => failure_backoff;
            self.value_bytes_max => value_bytes_max;
            self.l1_capacity => l1_capacity_bytes;
            self.l1_eviction => l1_eviction;
            self.l1_life => l1_life;
            self.at_rest => at_rest;
            self.stampede_scope => stampede_scope;
            self.loads_max => loads_max;
            self.refresh => strategy;
            self.cold_start => cold_start;
            self.check_share => check_share;
            self.hit_rate_floor.flatten() => hit_rate_floor;
            self.hit_rate_window => hit_rate_window;
            self.priority => priority;
            self.fallback => fallback;
            self.fallback_age_max => fallback_age_max;
            self.fallback_capacity => fallback_capacity_bytes;
            self.memory_weight => memory_weight;
        }
        class = match self.negative_life {
            Some(Some(life)) => class.negative_life(life),
            Some(None) => class.no_negative(),
            None => class,
        };
        match (self.l2.unwrap_or(self.l2_life.is_some()), self.l2_life) {
            (true, Some(life)) => class.l2_life(life),
            (true, None) => class.l2(),
            (false, _) => class,
        }
    }

    /// All settings of a class, each said.
    pub(super) fn of(plan: &Settings) -> Self {
        Self {
            max_staleness: Some(plan.max_staleness),
            life: Some(plan.life),
            jitter: Some(plan.jitter),
            hard_age: Some(plan.hard_age),
            negative_life: Some(plan.negative_life),
            serve_stale: Some(plan.serve_stale),
            soft_timeout: Some(plan.soft_timeout),
            hard_timeout: Some(plan.hard_timeout),
            failure_backoff: Some(plan.failure_backoff),
            value_bytes_max: Some(plan.value_bytes_max),
            l1_capacity: Some(plan.l1.capacity_bytes),
            l1_eviction: Some(plan.l1.eviction),
            l1_life: Some(plan.l1.life),
            l2: Some(plan.l2.is_some()),
            l2_life: plan.l2.map(|l2| l2.life),
            at_rest: plan.l2.map(|l2| l2.at_rest),
            stampede_scope: Some(plan.stampede.scope),
            loads_max: Some(plan.stampede.loads_max),
            refresh: Some(plan.stampede.strategy),
            cold_start: Some(plan.cold_start),
            check_share: Some(plan.measurement.check_share),
            hit_rate_floor: Some(plan.measurement.hit_rate_floor),
            hit_rate_window: Some(plan.guards.hit_rate_window),
            priority: Some(plan.guards.priority),
            fallback: Some(plan.guards.fallback.clone()),
            fallback_age_max: Some(plan.guards.fallback_age_max),
            fallback_capacity: Some(plan.guards.fallback_capacity_bytes),
            memory_weight: Some(plan.guards.memory_weight),
        }
    }
}

fn positive(section: &Section<'_>, key: &'static str) -> Option<NonZeroU32> {
    section.count(key, 1..=1_000_000).and_then(|count| u32::try_from(count).ok()).and_then(NonZeroU32::new)
}

fn refresh(section: &Section<'_>) -> Option<Strategy> {
    let chosen = section.choice("refresh", &[("wait", 0), ("early", 1), ("background", 2)]);
    let beta = section.weight("beta");
    let ahead = section.duration("refresh_ahead");
    if beta.is_some() && chosen != Some(1) {
        section.conflict(
            "beta",
            "it weighs early refresh, which is not chosen",
            "write `refresh = \"early\"`",
        );
    }
    if ahead.is_some() && chosen != Some(2) {
        let fix = "write `refresh = \"background\"`";
        section.conflict("refresh_ahead", "it times background refresh, which is not chosen", fix);
    }
    match chosen? {
        0 => Some(Strategy::Wait),
        1 => Some(Strategy::Early { beta: beta.unwrap_or(BETA_DEFAULT) }),
        _ => {
            if section.place_of("refresh_ahead").is_none() {
                let fix = "write how long before its end, such as `refresh_ahead = \"5s\"`";
                section.conflict("refresh", "background refresh must know when an entry is due", fix);
            }
            ahead.map(|ahead| Strategy::Background { ahead })
        }
    }
}

fn cold_start(section: &Section<'_>) -> Option<ColdStart> {
    let warm = section.choice("cold_start", &[("empty", false), ("warm", true)]);
    let keys_max = positive(section, "warm_keys_max");
    if keys_max.is_some() && warm != Some(true) {
        section.conflict(
            "warm_keys_max",
            "it limits warming, which is not chosen",
            "write `cold_start = \"warm\"`",
        );
    }
    match warm? {
        false => Some(ColdStart::Empty),
        true => Some(ColdStart::Warm { keys_max: keys_max.unwrap_or(WARM_KEYS_MAX_DEFAULT) }),
    }
}
