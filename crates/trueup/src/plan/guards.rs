//! Limits of the source, fallback values, and memory shared by weight.

use std::num::NonZeroU32;

use serde_json::{Map, Value as Json};
use trueup_core::{
    class::{ClassName, ClassPlan, Fallback},
    guard::LoadLimits,
};

use super::{Plan, error::Problem, node::Value, section::Section};

/// Most loads that a plan may allow, at once or in a second.
const LOADS_MAX: u64 = 1_000_000;
/// What a class gets of shared memory at least, in bytes.
const SHARE_BYTES_MIN: usize = 64 << 10;

/// `loads_max`, `loads_per_second_max` and `critical_reserve` of `[source]`.
pub(super) fn load_limits(section: &Section<'_>) -> LoadLimits {
    let standard = LoadLimits::default();
    let count = |section: &Section<'_>, key| {
        section
            .count(key, 1..=LOADS_MAX)
            .and_then(|count| u32::try_from(count).ok())
            .and_then(NonZeroU32::new)
    };
    let critical_reserve = section.share("critical_reserve").unwrap_or(standard.critical_reserve);
    if critical_reserve > 0.9 {
        let fix = "write at most \"90%\"";
        section.conflict("critical_reserve", "it leaves nothing to loads that are not critical", fix);
    }
    let ramp = section.or_off("ramp", Section::duration).flatten().unwrap_or(standard.ramp);
    let ramp_floor = section.share("ramp_floor");
    if ramp_floor.is_some() && ramp.is_zero() {
        let fix = "write how long it lasts, such as `ramp = \"30s\"`";
        section.conflict("ramp_floor", "it begins a ramp, and none is declared", fix);
    }
    LoadLimits {
        ramp,
        ramp_floor: ramp_floor.unwrap_or(standard.ramp_floor),
        loads_max: count(section, "loads_max").unwrap_or(standard.loads_max),
        loads_per_second_max: section.or_off("loads_per_second_max", count).flatten(),
        critical_reserve,
    }
}

/// `fallback`: `"none"`, `"last-known-good"`, or a table with the value itself.
pub(super) fn fallback(section: &Section<'_>) -> Option<Fallback> {
    const KEY: &str = "fallback";
    match &section.get(KEY)?.value {
        Value::Table(_) => {
            let inner = section.section(KEY);
            let (value, json) = (inner.get("value"), inner.text("json"));
            let declared = match (value, json) {
                (Some(entry), None) => match to_json(&entry.value) {
                    Some(value) => Some(value.to_string()),
                    None => {
                        let fix = "write it as text: `fallback = { json = \"...\" }`";
                        inner.conflict("value", "a date, or a number that JSON has not, is in it", fix);
                        None
                    }
                },
                (None, Some(json)) => Some(json),
                _ => {
                    let fix = "write `fallback = { value = ... }`, or `fallback = { json = \"...\" }`";
                    section.conflict(KEY, "it declares no one value", fix);
                    None
                }
            };
            inner.finish("key");
            declared.map(|json| Fallback::Value(json.into()))
        }
        _ => {
            let last = section.choice(KEY, &[("none", false), ("last-known-good", true)])?;
            Some(if last { Fallback::LastKnownGood } else { Fallback::None })
        }
    }
}

/// A value of the file as JSON.
fn to_json(value: &Value) -> Option<Json> {
    Some(match value {
        Value::Text(text) | Value::Loose(text) => Json::String(text.clone()),
        Value::Integer(number) => Json::from(*number),
        Value::Float(text) => {
            let number: f64 = text.replace('_', "").parse().ok()?;
            Json::Number(serde_json::Number::from_f64(number)?)
        }
        Value::Boolean(value) => Json::Bool(*value),
        Value::List(items) => {
            Json::Array(items.iter().map(|item| to_json(&item.value)).collect::<Option<_>>()?)
        }
        Value::Table(table) => {
            let each =
                |(name, entry): (&String, &super::node::Entry)| Some((name.clone(), to_json(&entry.value)?));
            Json::Object(table.iter().map(each).collect::<Option<Map<_, _>>>()?)
        }
        Value::Date => return None,
    })
}

impl Plan {
    /// Gives each of `names` its part, by weight, of what the other classes leave of `[memory] capacity`.
    pub(super) fn share_memory(&mut self, names: &[ClassName]) -> Result<(), Problem> {
        let Some(capacity) = self.memory.capacity else { return Ok(()) };
        let cached = |plan: &ClassPlan| plan.cacheable().ok().cloned();
        let (mut taken, mut weights) = (0_usize, 0.0);
        for (name, plan) in self.classes.iter().filter_map(|(name, plan)| Some((name, cached(plan)?))) {
            if names.contains(name) {
                weights += plan.guards.memory_weight;
            } else {
                taken = taken.saturating_add(plan.l1.capacity_bytes);
            }
        }
        let left = capacity.checked_sub(taken).ok_or_else(|| Problem::Conflict {
            problem: "classes with an `l1_capacity` of their own take more than that".to_owned(),
            fix: "raise `capacity`, or lower their `l1_capacity`".to_owned(),
        })?;
        for name in names {
            let Some(plan) = self.classes.get(name).and_then(cached) else { continue };
            let share = (left as f64 * (plan.guards.memory_weight / weights)) as usize;
            if share < plan.value_bytes_max.min(SHARE_BYTES_MIN) {
                return Err(Problem::Conflict {
                    problem: format!("class {name:?} would get {share} bytes of it, too few for one value"),
                    fix: "raise `capacity`, or the class's `memory_weight`".to_owned(),
                });
            }
            self.classes.insert(name.clone(), ClassPlan::Cacheable(plan.with_l1_capacity(share)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Result<Plan, String> {
        Plan::parse("trueup.toml", text, &[]).map_err(|errors| errors.to_string())
    }

    fn class(text: &str) -> Result<trueup_core::class::CacheablePlan, String> {
        let plan = plan(&format!("[class.c]\ntable = \"t\"\nkey = \"id\"\n{text}"))?;
        Ok(plan.classes["c"].cacheable().unwrap().clone())
    }

    #[test]
    fn a_fallback_is_named_or_written_as_a_value() {
        let fallback = |text: &str| class(text).map(|plan| plan.guards.fallback.clone());
        assert_eq!(fallback(""), Ok(Fallback::None));
        assert_eq!(fallback("fallback = \"last-known-good\""), Ok(Fallback::LastKnownGood));
        let declared = "fallback = { value = { items = [1, 2.5, true], name = \"a\" } }";
        assert_eq!(fallback(declared), Ok(Fallback::Value("{\"items\":[1,2.5,true],\"name\":\"a\"}".into())));
        assert_eq!(fallback("fallback = { json = \"null\" }"), Ok(Fallback::Value("null".into())));
        for (wrong, says) in [
            ("fallback = \"stale\"", "\"last-known-good\""),
            ("fallback = {}", "declares no one value"),
            ("fallback = { json = \"{\" }", "no JSON"),
            ("fallback = { value = 1, json = \"1\" }", "declares no one value"),
            ("fallback = { value = 2020-01-01 }", "a date"),
            ("fallback = \"last-known-good\"\nfallback_age_max = \"1s\"", "fresh anyway"),
        ] {
            let error = fallback(wrong).unwrap_err();
            assert!(error.contains(says), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_class_that_is_never_cached_has_no_fallback_and_a_session_none_beyond_its_bound() {
        let text =
            "[class.c]\npurpose = \"decision\"\ntable = \"t\"\nkey = \"id\"\nfallback = \"last-known-good\"";
        assert!(plan(text).unwrap_err().contains("never cached"));
        let session = "purpose = \"session\"\nfallback = \"last-known-good\"\n";
        assert!(class(session).is_ok_and(|plan| plan.guards.fallback_age_max.as_secs() == 1_800));
        assert!(class(&format!("{session}fallback_age_max = \"1h\"")).unwrap_err().contains("30min"));
    }

    #[test]
    fn memory_is_shared_by_weight_and_what_is_stated_comes_first() {
        let text = "[memory]\ncapacity = \"100MiB\"\n\
            [class.a]\ntable = \"a\"\nkey = \"id\"\nmemory_weight = 3\n\
            [class.b]\ntable = \"b\"\nkey = \"id\"\n\
            [class.c]\ntable = \"c\"\nkey = \"id\"\nl1_capacity = \"20MiB\"\n\
            [class.d]\ntable = \"d\"\nkey = \"id\"\npurpose = \"decision\"\n";
        let shared = plan(text).unwrap();
        let capacity = |name: &str| shared.classes[name].cacheable().unwrap().l1.capacity_bytes >> 20;
        assert_eq!((capacity("a"), capacity("b"), capacity("c")), (60, 20, 20));
        assert_eq!(plan(&super::super::render(&shared, &[])).unwrap(), shared);
        let little = text.replace("100MiB", "10MiB");
        assert!(plan(&little).unwrap_err().contains("take more than that"));
        let none = text.replace("100MiB", "20MiB");
        assert!(plan(&none).unwrap_err().contains("too few for one value"));
    }

    #[test]
    fn discovered_tables_share_memory_too() {
        let mut shared = plan("[memory]\ncapacity = \"64MiB\"\n").unwrap();
        let table = |name: &str| super::super::DiscoveredTable {
            table: name.to_owned(),
            key: vec!["id".to_owned()],
            columns: vec!["id".to_owned()],
        };
        assert!(shared.discover(&[table("a"), table("b")]).is_empty());
        let capacity = |name: &str| shared.classes[name].cacheable().unwrap().l1.capacity_bytes >> 20;
        assert_eq!((capacity("a"), capacity("b")), (32, 32));
    }
}
