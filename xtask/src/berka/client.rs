//! A client of the bank: reads balances over RESP, with evidence.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result};
use redis::{Cmd, Connection, Value};
use serde::Deserialize;

/// Time after which a server that does not answer has failed.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// The class that is read: the table.
const CLASS: &str = "account";

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    L1,
    L2,
    Source,
    /// Unproven, and the server says so.
    Stale,
}

impl Origin {
    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [Self; 4] = [Self::L1, Self::L2, Self::Source, Self::Stale];

    /// As the server spells it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::L1 => "l1",
            Self::L2 => "l2",
            Self::Source => "source",
            Self::Stale => "stale",
        }
    }
}

/// What of a row is looked at.
#[derive(Deserialize)]
struct Row {
    account_id: i64,
    balance: i64,
}

/// What `TRUEUP.GET` answers: value, version, age and origin.
type Evidence = (Vec<u8>, Value, u64, String);

/// A connection of its own.
pub(crate) struct Client {
    connection: Connection,
    /// Bound of every read, in milliseconds.
    max_staleness_ms: u64,
}

impl Client {
    pub(crate) fn connect(server: SocketAddr, max_staleness: Duration) -> Result<Self> {
        let client = redis::Client::open(format!("redis://{server}/"))?;
        let connection = client.get_connection().with_context(|| format!("cannot connect to {server}"))?;
        connection.set_read_timeout(Some(ANSWER_WITHIN))?;
        Ok(Self { connection, max_staleness_ms: max_staleness.as_millis() as u64 })
    }

    /// The balance of `account`, no older than the bound, and where it came from.
    pub(crate) fn balance(&mut self, account: i64) -> Result<(i64, Origin)> {
        let evidence =
            read(account).arg("MAXSTALE").arg(self.max_staleness_ms).query(&mut self.connection)?;
        understand(account, evidence)
    }

    /// The balances of all `accounts` after every write acknowledged before the call.
    pub(crate) fn balances_now(&mut self, accounts: &[i64]) -> Result<Vec<i64>> {
        let token: Vec<u8> = redis::cmd("TRUEUP.TOKEN").query(&mut self.connection)?;
        let mut pipeline = redis::pipe();
        accounts
            .iter()
            .for_each(|account| _ = pipeline.add_command(read(*account).arg("TOKEN").arg(&token).clone()));
        let answers: Vec<Evidence> = pipeline.query(&mut self.connection)?;
        accounts
            .iter()
            .zip(answers)
            .map(|(account, evidence)| Ok(understand(*account, evidence)?.0))
            .collect()
    }
}

fn read(account: i64) -> Cmd {
    let mut command = redis::cmd("TRUEUP.GET");
    command.arg(CLASS).arg(account);
    command
}

fn understand(account: i64, (value, _version, _age_ms, origin): Evidence) -> Result<(i64, Origin)> {
    let row: Row = serde_json::from_slice(&value).with_context(|| format!("the row of account {account}"))?;
    anyhow::ensure!(row.account_id == account, "asked for account {account}, got {}", row.account_id);
    let origin = Origin::ALL.into_iter().find(|known| known.name() == origin);
    Ok((row.balance, origin.context("an answer of unknown origin")?))
}
