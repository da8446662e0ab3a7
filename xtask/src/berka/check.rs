//! Is each answer right? Decided afterwards, from when each transaction began and was acknowledged.
//!
//! A read from `start` to `end` with a bound is right if and only if it shows the balance after some number of the
//! account's transactions, in order, such that every one acknowledged before `start - bound` is among them and none that
//! had not begun at `end`. All times are of one clock of one machine.

use std::time::Duration;

use super::{books::Books, readers::Answer, writer::Commit};

/// Wrong answers that are shown in full.
const SHOWN_MAX: usize = 5;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) right: u64,
    /// Balances that were true once, too long ago.
    pub(crate) too_old: u64,
    /// Balances of transactions that had not begun.
    pub(crate) too_new: u64,
    /// Balances that the account never has.
    pub(crate) never: u64,
    /// Right answers that lacked a commit acknowledged before they were asked for.
    pub(crate) behind: u64,
    /// The longest time that such an answer was behind.
    pub(crate) behind_max: Duration,
    /// The first wrong answers, in words.
    pub(crate) shown: Vec<String>,
}

impl Verdict {
    /// Number of wrong answers.
    pub(crate) fn wrong(&self) -> u64 {
        self.too_old + self.too_new + self.never
    }
}

/// The books with the times at which they were replayed.
pub(crate) struct Checker<'a> {
    books: &'a Books,
    max_staleness: Duration,
    /// For each account, when its transactions began, in order.
    begun_ns: Vec<Vec<u64>>,
    /// For each account, when its transactions were acknowledged, in order.
    acknowledged_ns: Vec<Vec<u64>>,
}

impl<'a> Checker<'a> {
    /// `commits` are those of the first of [`Books::postings`], in order; the rest was never begun.
    pub(crate) fn new(books: &'a Books, commits: &[Commit], max_staleness: Duration) -> Self {
        let mut begun_ns = vec![Vec::new(); books.accounts.len()];
        let mut acknowledged_ns = begun_ns.clone();
        for (posting, commit) in books.postings.iter().zip(commits) {
            begun_ns[posting.account].push(commit.begun_ns);
            acknowledged_ns[posting.account].push(commit.acknowledged_ns);
        }
        Self { books, max_staleness, begun_ns, acknowledged_ns }
    }

    /// Adds `answer` to `verdict`. Takes the logarithm of the account's transactions, and their number within the bound.
    pub(crate) fn check(&self, answer: &Answer, verdict: &mut Verdict) {
        let account = answer.account as usize;
        let balances = &self.books.balances[account];
        let acknowledged = &self.acknowledged_ns[account];
        let bound_ns = self.max_staleness.as_nanos() as u64;
        let settled_by = |time_ns| acknowledged.partition_point(|at| *at < time_ns);
        let oldest = settled_by(answer.start_ns.saturating_sub(bound_ns));
        let newest = self.begun_ns[account].partition_point(|at| *at <= answer.end_ns);
        let shown = (oldest..=newest).rev().find(|number| balances[*number] == answer.balance);
        if let Some(number) = shown {
            verdict.right += 1;
            if number < settled_by(answer.start_ns) {
                verdict.behind += 1;
                let behind = Duration::from_nanos(answer.start_ns - acknowledged[number]);
                verdict.behind_max = verdict.behind_max.max(behind);
            }
            return;
        }
        let position = balances.iter().position(|balance| *balance == answer.balance);
        let why = match position {
            Some(number) if number < oldest => {
                verdict.too_old += 1;
                "too old"
            }
            Some(_) => {
                verdict.too_new += 1;
                "of a transaction that had not begun"
            }
            None => {
                verdict.never += 1;
                "never true"
            }
        };
        if verdict.shown.len() < SHOWN_MAX {
            verdict.shown.push(format!(
                "account {}: {} halere, from {}, {why}: wanted the balance after {oldest} to {newest} transactions, got that \
                 after {position:?}",
                self.books.accounts[account],
                answer.balance,
                answer.origin.name(),
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::berka::client::Origin;

    const BOUND: Duration = Duration::from_nanos(100);

    /// One account whose balance is 0, 10, 20, 30; its transactions begin at 1000, 2000, 3000 and take 50.
    fn judge(balance: i64, start_ns: u64, end_ns: u64) -> Verdict {
        let books = Books::for_tests(&[10, 20, 30]);
        let commits = [1000, 2000, 3000].map(|at| Commit { begun_ns: at, acknowledged_ns: at + 50 });
        let mut verdict = Verdict::default();
        let answer = Answer { account: 0, origin: Origin::L1, balance, start_ns, end_ns };
        Checker::new(&books, &commits, BOUND).check(&answer, &mut verdict);
        verdict
    }

    #[test]
    fn the_balance_of_the_moment_is_right() {
        assert_eq!(judge(0, 500, 510).right, 1);
        assert_eq!(judge(20, 2500, 2510).right, 1);
        assert_eq!(judge(30, 9000, 9010).right, 1);
    }

    #[test]
    fn within_the_bound_the_balance_before_is_right_too_and_after_it_wrong() {
        let verdict = judge(10, 2150, 2160);
        assert_eq!((verdict.right, verdict.behind, verdict.behind_max), (1, 1, Duration::from_nanos(100)));
        assert_eq!(judge(10, 2151, 2160).too_old, 1);
        assert_eq!(judge(0, 2100, 2110).too_old, 1, "two commits behind, one of them long ago");
    }

    #[test]
    fn while_a_transaction_runs_both_balances_are_right_and_before_it_begins_only_one() {
        assert_eq!(judge(10, 1900, 2000).right, 1);
        assert_eq!(judge(20, 1900, 2000).right, 1);
        assert_eq!(judge(20, 1900, 1999).too_new, 1);
    }

    #[test]
    fn a_balance_that_never_was_is_wrong() {
        let verdict = judge(11, 1500, 1510);
        assert_eq!((verdict.never, verdict.wrong(), verdict.shown.len()), (1, 1, 1));
    }
}
