//! What those who told a story measured, beside what is measured here.

use serde::Serialize;

use super::Outcome;

/// A figure of the story's tellers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    /// The figure of ours that it stands beside, by its name.
    pub(super) figure: &'static str,
    /// Before and after, in their words.
    pub(super) told: &'static str,
    /// What ours has to reach.
    pub(super) reach: Reach,
    /// Why ours may fall short; empty where nothing is known that explains it.
    pub(super) short: &'static str,
}

/// When a figure of ours is as good as theirs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reach {
    /// So much, the protected way.
    AtLeast(f64),
    /// So much and no more, the protected way.
    AtMost(f64),
    /// Less than the naive way's by so many percent.
    CutBy(f64),
}

/// Theirs and ours.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Beside {
    pub(crate) figure: &'static str,
    pub(crate) told: &'static str,
    /// Before and after, here.
    pub(crate) here: String,
    /// Ours is as good as theirs, or better.
    pub(crate) reached: bool,
    /// Why it is not.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) short: &'static str,
}

impl Account {
    /// Ours beside it; none where a way has no such figure.
    pub(crate) fn beside(&self, naive: &Outcome, protected: &Outcome) -> Option<Beside> {
        let (before, after) = (naive.figure(self.figure)?, protected.figure(self.figure)?);
        let cut = 100.0 * (1.0 - after.value / before.value.max(f64::MIN_POSITIVE));
        let reached = match self.reach {
            Reach::AtLeast(least) => after.value >= least,
            Reach::AtMost(most) => after.value <= most,
            Reach::CutBy(percent) => cut >= percent,
        };
        let change = match self.reach {
            // What tells is the rest, where nearly all is gone.
            Reach::CutBy(_) if cut > 99.0 => format!(" (-{cut:.2} %)"),
            Reach::CutBy(_) if cut >= 0.0 => format!(" (-{cut:.0} %)"),
            Reach::CutBy(_) => format!(" (+{:.0} %)", -cut),
            _ => String::new(),
        };
        let here = format!("{before} -> {after}{change}");
        let short = if reached { "" } else { self.short };
        Some(Beside { figure: self.figure, told: self.told, here, reached, short })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::Figure;

    const NAME: &str = "queries";

    fn beside(reach: Reach, before: f64, after: f64) -> Beside {
        let outcome = |value| Outcome::new(true, [Figure { what: NAME, value, unit: "" }]);
        let account = Account { figure: NAME, told: "theirs", reach, short: "another load" };
        account.beside(&outcome(before), &outcome(after)).unwrap()
    }

    #[test]
    fn ours_is_held_against_theirs_and_falls_short_with_a_reason() {
        assert!(beside(Reach::AtLeast(89.0), 31.0, 90.0).reached);
        assert!(!beside(Reach::AtMost(0.0), 5.0, 1.0).reached);
        let cut = beside(Reach::CutBy(75.0), 1_000.0, 250.0);
        assert!(cut.reached && cut.here == "1,000 -> 250 (-75 %)" && cut.short.is_empty(), "{cut:?}");
        let less = beside(Reach::CutBy(75.0), 1_000.0, 251.0);
        assert!(!less.reached && less.short == "another load", "{less:?}");
        assert_eq!(beside(Reach::CutBy(99.7), 10_000.0, 1.0).here, "10,000 -> 1 (-99.99 %)");
        assert!(beside(Reach::CutBy(1.0), 0.0, 0.0).here.starts_with("0 -> 0"));
    }

    #[test]
    fn a_figure_that_is_not_there_stands_beside_nothing() {
        let none = Outcome::new(true, []);
        let account = Account { figure: NAME, told: "theirs", reach: Reach::AtMost(0.0), short: "" };
        assert!(account.beside(&none, &none).is_none());
    }
}
