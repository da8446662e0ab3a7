//! The bank's transactions as its books tell them: in order, with what each did to its account's balance.

use std::{collections::HashMap, fs::File, path::Path};

use anyhow::{Context as _, Result, bail};

/// The bank keeps more decimals than it prints: a balance may differ from the one before and the amount by this much.
const ROUNDING_MAX_HALERE: i64 = 10;
/// Rows of one account on one day among which an order is searched; more are kept as the file has them.
const DAY_ROWS_MAX: usize = 8;

/// One row of `trans`. Money is in halere, hundredths of a crown.
#[derive(Clone, Debug)]
pub(crate) struct Posting {
    pub(crate) id: i64,
    /// Position of the account in [`Books::accounts`].
    pub(crate) account: usize,
    /// `YYYY-MM-DD`.
    pub(crate) date: String,
    pub(crate) kind: String,
    pub(crate) operation: String,
    /// Positive for money in, negative for money out.
    pub(crate) amount: i64,
    /// What the bank's own balance moved beyond the amount: rounding, or rows that the file lacks.
    pub(crate) correction: i64,
    /// The bank's balance after the transaction.
    pub(crate) balance: i64,
    pub(crate) symbol: String,
    pub(crate) bank: String,
    pub(crate) counterpart: String,
}

/// How the rows fit together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// Balance before plus amount gives the balance after.
    pub(crate) exact: usize,
    /// They differ by no more than the bank's rounding.
    pub(crate) rounded: usize,
    /// They differ by more: the file lacks rows.
    pub(crate) gaps: usize,
    /// Accounts that do not begin with nothing.
    pub(crate) openings: usize,
    /// Rows that stand elsewhere within their day than in the file.
    pub(crate) moved: usize,
}

/// All that was read.
#[derive(Debug)]
pub(crate) struct Books {
    /// Numbers of the accounts, as in the file.
    pub(crate) accounts: Vec<i64>,
    /// The transactions in the order in which they are replayed.
    pub(crate) postings: Vec<Posting>,
    /// For each account, the balance before the first and after each of its transactions.
    pub(crate) balances: Vec<Vec<i64>>,
    pub(crate) findings: Findings,
}

impl Books {
    /// Reads `account.asc` and `trans.asc` in `folder`.
    ///
    /// # Errors
    /// When a file is missing or a row can't be understood; the message has the line.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let accounts: Vec<i64> = rows(folder, "account")?
            .iter()
            .map(|row| Ok(row.get(0).context("a row without an account")?.parse()?))
            .collect::<Result<_>>()?;
        let positions: HashMap<_, _> =
            accounts.iter().enumerate().map(|(position, id)| (*id, position)).collect();
        let postings = rows(folder, "trans")?
            .iter()
            .map(|row| posting(row, &positions).with_context(|| format!("trans.asc: {row:?}")))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self::of(accounts, postings))
    }

    /// Puts each account's rows of one day into the order in which one balance follows from the other (the file has them in
    /// no order within a day), and computes what the amounts do not explain.
    fn of(accounts: Vec<i64>, mut postings: Vec<Posting>) -> Self {
        let mut findings = Findings::default();
        let mut balances: Vec<Vec<i64>> = vec![Vec::new(); accounts.len()];
        for places in days(&postings) {
            let Some(first) = places.first() else { continue };
            let history = &mut balances[postings[*first].account];
            let rows: Vec<_> = places.iter().map(|place| postings[*place].clone()).collect();
            let before = history.last().copied();
            let order = chain(before.unwrap_or(0), &rows).unwrap_or_else(|| (0..rows.len()).collect());
            if before.is_none() {
                let opening = opening(&rows[order[0]]);
                findings.openings += usize::from(opening != 0);
                history.push(opening);
            }
            for (at, (place, row)) in places.iter().zip(&order).enumerate() {
                let mut posting = rows[*row].clone();
                let expected = history.last().copied().unwrap_or(0) + posting.amount;
                posting.correction = posting.balance - expected;
                findings.count(posting.correction, at != *row);
                history.push(posting.balance);
                postings[*place] = posting;
            }
        }
        balances.iter_mut().filter(|history| history.is_empty()).for_each(|history| history.push(0));
        Self { accounts, postings, balances, findings }
    }

    /// One account with these balances, one transaction each, from nothing.
    #[cfg(test)]
    pub(crate) fn for_tests(balances: &[i64]) -> Self {
        let rows = balances.iter().enumerate().map(|(day, balance)| {
            let before = day.checked_sub(1).map_or(0, |before| balances[before]);
            tests::row(day as i64, &day.to_string(), balance - before, *balance)
        });
        Self::of(vec![1], rows.collect())
    }

    /// The balance at the end of the account at `position`.
    pub(crate) fn last_balance(&self, position: usize) -> i64 {
        self.balances[position].last().copied().unwrap_or(0)
    }

    /// The balance before the first transaction of the account at `position`.
    pub(crate) fn first_balance(&self, position: usize) -> i64 {
        self.balances[position].first().copied().unwrap_or(0)
    }
}

impl Findings {
    fn count(&mut self, correction: i64, moved: bool) {
        match correction.abs() {
            0 => self.exact += 1,
            1..=ROUNDING_MAX_HALERE => self.rounded += 1,
            _ => self.gaps += 1,
        }
        self.moved += usize::from(moved);
    }
}

/// Nothing, if the first balance can be explained by the first amount; else what must have been there.
fn opening(first: &Posting) -> i64 {
    let before = first.balance - first.amount;
    if before.abs() <= ROUNDING_MAX_HALERE { 0 } else { before }
}

/// Places of the rows that one account has on one day, in the file's order of days.
fn days(postings: &[Posting]) -> Vec<Vec<usize>> {
    let mut days: Vec<Vec<usize>> = Vec::new();
    let mut open: HashMap<usize, usize> = HashMap::new();
    for (place, posting) in postings.iter().enumerate() {
        match open.get(&posting.account) {
            Some(day) if postings[days[*day][0]].date == posting.date => days[*day].push(place),
            _ => {
                open.insert(posting.account, days.len());
                days.push(vec![place]);
            }
        }
    }
    days
}

/// An order of `rows` in which each balance follows from the one before, `before` the first; none if there is none.
fn chain(before: i64, rows: &[Posting]) -> Option<Vec<usize>> {
    if rows.len() > DAY_ROWS_MAX {
        return None;
    }
    let mut order = Vec::with_capacity(rows.len());
    extend(before, rows, &mut order).then_some(order)
}

fn extend(before: i64, rows: &[Posting], order: &mut Vec<usize>) -> bool {
    if order.len() == rows.len() {
        return true;
    }
    let missing = |row: usize| (before + rows[row].amount - rows[row].balance).abs();
    let mut next: Vec<_> = (0..rows.len()).filter(|row| !order.contains(row)).collect();
    next.retain(|row| missing(*row) <= ROUNDING_MAX_HALERE);
    // Rows that fit to the last haler first; among equals, those that the file has first.
    next.sort_by_key(|row| missing(*row));
    next.into_iter().any(|row| {
        order.push(row);
        let found = extend(rows[row].balance, rows, order);
        if !found {
            order.pop();
        }
        found
    })
}

fn posting(row: &csv::StringRecord, positions: &HashMap<i64, usize>) -> Result<Posting> {
    let field = |index: usize| row.get(index).with_context(|| format!("no field {index}"));
    let account: i64 = field(1)?.parse()?;
    let amount = halere(field(5)?)?;
    let signed = match field(3)? {
        "PRIJEM" => amount,
        // The second is a withdrawal in cash: some rows have it as their type, most as their operation.
        "VYDAJ" | "VYBER" => -amount,
        other => bail!("unknown type {other}"),
    };
    Ok(Posting {
        id: field(0)?.parse()?,
        account: *positions.get(&account).with_context(|| format!("no account {account}"))?,
        date: date(field(2)?)?,
        kind: field(3)?.into(),
        operation: field(4)?.into(),
        amount: signed,
        correction: 0,
        balance: halere(field(6)?)?,
        symbol: field(7)?.trim().into(),
        bank: field(8)?.into(),
        counterpart: field(9)?.into(),
    })
}

/// The rows of `<name>.asc`, the first left out: it has the names of the columns.
pub(crate) fn rows(folder: &Path, name: &str) -> Result<Vec<csv::StringRecord>> {
    let path = folder.join(name).with_extension("asc");
    let file = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut reader = csv::ReaderBuilder::new().delimiter(b';').from_reader(file);
    reader
        .records()
        .collect::<Result<_, _>>()
        .with_context(|| format!("cannot understand {}", path.display()))
}

/// `700.50` as 70050.
pub(crate) fn halere(text: &str) -> Result<i64> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (crowns, cents) = digits.split_once('.').unwrap_or((digits, ""));
    let cents = match cents.len() {
        0 => 0,
        1 => 10 * cents.parse::<i64>()?,
        2 => cents.parse::<i64>()?,
        _ => bail!("more than two decimals in {text}"),
    };
    Ok(sign * (100 * crowns.parse::<i64>().with_context(|| format!("no amount: {text}"))? + cents))
}

/// `930131`, with or without a time, as `1993-01-31`.
pub(crate) fn date(text: &str) -> Result<String> {
    let digits = text.get(..6).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let digits = digits.with_context(|| format!("no date: {text}"))?;
    Ok(format!("19{}-{}-{}", &digits[..2], &digits[2..4], &digits[4..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn row(id: i64, date: &str, amount: i64, balance: i64) -> Posting {
        let empty = String::new;
        Posting {
            id,
            account: 0,
            date: date.into(),
            kind: empty(),
            operation: empty(),
            amount,
            correction: 0,
            balance,
            symbol: empty(),
            bank: empty(),
            counterpart: empty(),
        }
    }

    #[test]
    fn rows_of_one_day_are_put_into_the_order_of_their_balances() {
        let books = Books::of(
            vec![7, 8],
            vec![row(1, "a", 100, 100), row(2, "b", -30, 90), row(3, "b", 20, 120), row(4, "c", 5, 95)],
        );
        let ids: Vec<_> = books.postings.iter().map(|posting| posting.id).collect();
        assert_eq!(ids, [1, 3, 2, 4]);
        assert_eq!(books.balances, [vec![0, 100, 120, 90, 95], vec![0]]);
        assert_eq!(books.findings, Findings { exact: 4, moved: 2, ..Findings::default() });
    }

    #[test]
    fn what_amounts_do_not_explain_is_named() {
        let books =
            Books::of(vec![7], vec![row(1, "a", 100, 600), row(2, "b", 11, 601), row(3, "c", 1, 999)]);
        let corrections: Vec<_> = books.postings.iter().map(|posting| posting.correction).collect();
        assert_eq!(corrections, [0, -10, 397]);
        assert_eq!(books.findings, Findings { exact: 1, rounded: 1, gaps: 1, openings: 1, moved: 0 });
        assert_eq!(books.first_balance(0), 500);
        let mut balance = books.first_balance(0);
        for posting in &books.postings {
            balance += posting.amount + posting.correction;
            assert_eq!(balance, posting.balance);
        }
    }

    #[test]
    fn money_and_dates_are_read_exactly() {
        assert_eq!(halere("700.05").unwrap(), 70_005);
        assert_eq!(halere("96396").unwrap(), 9_639_600);
        assert_eq!(halere("-0.50").unwrap(), -50);
        assert!(halere("1.234").is_err() && halere("?").is_err());
        assert_eq!(date("931107 00:00:00").unwrap(), "1993-11-07");
        assert!(date("9311").is_err());
    }
}
