//! What happened, and whether it may have.

use std::{fmt::Write, time::Duration};

use trueup_core::{env::Nanos, receipt::ServedBy};

/// One version of one key.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) key: i64,
    pub(super) value: Option<String>,
    /// When readers could first see it.
    pub(super) visible: Nanos,
    /// When its writer was told that it is committed; the end of time if that never happened.
    pub(super) acknowledged: Nanos,
}

/// One answer for one key.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) key: i64,
    pub(super) value: Option<String>,
    pub(super) by: ServedBy,
    pub(super) start: Nanos,
    pub(super) end: Nanos,
    /// As the receipt says.
    pub(super) age: Duration,
    /// What the reader was promised at most.
    pub(super) bound: Duration,
    /// When the reader's token was given.
    pub(super) token: Option<Nanos>,
}

/// Everything that happened.
#[derive(Debug, Default)]
pub(super) struct History {
    /// In commit order.
    pub(super) versions: Vec<Version>,
    pub(super) answers: Vec<Answer>,
    /// Sums of the two accounts, read in one state.
    pub(super) sums: Vec<i64>,
}

/// What the two accounts hold together, always.
pub(super) const TOTAL: i64 = 100;

impl History {
    pub(super) fn check(&self) -> Result<(), String> {
        for answer in &self.answers {
            self.check_one(answer).map_err(|why| format!("{why}: {answer:?}"))?;
        }
        match self.sums.iter().find(|sum| **sum != TOTAL) {
            Some(sum) => Err(format!("a transfer was seen half done: the accounts hold {sum}")),
            None => Ok(()),
        }
    }

    fn check_one(&self, answer: &Answer) -> Result<(), &'static str> {
        if answer.by != ServedBy::Source && answer.age > answer.bound {
            return Err("P1: older than the reader was promised");
        }
        let since = Nanos(answer.start.0.saturating_sub(answer.age.as_nanos() as u64));
        let of_key: Vec<&Version> =
            self.versions.iter().filter(|version| version.key == answer.key).collect();
        let never = Nanos(u64::MAX);
        let may_be = (0..=of_key.len()).any(|index| {
            let (value, visible) = match index.checked_sub(1) {
                Some(before) => (&of_key[before].value, of_key[before].visible),
                None => (&None, Nanos::ZERO),
            };
            let replaced = of_key.get(index).map_or(never, |next| next.acknowledged);
            let known_to_token = answer.token.is_none_or(|given| replaced > given);
            *value == answer.value && visible <= answer.end && replaced >= since && known_to_token
        });
        if may_be { Ok(()) } else { Err("no version that the answer may show has this value") }
    }

    pub(super) fn count_from_memory(&self) -> usize {
        self.answers.iter().filter(|answer| answer.by == ServedBy::L1).count()
    }

    pub(super) fn count_from_filter(&self) -> usize {
        self.answers.iter().filter(|answer| answer.by == ServedBy::Filter).count()
    }

    /// The history as text, for comparing two runs.
    pub(super) fn lines(&self) -> String {
        let mut lines = String::new();
        for answer in &self.answers {
            writeln!(lines, "{answer:?}").unwrap();
        }
        for version in &self.versions {
            writeln!(lines, "{version:?}").unwrap();
        }
        writeln!(lines, "{:?}", self.sums).unwrap();
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(value: &str, at: u64) -> Version {
        Version { key: 1, value: Some(value.into()), visible: Nanos(at), acknowledged: Nanos(at + 1) }
    }

    fn answer(value: &str, start: u64, age: u64) -> Answer {
        Answer {
            key: 1,
            value: Some(value.into()),
            by: ServedBy::L1,
            start: Nanos(start),
            end: Nanos(start + 5),
            age: Duration::from_nanos(age),
            bound: Duration::from_nanos(20),
            token: None,
        }
    }

    fn check(answer: Answer) -> bool {
        let versions = vec![version("a", 100), version("b", 200)];
        History { versions, answers: vec![answer], sums: vec![TOTAL] }.check().is_ok()
    }

    #[test]
    fn tells_right_from_wrong() {
        assert!(check(answer("a", 150, 0)));
        assert!(check(answer("a", 210, 15)), "as old as it says");
        assert!(!check(answer("a", 210, 5)), "older than it says");
        assert!(!check(answer("a", 250, 30)), "older than promised");
        assert!(!check(answer("b", 190, 0)), "from the future");
        assert!(!check(answer("c", 250, 0)), "from nowhere");
        assert!(!check(Answer { token: Some(Nanos(201)), ..answer("a", 202, 10) }), "behind its token");
        assert!(check(Answer { token: Some(Nanos(201)), ..answer("b", 202, 10) }));
    }
}
