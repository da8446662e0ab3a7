//! A real bank's books, replayed over HTTP, day by day: what came in by cash is a card charge, what went to another account a standing order that the
//! service's own job carries out, everything else a transfer from or to the outside. Every account's balance is then the bank's own, after each of its
//! transactions, and the ledger sums to zero.
//!
//! Needs `../shared/data/berka` beside the repository, or the variable `TRUEUP_SHARED_DATA` with the path of `data`.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use payments::{
    domain::{Currency, system_account},
    service::{Executed, execute},
};
use serde_json::json;
use trueup::engine::env::Clock;

use crate::{
    books::{Books, Line, ROUNDING_MAX, books},
    support::{World, id},
    wire::Wire,
};

/// Accounts of the sample.
const SAMPLE: usize = 12;
/// Connections; each has accounts of its own.
const CONNECTIONS: usize = 16;
const REPORT_EVERY: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the books of a bank in ../shared/data"]
async fn every_balance_of_a_sample_is_the_banks_own() {
    for world in [World::sqlite().await, World::postgres().await] {
        replay(world, SAMPLE).await;
    }
}

/// All of them; `BERKA_ACCOUNTS` says how many take part in a smaller run, `BERKA_DATABASE=postgres` that SQLite is left out.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the books of a bank in ../shared/data, a release build and some minutes"]
async fn every_balance_is_the_banks_own() {
    let count = std::env::var("BERKA_ACCOUNTS").map_or(usize::MAX, |count| count.parse().unwrap());
    let only = std::env::var("BERKA_DATABASE").unwrap_or_default();
    if only != "sqlite" {
        replay(World::postgres().await, count).await;
    }
    if only != "postgres" {
        replay(World::sqlite().await, count).await;
    }
}

/// A day of an account.
#[derive(Clone, Default)]
struct Day {
    before: Vec<Line>,
    /// By their ids, as the job takes them.
    orders: Vec<Line>,
    /// The bank's balance after them, where the bank has them together.
    after_orders: Option<i64>,
    after: Vec<Line>,
}

impl Day {
    /// The day's lines in the bank's order. The job carries out all orders of a day together: what the bank has between them comes after them, with the balance that it would
    /// have then.
    fn of(lines: &[Line]) -> Self {
        let mut day = Self::default();
        let is_order = |line: &Line| line.order.is_some();
        let (first, last) = (lines.iter().position(is_order), lines.iter().rposition(is_order));
        for (place, line) in lines.iter().enumerate() {
            if is_order(line) {
                day.orders.push(line.clone());
            } else if first.is_none_or(|first| place < first) {
                day.before.push(line.clone());
            } else {
                let later = lines[place..].iter().filter(|line| is_order(line)).map(Line::moved);
                let balance_minor = line.balance_minor + later.sum::<i64>();
                day.after.push(Line { balance_minor, ..line.clone() });
            }
        }
        day.orders.sort_by_key(|line| line.order);
        if let (Some(first), Some(last)) = (first, last)
            && last - first + 1 == day.orders.len()
        {
            day.after_orders = Some(lines[last].balance_minor);
        }
        day
    }
}

/// An account under way.
struct Account {
    wallet: String,
    days: BTreeMap<String, Day>,
    balance: i64,
    /// What its statement is to say, in order, and the bank's own balance where it is known after a line.
    expected: Vec<(i64, Option<i64>)>,
    rounded: usize,
    gaps: usize,
}

impl Account {
    fn of(lines: &[Line]) -> Self {
        let days = lines.chunk_by(|one, other| one.date == other.date);
        let days = days.map(|lines| (lines[0].date.clone(), Day::of(lines))).collect();
        Self { wallet: id(), days, balance: 0, expected: Vec::new(), rounded: 0, gaps: 0 }
    }

    fn expect(&mut self, minor: i64, balance: Option<i64>) {
        if minor != 0 {
            self.expected.push((minor, balance));
        } else if let (Some(last), Some(_)) = (self.expected.last_mut(), balance) {
            last.1 = balance;
        }
    }

    /// What the bank's balance moved beyond the amounts: posted as well, and counted.
    fn correction(&mut self, moved: i64, balance: i64) -> i64 {
        let correction = balance - self.balance - moved;
        if correction != 0 {
            *(if correction.abs() <= ROUNDING_MAX { &mut self.rounded } else { &mut self.gaps }) += 1;
        }
        self.expect(moved, (correction == 0).then_some(balance));
        self.expect(correction, Some(balance));
        self.balance = balance;
        correction
    }
}

fn iso(date: &str) -> String {
    format!("19{}-{}-{}", &date[..2], &date[2..4], &date[4..])
}

async fn transfer(wire: &mut Wire, outside: &str, wallet: &str, minor: i64) {
    if minor == 0 {
        return;
    }
    let (from, to) = if minor > 0 { (outside, wallet) } else { (wallet, outside) };
    let body = json!({"id": id(), "from": from, "to": to, "amount": minor.abs(), "currency": "CZK"});
    wire.post("/transfers", &body, 201).await;
}

/// Movements of a day that are no standing orders.
async fn move_money(wire: &mut Wire, outside: &str, account: &mut Account, lines: &[Line]) {
    for line in lines {
        let moved = line.moved();
        if line.comes_in && line.is_cash && moved > 0 {
            let wallet = &account.wallet;
            let body = json!({"id": id(), "account": wallet, "amount": moved, "currency": "CZK", "card": "tok_cash"});
            wire.post("/payments", &body, 201).await;
        } else {
            transfer(wire, outside, &account.wallet, moved).await;
        }
        let correction = account.correction(moved, line.balance_minor);
        transfer(wire, outside, &account.wallet, correction).await;
    }
}

/// Opens the accounts and records their orders. The file has no dates of orders: each begins in the month in which the books have it first, and one that they never
/// have after their end.
async fn set_up(wire: &mut Wire, outside: &str, accounts: &BTreeMap<u32, Account>, books: &Books) {
    let owner = crate::support::ANN_PERSON;
    for account in accounts.values() {
        let open =
            json!({"id": account.wallet, "owner": owner, "currency": "CZK", "overdraft": 1_000_000_000_i64});
        wire.post("/accounts", &open, 201).await;
    }
    let mut first = BTreeMap::new();
    for line in books.accounts.values().flatten() {
        if let Some(order) = line.order {
            first.entry(order).or_insert_with(|| line.date.clone());
        }
    }
    for (number, order) in &books.orders {
        let Some(account) = accounts.get(&order.account) else { continue };
        let date = first.get(number).map_or_else(|| iso("940401"), |date| iso(date));
        let order = json!({
            "id": format!("0197b1f0-0000-7000-8000-{number:012x}"), "from": account.wallet, "to": outside,
            "amount": order.minor, "currency": "CZK", "day": date[8..].parse::<u8>().unwrap(), "first_month": date[..7],
        });
        wire.post("/standing-orders", &order, 201).await;
    }
    wire.settle().await;
}

/// What a day has before its standing orders.
async fn begin_day(wire: &mut Wire, outside: &str, accounts: &mut BTreeMap<u32, Account>, day: &str) {
    for account in accounts.values_mut() {
        let Some(day) = account.days.get(day).cloned() else { continue };
        move_money(wire, outside, account, &day.before).await;
    }
    wire.settle().await;
}

/// What a day has after them.
async fn end_day(wire: &mut Wire, outside: &str, accounts: &mut BTreeMap<u32, Account>, day: &str) {
    for account in accounts.values_mut() {
        let Some(day) = account.days.get(day).cloned() else { continue };
        for (place, line) in day.orders.iter().enumerate() {
            let is_last = place + 1 == day.orders.len();
            match day.after_orders.filter(|_| is_last) {
                Some(balance) => {
                    let correction = account.correction(line.moved(), balance);
                    transfer(wire, outside, &account.wallet, correction).await;
                }
                None => {
                    account.expect(line.moved(), None);
                    account.balance += line.moved();
                }
            }
        }
        move_money(wire, outside, account, &day.after).await;
    }
    wire.settle().await;
}

/// Every line of the account's statement, the first first.
async fn statement(wire: &mut Wire, wallet: &str) -> Vec<(i64, i64)> {
    let mut path = format!("/accounts/{wallet}/statement?limit=200");
    let mut lines = Vec::new();
    loop {
        let page = wire.get(&path).await;
        let line = |line: &serde_json::Value| {
            (line["amount"].as_i64().unwrap(), line["balance_after"].as_i64().unwrap())
        };
        lines.extend(page["lines"].as_array().unwrap().iter().map(line));
        let Some(before) = page["next_before"].as_i64() else { break };
        path = format!("/accounts/{wallet}/statement?limit=200&before={before}");
    }
    lines.reverse();
    lines
}

/// Each line has the bank's amount and leaves the bank's balance.
async fn compare(wire: &mut Wire, number: u32, account: &Account) -> usize {
    let lines = statement(wire, &account.wallet).await;
    assert_eq!(lines.len(), account.expected.len(), "account {number}");
    let mut balance = 0;
    for (place, ((minor, after), (expected, bank))) in lines.iter().zip(&account.expected).enumerate() {
        balance += minor;
        assert_eq!((minor, *after), (expected, balance), "account {number}, line {place}");
        assert!(
            bank.is_none_or(|bank| bank == balance),
            "account {number}, line {place}: {balance}, the bank has {bank:?}"
        );
    }
    let shown = wire.get(&format!("/accounts/{}", account.wallet)).await;
    assert_eq!(shown["balance"], account.balance, "account {number}");
    account.expected.iter().filter(|(_, bank)| bank.is_some()).count()
}

async fn replay(world: World, count: usize) {
    let outside = system_account("demo", "outside", Currency::CZK).text();
    world
        .run(&format!(
            "INSERT INTO account (id, tenant, owner, kind, currency, created_ms) VALUES ('{outside}', 'demo', NULL, 'outside', 'CZK', 0)"
        ))
        .await;
    let books = books(count);
    let total: usize = books.accounts.values().map(Vec::len).sum();
    let mut dates: Vec<String> = books.accounts.values().flatten().map(|line| line.date.clone()).collect();
    dates.sort();
    dates.dedup();
    let clock = Clock::system();
    let (started, mut reported) = (clock.now(), clock.now());
    // Several connections, each with accounts of its own.
    let mut parts: Vec<BTreeMap<u32, Account>> = (0..CONNECTIONS).map(|_| BTreeMap::new()).collect();
    for (place, (number, lines)) in books.accounts.iter().enumerate() {
        parts[place % CONNECTIONS].insert(*number, Account::of(lines));
    }
    let opened = (0..CONNECTIONS).map(|_| Wire::open(world.http, world.bearer("olga")));
    let mut wires: Vec<Wire> = join_all(opened).await;
    join_all(wires.iter_mut().zip(&parts).map(|(wire, part)| set_up(wire, &outside, part, &books))).await;
    let (mut executed, mut runs) = (0, 0);
    for (place, date) in dates.iter().enumerate() {
        let before = wires.iter_mut().zip(&mut parts);
        join_all(before.map(|(wire, part)| begin_day(wire, &outside, part, date))).await;
        let day = iso(date).parse().unwrap();
        let ran = execute(world.app.once(), day, "replay").await.unwrap();
        let Executed::Ran { made, declined: 0 } = ran else { panic!("{date}: {ran:?}") };
        executed += made;
        runs += 1;
        // Once per order and month: another run of the day finds nothing to do, and one whose record is lost neither.
        assert_eq!(execute(world.app.once(), day, "again").await.unwrap(), Executed::Finished);
        if place % 50 == 0 {
            world.run("DELETE FROM once_job_runs").await;
            let again = execute(world.app.once(), day, "forgotten").await.unwrap();
            assert_eq!(again, Executed::Ran { made: 0, declined: 0 }, "a rerun changes nothing");
        }
        let after = wires.iter_mut().zip(&mut parts);
        join_all(after.map(|(wire, part)| end_day(wire, &outside, part, date))).await;
        if clock.now().since(reported) >= REPORT_EVERY {
            reported = clock.now();
            println!("  {} of {} days, {:.0?}", place + 1, dates.len(), clock.now().since(started));
        }
    }
    let took = clock.now().since(started);
    let by_order = books.accounts.values().flatten().filter(|line| line.order.is_some()).count();
    assert_eq!(executed as usize, by_order, "each transfer of the books by its standing order, and no other");
    let compared = wires.iter_mut().zip(&parts).map(async |(wire, part)| {
        let mut balances = 0;
        for (number, account) in part {
            balances += compare(wire, *number, account).await;
        }
        balances
    });
    let balances: usize = join_all(compared).await.into_iter().sum();
    let sum = |of: fn(&Account) -> usize| parts.iter().flat_map(BTreeMap::values).map(of).sum::<usize>();
    let ledger = world.count("SELECT CAST(COALESCE(SUM(minor), 0) AS BIGINT) FROM entry").await;
    assert_eq!(ledger, 0, "the ledger sums to zero");
    println!(
        "{} accounts, {total} transactions of {} days in {took:.1?} ({:.0} a second): {} by {} standing orders in {runs} runs of their job; {balances} balances compared, all the bank's own; \
         {} of them by rounding, {} need rows that the file lacks",
        books.accounts.len(),
        dates.len(),
        total as f64 / took.as_secs_f64(),
        executed,
        books.orders.len(),
        sum(|one| one.rounded),
        sum(|one| one.gaps)
    );
    world.end().await;
}
