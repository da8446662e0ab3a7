//! Hit rates that a running server has counted, against the floors of the plan.

use trueup_core::class::units::show_share;

/// Reads of a class below which its hit rate says nothing: memory is still being filled.
const READS_MIN: u64 = 1_000;

/// What a server has counted, class by class.
#[derive(Debug)]
pub(super) struct HitRates {
    classes: Vec<Class>,
}

#[derive(Debug)]
struct Class {
    name: String,
    reads: u64,
    hit_rate: Option<f64>,
}

/// What the counts say about one floor.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) evidence: String,
    pub(super) is_below: bool,
}

impl Verdict {
    /// No server was named.
    pub(super) fn unasked() -> Self {
        let evidence = "no server was asked: name one with --http to compare".to_owned();
        Self { evidence, is_below: false }
    }
}

impl HitRates {
    /// What was counted: class, reads, hit rate.
    pub(super) fn of(counted: impl Iterator<Item = (String, u64, Option<f64>)>) -> Self {
        Self { classes: counted.map(|(name, reads, hit_rate)| Class { name, reads, hit_rate }).collect() }
    }

    /// Holds the hit rate of `class` against `floor`, a share from 0 to 1.
    pub(super) fn judge(&self, class: &str, floor: f64) -> Verdict {
        let counted = self.classes.iter().find(|counted| counted.name == class);
        let (evidence, is_below) = match counted {
            None => ("the server does not serve this class".to_owned(), false),
            Some(Class { reads, hit_rate: Some(rate), .. }) if *reads >= READS_MIN => {
                let shown = show_share(floor);
                (format!("hit rate {:.1}% of {reads} reads, floor {shown}", rate * 100.0), *rate < floor)
            }
            Some(Class { reads, .. }) => {
                (format!("{reads} reads so far; a hit rate counts from {READS_MIN} on"), false)
            }
        };
        Verdict { evidence, is_below }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_is_judged_by_enough_reads_alone() {
        let judge = |reads, hit_rate| {
            let counted = Class { name: "user".to_owned(), reads, hit_rate };
            let verdict = HitRates { classes: vec![counted] }.judge("user", 0.8);
            (verdict.is_below, verdict.evidence)
        };
        assert_eq!(
            judge(READS_MIN, Some(0.799)),
            (true, "hit rate 79.9% of 1000 reads, floor 80%".to_owned())
        );
        assert!(!judge(READS_MIN, Some(0.8)).0, "the floor itself is high enough");
        let few = "999 reads so far; a hit rate counts from 1000 on".to_owned();
        assert_eq!(judge(READS_MIN - 1, Some(0.1)), (false, few));
        assert!(!judge(0, None).0);
        let nobody = HitRates { classes: Vec::new() }.judge("user", 0.8);
        assert!(!nobody.is_below && nobody.evidence.contains("does not serve"), "{nobody:?}");
    }
}
