//! The books of a bank, as files: who moved what when, and by which standing orders.
//!
//! Account movements (`trans.asc`) that went to another account by transfer are the standing orders (`order.asc`), each once a month on its day.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

/// The bank keeps more decimals than it prints: a balance may differ from the one before and the amount by this much.
pub(crate) const ROUNDING_MAX: i64 = 10;

/// A movement on an account.
#[derive(Clone)]
pub(crate) struct Line {
    /// `930101`.
    pub(crate) date: String,
    pub(crate) comes_in: bool,
    pub(crate) is_cash: bool,
    pub(crate) minor: i64,
    pub(crate) balance_minor: i64,
    /// The standing order that it is of.
    pub(crate) order: Option<u32>,
}

impl Line {
    /// What the balance gains or loses by it.
    pub(crate) fn moved(&self) -> i64 {
        if self.comes_in { self.minor } else { -self.minor }
    }
}

/// A standing order.
#[derive(Clone, Copy)]
pub(crate) struct Order {
    pub(crate) account: u32,
    pub(crate) minor: i64,
}

pub(crate) struct Books {
    /// Each account's movements, in their order.
    pub(crate) accounts: BTreeMap<u32, Vec<Line>>,
    pub(crate) orders: BTreeMap<u32, Order>,
}

/// Minor units of `1234.50`, or of a negative balance.
fn minor(text: &str) -> i64 {
    let (whole, cents) = text.split_once('.').unwrap();
    assert_eq!(cents.len(), 2, "{text}");
    let sign = if whole.starts_with('-') { -1 } else { 1 };
    whole.parse::<i64>().unwrap() * 100 + sign * cents.parse::<i64>().unwrap()
}

fn rows(name: &str) -> Vec<Vec<String>> {
    let named = std::env::var_os("TRUEUP_SHARED_DATA").map(PathBuf::from);
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let path = named.unwrap_or_else(beside).join("berka").join(name);
    let text = std::fs::read_to_string(&path);
    let text = text
        .unwrap_or_else(|why| panic!("{}: {why}; this test needs the bank's books there", path.display()));
    let parts = |line: &str| line.split(';').map(|part| part.trim_matches('"').to_owned()).collect();
    text.lines().skip(1).map(parts).collect()
}

/// The first `count` accounts' books.
pub(crate) fn books(count: usize) -> Books {
    let mut accounts: BTreeMap<u32, Vec<Line>> = BTreeMap::new();
    let mut orders = BTreeMap::new();
    // By account, payee and amount: no two orders agree in all.
    let mut by_payee = HashMap::new();
    for row in rows("order.asc") {
        let (id, account) = (row[0].parse().unwrap(), row[1].parse().unwrap());
        assert!(by_payee.insert(row[1..5].to_vec(), id).is_none(), "two orders that are the same");
        orders.insert(id, Order { account, minor: minor(&row[4]) });
    }
    for row in rows("trans.asc") {
        let by_order = row[4] == "PREVOD NA UCET";
        let key = [&row[1], &row[8], &row[9], &row[5]].map(String::clone);
        let order = by_order.then(|| *by_payee.get(&key[..]).expect("a transfer by a standing order"));
        let line = Line {
            date: row[2].clone(),
            comes_in: row[3] == "PRIJEM",
            is_cash: row[4] == "VKLAD",
            minor: minor(&row[5]),
            balance_minor: minor(&row[6]),
            order,
        };
        accounts.entry(row[1].parse().unwrap()).or_default().push(line);
    }
    let accounts: BTreeMap<_, _> =
        accounts.into_iter().take(count).map(|(account, lines)| (account, in_order(lines))).collect();
    orders.retain(|_, order| accounts.contains_key(&order.account));
    Books { accounts, orders }
}

/// The file has an account's rows of one day in no order: each time the one is taken whose balance follows from the last.
fn in_order(mut left: Vec<Line>) -> Vec<Line> {
    let (mut sorted, mut balance) = (Vec::with_capacity(left.len()), 0);
    while let Some(first) = left.first() {
        let follows = |line: &Line| (line.balance_minor - balance - line.moved()).abs() <= ROUNDING_MAX;
        let mut today = left.iter().take_while(|line| line.date == first.date);
        let next = today.position(follows).unwrap_or(0);
        let line = left.remove(next);
        balance = line.balance_minor;
        sorted.push(line);
    }
    sorted
}
