//! A real bank's books, replayed over HTTP: what came in by cash is a card charge, everything else a transfer from or to the outside.
//! Every account's balance is then the bank's own, after each of its transactions.
//!
//! Needs `../shared/data/berka` beside the repository, or the variable `TRUEUP_SHARED_DATA` with the path of `data`. `BERKA_ACCOUNTS` says how many accounts take part (all of them: 1229).

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use futures_util::{StreamExt as _, stream};
use payments::domain::{Currency, system_account};
use serde_json::json;

use crate::support::{World, id};

/// Accounts that take part, unless stated.
const ACCOUNTS_DEFAULT: usize = 12;
/// Accounts that are replayed at once; each in its own order.
const AT_ONCE: usize = 8;

#[derive(Clone)]
struct Line {
    date: String,
    comes_in: bool,
    is_cash: bool,
    minor: i64,
    balance_minor: i64,
}

impl Line {
    /// What the balance gains or loses by it.
    fn moved(&self) -> i64 {
        if self.comes_in { self.minor } else { -self.minor }
    }
}

/// Minor units of `1234.50`, or of a negative balance.
fn minor(text: &str) -> i64 {
    let (whole, cents) = text.split_once('.').unwrap();
    assert_eq!(cents.len(), 2, "{text}");
    let sign = if whole.starts_with('-') { -1 } else { 1 };
    whole.parse::<i64>().unwrap() * 100 + sign * cents.parse::<i64>().unwrap()
}

fn lines() -> BTreeMap<u32, Vec<Line>> {
    let named = std::env::var_os("TRUEUP_SHARED_DATA").map(PathBuf::from);
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let path = named.unwrap_or_else(beside).join("berka/trans.asc");
    let text = std::fs::read_to_string(&path);
    let text = text
        .unwrap_or_else(|why| panic!("{}: {why}; this test needs the bank's books there", path.display()));
    let mut accounts: BTreeMap<u32, Vec<Line>> = BTreeMap::new();
    for line in text.lines().skip(1) {
        let parts: Vec<&str> = line.split(';').map(|part| part.trim_matches('"')).collect();
        let line = Line {
            date: parts[2].to_owned(),
            comes_in: parts[3] == "PRIJEM",
            is_cash: parts[4] == "VKLAD",
            minor: minor(parts[5]),
            balance_minor: minor(parts[6]),
        };
        accounts.entry(parts[1].parse().unwrap()).or_default().push(line);
    }
    accounts.into_iter().map(|(account, lines)| (account, in_order(lines))).collect()
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

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the books of a bank in ../shared/data"]
async fn every_balance_is_the_banks_own() {
    let count = std::env::var("BERKA_ACCOUNTS").ok().map_or(ACCOUNTS_DEFAULT, |count| count.parse().unwrap());
    for world in [World::sqlite().await, World::postgres().await] {
        replay(world, count).await;
    }
}

async fn replay(world: World, count: usize) {
    let outside = system_account("demo", "outside", Currency::CZK);
    world
        .run(&format!(
            "INSERT INTO account (id, tenant, owner, kind, currency, created_ms) VALUES ('{outside}', 'demo', NULL, 'outside', 'CZK', 0)"
        ))
        .await;
    let accounts: Vec<_> = lines().into_iter().take(count).collect();
    let total: usize = accounts.iter().map(|(_, lines)| lines.len()).sum();
    let replayed: Vec<Replayed> = stream::iter(&accounts)
        .map(|(_, lines)| replay_account(&world, outside.text(), lines))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let sum = |of: fn(&Replayed) -> usize| replayed.iter().map(of).sum::<usize>();
    assert_eq!(sum(|one| one.made), total);
    println!(
        "{} accounts, {total} transactions: every balance is the bank's own; {} follow to the haler, {} by rounding, {} need rows that the file lacks or has elsewhere",
        accounts.len(),
        total - sum(|one| one.rounded) - sum(|one| one.gaps),
        sum(|one| one.rounded),
        sum(|one| one.gaps)
    );
    world.end().await;
}

/// What became of an account's transactions.
#[derive(Default)]
struct Replayed {
    made: usize,
    rounded: usize,
    gaps: usize,
}

/// The bank keeps more decimals than it prints: a balance may differ from the one before and the amount by this much.
const ROUNDING_MAX: i64 = 10;

async fn replay_account(world: &World, outside: String, lines: &[Line]) -> Replayed {
    let wallet = id();
    let owner = crate::support::ANN_PERSON;
    let open = json!({"id": wallet, "owner": owner, "currency": "CZK", "overdraft": 1_000_000_000_i64});
    assert_eq!(world.post("olga", "/accounts", &open).await.status, 201);
    let transfer = async |minor: i64| {
        let (from, to) = if minor > 0 { (&outside, &wallet) } else { (&wallet, &outside) };
        let body = json!({"id": id(), "from": from, "to": to, "amount": minor.abs(), "currency": "CZK"});
        let answer = world.post("olga", "/transfers", &body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
    };
    let mut replayed = Replayed::default();
    let mut balance = 0;
    for line in lines {
        let moved = line.moved();
        if line.comes_in && line.is_cash && moved > 0 {
            let body = json!({"id": id(), "account": wallet, "amount": moved, "currency": "CZK", "card": "tok_cash"});
            let answer = world.post("olga", "/payments", &body).await;
            assert_eq!(answer.status, 201, "{answer:?}");
        } else if moved != 0 {
            transfer(moved).await;
        }
        // What the bank's own balance moved beyond the amount.
        let correction = line.balance_minor - balance - moved;
        if correction != 0 {
            transfer(correction).await;
            *(if correction.abs() <= ROUNDING_MAX { &mut replayed.rounded } else { &mut replayed.gaps }) += 1;
        }
        balance = line.balance_minor;
        replayed.made += 1;
        assert_eq!(world.balance(&wallet).await, balance, "after {} transactions", replayed.made);
    }
    replayed
}
