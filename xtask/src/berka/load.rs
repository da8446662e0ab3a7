//! The bank as a SQLite file: all tables, typed columns, accounts before their first transaction.

use std::path::Path;

use anyhow::{Context as _, Result};
use rusqlite::{Connection, Transaction, params_from_iter, types::Value};

use super::books::{Books, date, halere, rows};

/// Money is in halere, dates are ISO 8601. `account.balance` is what the clients read.
const SCHEMA: &str = r#"
CREATE TABLE district (
    district_id INTEGER PRIMARY KEY, name TEXT NOT NULL, region TEXT NOT NULL, inhabitants INTEGER NOT NULL,
    municipalities_to_499 INTEGER NOT NULL, municipalities_to_1999 INTEGER NOT NULL,
    municipalities_to_9999 INTEGER NOT NULL, municipalities_above INTEGER NOT NULL, cities INTEGER NOT NULL,
    urban_percent REAL NOT NULL, average_salary INTEGER NOT NULL, unemployment_1995 REAL, unemployment_1996 REAL,
    entrepreneurs INTEGER NOT NULL, crimes_1995 INTEGER, crimes_1996 INTEGER);
CREATE TABLE account (
    account_id INTEGER PRIMARY KEY, district_id INTEGER NOT NULL REFERENCES district, frequency TEXT NOT NULL,
    date TEXT NOT NULL, balance INTEGER NOT NULL DEFAULT 0);
CREATE TABLE client (
    client_id INTEGER PRIMARY KEY, birth_number TEXT NOT NULL, district_id INTEGER NOT NULL REFERENCES district);
CREATE TABLE disp (
    disp_id INTEGER PRIMARY KEY, client_id INTEGER NOT NULL REFERENCES client,
    account_id INTEGER NOT NULL REFERENCES account, type TEXT NOT NULL);
CREATE TABLE "order" (
    order_id INTEGER PRIMARY KEY, account_id INTEGER NOT NULL REFERENCES account, bank_to TEXT NOT NULL,
    account_to TEXT NOT NULL, amount INTEGER NOT NULL, k_symbol TEXT NOT NULL);
CREATE TABLE loan (
    loan_id INTEGER PRIMARY KEY, account_id INTEGER NOT NULL REFERENCES account, date TEXT NOT NULL,
    amount INTEGER NOT NULL, duration INTEGER NOT NULL, payments INTEGER NOT NULL, status TEXT NOT NULL);
CREATE TABLE card (
    card_id INTEGER PRIMARY KEY, disp_id INTEGER NOT NULL REFERENCES disp, type TEXT NOT NULL, issued TEXT NOT NULL);
CREATE TABLE trans (
    trans_id INTEGER PRIMARY KEY, account_id INTEGER NOT NULL REFERENCES account, date TEXT NOT NULL,
    type TEXT NOT NULL, operation TEXT NOT NULL, amount INTEGER NOT NULL, correction INTEGER NOT NULL,
    balance INTEGER NOT NULL, k_symbol TEXT NOT NULL, bank TEXT NOT NULL, account TEXT NOT NULL);
"#;

/// How a column's text becomes a value.
#[derive(Clone, Copy)]
enum Column {
    Integer,
    /// Absent where the file has a question mark.
    Maybe,
    Real,
    Text,
    Money,
    Date,
}

use Column::{Date, Integer, Maybe, Money, Real, Text};

/// File, table and columns, parents before children.
const TABLES: &[(&str, &str, &[Column])] = &[
    (
        "district",
        "district",
        &[
            Integer, Text, Text, Integer, Integer, Integer, Integer, Integer, Integer, Real, Integer, Maybe,
            Maybe, Integer, Maybe, Maybe,
        ],
    ),
    ("account", "account", &[Integer, Integer, Text, Date]),
    ("client", "client", &[Integer, Text, Integer]),
    ("disp", "disp", &[Integer, Integer, Integer, Text]),
    ("order", "\"order\"", &[Integer, Integer, Text, Text, Money, Text]),
    ("loan", "loan", &[Integer, Integer, Date, Money, Integer, Money, Text]),
    ("card", "card", &[Integer, Integer, Text, Date]),
];

/// Makes the file `database` from the files in `folder`; returns the number of rows.
///
/// # Errors
/// When a file is missing or has a row that does not fit.
pub(crate) fn load(folder: &Path, books: &Books, database: &Path) -> Result<usize> {
    let mut connection = Connection::open(database)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.execute_batch(SCHEMA)?;
    let transaction = connection.transaction()?;
    let mut count = 0;
    for (file, table, columns) in TABLES {
        count += fill(&transaction, folder, file, table, columns)
            .with_context(|| format!("cannot load {file}.asc"))?;
    }
    let mut open = transaction.prepare("UPDATE account SET balance = ? WHERE account_id = ?")?;
    for (position, account) in books.accounts.iter().enumerate() {
        open.execute((books.first_balance(position), account))?;
    }
    drop(open);
    transaction.commit()?;
    Ok(count)
}

fn fill(
    transaction: &Transaction<'_>,
    folder: &Path,
    file: &str,
    table: &str,
    columns: &[Column],
) -> Result<usize> {
    let marks = vec!["?"; columns.len()].join(", ");
    // An account's last column is computed, and has a default.
    let names = if file == "account" { " (account_id, district_id, frequency, date)" } else { "" };
    let mut insert = transaction.prepare(&format!("INSERT INTO {table}{names} VALUES ({marks})"))?;
    let rows = rows(folder, file)?;
    for row in &rows {
        let values =
            row.iter().zip(columns).map(|(text, column)| column.value(text)).collect::<Result<Vec<_>>>();
        insert.execute(params_from_iter(values.with_context(|| format!("{row:?}"))?))?;
    }
    Ok(rows.len())
}

impl Column {
    fn value(self, text: &str) -> Result<Value> {
        Ok(match self {
            Maybe if text == "?" => Value::Null,
            Maybe => text.parse().map(Value::Integer).or_else(|_| text.parse().map(Value::Real))?,
            Integer => Value::Integer(text.parse()?),
            Real => Value::Real(text.parse()?),
            Text => Value::Text(text.trim().into()),
            Money => Value::Integer(halere(text)?),
            Date => Value::Text(date(text)?),
        })
    }
}
