//! Which answers were wrong.
//!
//! The database numbers the versions of a row under its lock, so a version is a place in the database's own history. A
//! writer notes when the commit that made a version was acknowledged to it. An answer is wrong if, longer than the bound
//! before its read began, a newer version had been acknowledged. Nothing else is counted: an answer that lacks a commit of
//! a moment ago, or shows one that nobody was told of yet, is right.

use std::{collections::HashMap, path::Path};

use anyhow::{Context as _, Result, bail, ensure};

use crate::clock::Nanos;

/// What all nodes have seen.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// By key: version and acknowledgement.
    writes: HashMap<i64, Vec<(i64, Nanos)>>,
    /// Key, version, start.
    reads: Vec<(i64, i64, Nanos)>,
    failed: u64,
    /// Invalidations that failed.
    untold: u64,
}

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) reads: u64,
    pub(crate) wrong: u64,
    /// Reads without an answer.
    pub(crate) failed: u64,
    pub(crate) untold: u64,
    pub(crate) writes: u64,
    /// How long the newer version had been acknowledged before the worst of the wrong reads.
    pub(crate) oldest: Nanos,
}

impl Verdict {
    pub(crate) fn add(&mut self, other: Self) {
        self.reads += other.reads;
        self.wrong += other.wrong;
        self.failed += other.failed;
        self.untold += other.untold;
        self.writes += other.writes;
        self.oldest = self.oldest.max(other.oldest);
    }

    /// Wrong answers of a million.
    pub(crate) fn per_million(&self) -> f64 {
        self.wrong as f64 * 1e6 / self.reads.max(1) as f64
    }
}

impl History {
    /// Adds what a node has written down.
    pub(crate) fn add(&mut self, file: &Path) -> Result<()> {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        text.lines().try_for_each(|line| self.line(line).with_context(|| format!("the line {line:?}")))
    }

    fn line(&mut self, line: &str) -> Result<()> {
        let mut fields = line.split(' ');
        let kind = fields.next().unwrap_or_default();
        let mut number = || -> Result<i64> { Ok(fields.next().context("too short")?.parse()?) };
        match kind {
            "R" => {
                let read = (number()?, number()?, number()?.unsigned_abs());
                self.reads.push(read);
            }
            "W" => {
                let (key, version, acknowledged) = (number()?, number()?, number()?.unsigned_abs());
                self.writes.entry(key).or_default().push((version, acknowledged));
            }
            "F" => self.failed += 1,
            "L" => self.untold += 1,
            _ => bail!("neither a read nor a write"),
        }
        Ok(())
    }

    /// Judges every read. `last` is what the database holds afterwards, which no answer and no writer may be beyond.
    pub(crate) fn judge(mut self, last: &[(i64, i64)], bound: Nanos) -> Result<Verdict> {
        let last: HashMap<i64, i64> = last.iter().copied().collect();
        for (key, writes) in &mut self.writes {
            writes.sort_unstable();
            ensure!(
                writes.windows(2).all(|pair| pair[0].0 < pair[1].0),
                "two writers of key {key} were given one version: the history is not one"
            );
            let newest = writes.last().map_or(0, |write| write.0);
            ensure!(
                last.get(key).is_some_and(|last| *last >= newest),
                "a write of key {key} was acknowledged, and the database does not have it"
            );
            // From the back: the first acknowledgement of this version or any newer one.
            let mut first = Nanos::MAX;
            for write in writes.iter_mut().rev() {
                first = first.min(write.1);
                write.1 = first;
            }
        }
        let mut verdict = Verdict {
            reads: self.reads.len() as u64,
            failed: self.failed,
            untold: self.untold,
            writes: self.writes.values().map(|writes| writes.len() as u64).sum(),
            ..Verdict::default()
        };
        for (key, version, start) in self.reads {
            ensure!(
                last.get(&key).is_some_and(|last| version <= *last),
                "key {key} was answered with version {version}, which never was"
            );
            let Some(writes) = self.writes.get(&key) else { continue };
            let newer = writes.partition_point(|write| write.0 <= version);
            let age = writes.get(newer).map_or(0, |(_, first)| start.saturating_sub(*first));
            if age > bound {
                verdict.wrong += 1;
                verdict.oldest = verdict.oldest.max(age);
            }
        }
        Ok(verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Nanos = 100;

    fn judged(lines: &[&str], last: i64) -> Result<Verdict> {
        let mut history = History::default();
        for line in lines {
            history.line(line).unwrap();
        }
        history.judge(&[(1, last)], BOUND)
    }

    #[test]
    fn an_answer_is_wrong_once_a_newer_version_has_been_acknowledged_for_longer_than_the_bound() {
        let wrong = |start: u64| {
            let read = format!("R 1 1 {start} {start}");
            judged(&["W 1 2 1000", &read], 2).unwrap().wrong
        };
        assert_eq!([wrong(900), wrong(1_100), wrong(1_101)], [0, 0, 1]);
        let verdict = judged(&["W 1 2 1000", "R 1 2 5000 5001", "R 1 1 5000 5001"], 2).unwrap();
        assert_eq!((verdict.reads, verdict.wrong, verdict.oldest), (2, 1, 4_000));
        assert!((verdict.per_million() - 500_000.0).abs() < f64::EPSILON);
    }

    #[test]
    fn the_acknowledgement_of_any_newer_version_counts_whichever_came_first() {
        // Version 3 was acknowledged before version 2.
        let lines = ["W 1 3 1000", "W 1 2 2000", "R 1 1 1500 1501", "R 1 2 1500 1501", "R 1 3 9000 9001"];
        assert_eq!(judged(&lines, 3).unwrap().wrong, 2);
    }

    #[test]
    fn a_version_that_nobody_was_told_of_is_no_mistake_and_one_that_never_was_is_an_error() {
        assert_eq!(judged(&["W 1 2 1000", "R 1 3 5000 5001"], 3).unwrap().wrong, 0);
        assert!(judged(&["R 1 4 5000 5001"], 3).is_err());
        assert!(judged(&["W 1 4 1000"], 3).is_err());
        assert!(judged(&["W 1 2 1000", "W 1 2 1001"], 3).is_err());
    }

    #[test]
    fn what_failed_is_counted_apart() {
        let verdict = judged(&["F 10", "L 1", "R 1 1 10 11"], 1).unwrap();
        assert_eq!((verdict.reads, verdict.failed, verdict.untold), (1, 1, 1));
    }
}
