//! Filters of the keys there are, and admission.

use super::Findings;
use crate::class::{
    ADMISSION_SEEN_MAX, BLOOM_ENTRIES_MAX, BLOOM_ERROR_MAX, BLOOM_ERROR_MIN, Decision, Invalidation, Origin,
    Pattern, Settings, Tags, units::show_share,
};

pub(super) fn check_bloom(plan: &Settings, findings: &mut Findings) {
    let Some(bloom) = plan.bloom else { return };
    let mut refuse = |problem: String, fix: &str| {
        findings.conflict(Decision::Size, "bloom", problem, fix);
    };
    if !(BLOOM_ERROR_MIN..=BLOOM_ERROR_MAX).contains(&bloom.error) {
        let problem = format!("the share of {} is out of range", show_share(bloom.error));
        refuse(problem, "write an `error` such as \"0.01%\", 10% at most");
    }
    if bloom.entries.get() > BLOOM_ENTRIES_MAX {
        let problem = format!("{} rows are more than a filter can be made for", bloom.entries);
        refuse(problem, "write fewer `entries`, or leave `bloom` out");
    }
    let of_rows = matches!(plan.origin, Origin::Table(_) | Origin::Loader)
        && (plan.invalidation == Invalidation::Feed(Tags::Row) || plan.origin == Origin::Loader);
    if !of_rows || matches!(plan.invalidation, Invalidation::AgeBounded { .. }) {
        refuse(
            "only rows of a `table` that depend on their own row are all known by the feed".to_owned(),
            "remove `bloom`; `negative_life` keeps absences for any class",
        );
    }
    if matches!(plan.pattern, Pattern::WriteBehind { .. } | Pattern::CacheAside) {
        refuse(
            format!("values of a class with pattern = {:?} are not those of a table", plan.pattern.as_str()),
            "remove `bloom`",
        );
    }
}

pub(super) fn check_admission(plan: &Settings, findings: &mut Findings) {
    let Some(admission) = &plan.admission else { return };
    if !(2..=ADMISSION_SEEN_MAX).contains(&admission.seen) {
        findings.conflict(
            Decision::Size,
            "admission",
            format!("seen = {} is out of range", admission.seen),
            format!("write 2 to {ADMISSION_SEEN_MAX}, or remove `admission` to keep every key"),
        );
    }
    // Used up in part by what a tier spends itself: a bound for the sake of a clear message, not an exact one.
    let bytes_each = plan.l1.capacity_bytes / admission.keys_max.get() as usize;
    if bytes_each < ENTRY_BYTES_MIN {
        findings.conflict(
            Decision::Size,
            "admission",
            format!(
                "l1_capacity leaves {bytes_each} bytes for each of {} keys, less than the smallest entry takes",
                admission.keys_max
            ),
            "lower `keys_max`, or raise `l1_capacity`",
        );
    }
}

/// Bytes of the smallest entry.
const ENTRY_BYTES_MIN: usize = 256;
