//! `bloom` and `admission` of a class: keys that do not exist, and keys without end.

use std::num::{NonZeroU32, NonZeroU64};

use trueup_core::class::{
    ADMISSION_SEEN_DEFAULT, ADMISSION_SEEN_MAX, AdmissionPlan, BLOOM_ENTRIES_MAX, BLOOM_ERROR_DEFAULT, Bloom,
    ClassPlanBuilder,
};

use super::section::Section;

/// Most keys that a class can be told to keep.
const KEYS_MAX: u64 = 1_000_000_000;

/// States in `class` what `section` says.
pub(super) fn read(section: &Section<'_>, class: ClassPlanBuilder) -> ClassPlanBuilder {
    let class = match bloom(section) {
        Some(bloom) => class.bloom(bloom),
        None => class,
    };
    match admission(section) {
        Some(admission) => class.admission(admission),
        None => class,
    }
}

fn bloom(section: &Section<'_>) -> Option<Bloom> {
    section.get("bloom")?;
    let inner = section.section("bloom");
    let entries = inner.count("entries", 1..=BLOOM_ENTRIES_MAX).and_then(NonZeroU64::new);
    let error = inner.share("error").unwrap_or(BLOOM_ERROR_DEFAULT);
    if inner.is_present() && inner.place_of("entries").is_none() {
        let fix = "write `bloom = { entries = 10_000_000 }`, as many as the table may come to have";
        section.conflict("bloom", "a filter is made for a number of rows", fix);
    }
    inner.finish("key");
    Some(Bloom { entries: entries?, error })
}

fn admission(section: &Section<'_>) -> Option<AdmissionPlan> {
    section.get("admission")?;
    let inner = section.section("admission");
    let keys_max = inner.count("keys_max", 1..=KEYS_MAX).and_then(|keys| NonZeroU32::new(keys as u32));
    let seen = inner.count("seen", 2..=u64::from(ADMISSION_SEEN_MAX));
    let hot_keys = inner.text("hot_keys").map(Into::into);
    if inner.is_present() && inner.place_of("keys_max").is_none() {
        let fix = "write `admission = { keys_max = 20_000 }`";
        section.conflict("admission", "how many keys are kept must be said", fix);
    }
    inner.finish("key");
    let seen = seen.map_or(ADMISSION_SEEN_DEFAULT, |seen| seen as u8);
    Some(AdmissionPlan { seen, keys_max: keys_max?, hot_keys })
}
