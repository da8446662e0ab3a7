//! The demo's bank: customers, accounts, and transfers that keep the sum of all balances.

use std::path::Path;

use rusqlite::Connection;

use super::Failure;

/// Accounts, numbered from 1.
pub(super) const ACCOUNTS: i64 = 1_000;
/// Customers, numbered from 1; each has two accounts.
const CUSTOMERS: i64 = ACCOUNTS / 2;
/// What each account holds at first.
const OPENING_BALANCE: i64 = 10_000;
/// What all accounts hold together, always.
pub(super) const SUM_OF_BALANCES: i64 = ACCOUNTS * OPENING_BALANCE;

const SCHEMA: &str = "
PRAGMA journal_mode = wal;
CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT NOT NULL, city TEXT NOT NULL);
CREATE TABLE account (
    id INTEGER PRIMARY KEY,
    customer INTEGER NOT NULL REFERENCES customer (id),
    balance INTEGER NOT NULL CHECK (balance >= 0)
);
CREATE TABLE transfer (
    id INTEGER PRIMARY KEY,
    payer INTEGER NOT NULL REFERENCES account (id),
    payee INTEGER NOT NULL REFERENCES account (id),
    amount INTEGER NOT NULL CHECK (amount > 0)
);
";
const NAMES: [&str; 10] =
    ["Ada", "Alan", "Barbara", "Claude", "Donald", "Edsger", "Grace", "Leslie", "Niklaus", "Radia"];
const CITIES: [&str; 5] = ["Delft", "Geneva", "Prague", "Turin", "Uppsala"];

/// Makes the bank at `path`.
pub(super) fn create(path: &Path) -> Result<(), Failure> {
    let make = || -> rusqlite::Result<()> {
        let mut conn = Connection::open(path)?;
        conn.execute_batch(SCHEMA)?;
        let tx = conn.transaction()?;
        {
            let mut customer = tx.prepare("INSERT INTO customer VALUES (?1, ?2, ?3)")?;
            for id in 1..=CUSTOMERS {
                let pick = |from: &[&'static str]| from[id as usize % from.len()];
                customer.execute((id, format!("{} {id}", pick(&NAMES)), pick(&CITIES)))?;
            }
            let mut account = tx.prepare("INSERT INTO account VALUES (?1, ?2, ?3)")?;
            for id in 1..=ACCOUNTS {
                account.execute((id, (id - 1) / 2 + 1, OPENING_BALANCE))?;
            }
        }
        tx.commit()
    };
    make().map_err(|error| Failure::system("cannot make the demo's bank", &error))
}
