//! The process that replays the books by plain SQL and knows nothing of any cache.
//!
//! It tells on its standard output when it began each transaction and when the database acknowledged it: 16 bytes each, two
//! readings of `CLOCK_BOOTTIME` in little-endian nanoseconds.

use std::{
    io::{Read, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rusqlite::{Connection, TransactionBehavior};

use super::books::{Books, Posting};
use crate::clock;

/// Time to wait for another process's lock.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// What to replay into what.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[arg(long)]
    database: PathBuf,
    #[arg(long)]
    data: PathBuf,
    /// Transactions a second; as fast as it goes without
    #[arg(long)]
    rate: Option<u32>,
}

impl Options {
    /// The arguments that give these options.
    pub(crate) fn arguments(database: &Path, data: &Path, rate: Option<u32>) -> Vec<std::ffi::OsString> {
        let mut arguments =
            vec!["berka-writer".into(), "--database".into(), database.into(), "--data".into(), data.into()];
        if let Some(rate) = rate {
            arguments.extend(["--rate".into(), rate.to_string().into()]);
        }
        arguments
    }
}

/// When a transaction was begun and when it was acknowledged, in nanoseconds of `CLOCK_BOOTTIME`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) begun_ns: u64,
    pub(crate) acknowledged_ns: u64,
}

impl Commit {
    const BYTES: usize = 16;

    fn encode(self) -> [u8; Self::BYTES] {
        (u128::from(self.acknowledged_ns) << 64 | u128::from(self.begun_ns)).to_le_bytes()
    }

    /// The next one; none at the end of `input`.
    pub(crate) fn read(input: &mut impl Read) -> Result<Option<Self>> {
        let mut bytes = [0; Self::BYTES];
        match input.read_exact(&mut bytes) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            done => done?,
        }
        let both = u128::from_le_bytes(bytes);
        Ok(Some(Self { begun_ns: both as u64, acknowledged_ns: (both >> 64) as u64 }))
    }
}

/// Replays all transactions, one commit each.
///
/// # Errors
/// When the database refuses, or an account's balance is not what the bank says it was.
pub(crate) fn run(options: &Options) -> Result<()> {
    let books = Books::read(&options.data)?;
    let mut connection = Connection::open(&options.database)?;
    connection.busy_timeout(LOCK_WAIT)?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    let mut output = std::io::stdout();
    let pace = options.rate.map(|rate| Duration::from_secs(1) / rate);
    let start_ns = clock::now_ns();
    for (number, posting) in books.postings.iter().enumerate() {
        if let Some(pace) = pace {
            let due = pace * number as u32;
            std::thread::sleep(due.saturating_sub(clock::since(start_ns)));
        }
        let begun_ns = clock::now_ns();
        let balance = apply(&mut connection, &books, posting)?;
        let commit = Commit { begun_ns, acknowledged_ns: clock::now_ns() };
        ensure!(
            balance == posting.balance,
            "transaction {}: the account has {balance} halere where the bank had {}",
            posting.id,
            posting.balance
        );
        output.write_all(&commit.encode()).context("the reader of the times is gone")?;
        output.flush()?;
    }
    Ok(())
}

/// One transaction; returns the account's balance after it, as the database computed it.
fn apply(connection: &mut Connection, books: &Books, posting: &Posting) -> Result<i64> {
    let account = books.accounts[posting.account];
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.prepare_cached("INSERT INTO trans VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?.execute((
        posting.id,
        account,
        &posting.date,
        &posting.kind,
        &posting.operation,
        posting.amount,
        posting.correction,
        posting.balance,
        &posting.symbol,
        &posting.bank,
        &posting.counterpart,
    ))?;
    let balance = transaction
        .prepare_cached("UPDATE account SET balance = balance + ? WHERE account_id = ? RETURNING balance")?
        .query_row((posting.amount + posting.correction, account), |row| row.get(0))?;
    transaction.commit()?;
    Ok(balance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_the_pipe() {
        let commits =
            [Commit { begun_ns: 1, acknowledged_ns: u64::MAX }, Commit { begun_ns: 7, acknowledged_ns: 9 }];
        let bytes: Vec<u8> = commits.iter().flat_map(|commit| commit.encode()).collect();
        let mut input = bytes.as_slice();
        assert_eq!(Commit::read(&mut input).unwrap(), Some(commits[0]));
        assert_eq!(Commit::read(&mut input).unwrap(), Some(commits[1]));
        assert_eq!(Commit::read(&mut input).unwrap(), None);
    }
}
