//! Readers and writers of the same few rows: what a cache holds when everybody has come to rest, and how old its answers were
//! meanwhile.
//!
//! Four incidents differ in nothing but how the naive side keeps its cache and its database together.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde::{Deserialize, Serialize};
use trueup::Class;
use trueup_core::env::{Clock, Nanos};

use super::{
    Figure, Outcome, Setup, Way, crowd::together, node::Node, series::Ticks, shelf::Shelf, shop::Shop,
};
use crate::world::LabError;

/// Rows; few enough that a write meets a read all the time.
const ROWS: i64 = 96;
const READERS: usize = 128;
/// Two and two of them write the same rows, as programs do that are told of the same event.
const WRITERS: usize = 4;
/// What a writer rests between two events.
const WRITER_REST: Duration = Duration::from_millis(15);
/// How long readers and writers meet.
const MEETING: Duration = Duration::from_millis(3_600);
/// The same where a wrong value must overtake a deletion that waits for it, which comes about seldom.
const LONG_MEETING: Duration = Duration::from_secs(9);
/// The life that a team gives such an entry: until then a wrong one stays.
const LIFE: Duration = Duration::from_secs(300);
/// What the class promises: an answer reflects every commit acknowledged longer ago.
const BOUND: Duration = Duration::from_millis(250);
/// Answers are counted together for so long.
const STEP: Duration = Duration::from_millis(100);
/// Until everything that was sent has arrived.
const REST: Duration = Duration::from_millis(400);
/// The second deletion of delete, update, delete: "longer than a read takes", as the advice goes.
const SECOND_DELETE_AFTER: Duration = Duration::from_millis(5);

/// How the naive side keeps cache and database together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Habit {
    /// Writes the row, then deletes the entry.
    DeleteOnWrite,
    /// Writes the row, then the entry.
    SetOnWrite,
    /// Deletes, writes the row, and deletes again a moment later.
    DeleteTwice,
    /// Deletes on write; and a job writes with SQL of its own, at night.
    JobBeside,
}

#[derive(Clone, Serialize, Deserialize)]
struct Account {
    balance: i64,
}

/// One side: a cache in front of the shop.
enum Cache {
    Naive { shelf: Shelf<i64>, habit: Habit },
    Trueup { node: Node, accounts: Class<i64, Account>, proven: bool },
}

struct Race {
    shop: Shop,
    cache: Cache,
    clock: Clock,
    /// Of each row: what was acknowledged, and when.
    written: Vec<Mutex<Vec<(Nanos, i64)>>>,
    reads: AtomicU64,
    /// Answers that missed a commit acknowledged longer ago than the bound.
    late: AtomicU64,
    late_over_time: Ticks,
    over: AtomicBool,
}

pub(super) async fn run(setup: Setup, way: Way, habit: Habit) -> Result<Outcome, LabError> {
    let rows: Vec<String> = (0..ROWS).map(|id| format!("({id}, 0)")).collect();
    let schema = format!(
        "CREATE TABLE account (id BIGINT NOT NULL PRIMARY KEY, balance BIGINT NOT NULL); INSERT INTO account VALUES {}",
        rows.join(", ")
    );
    let shop = Shop::open(&setup, &schema).await?;
    let cache = match way {
        Way::Naive => Cache::Naive { shelf: Shelf::open(&setup).await?, habit },
        Way::Protected | Way::Unprotected => {
            let node = shop.trueup(&plan(way)).await?;
            let accounts = node.class("account")?;
            Cache::Trueup { node, accounts, proven: way == Way::Protected }
        }
    };
    let race = Arc::new(Race {
        shop,
        cache,
        clock: Clock::system(),
        written: (0..ROWS).map(|_| Mutex::default()).collect(),
        reads: AtomicU64::default(),
        late: AtomicU64::default(),
        late_over_time: Ticks::start(&Clock::system(), STEP),
        over: AtomicBool::default(),
    });
    let outcome = race.meet(setup, habit).await;
    if let Cache::Trueup { node, .. } = &race.cache {
        node.shut_down().await;
    }
    outcome
}

/// The class with the proof; or filled by its readers, with nothing but the life that the naive side has. A table without the
/// proof is refused.
fn plan(way: Way) -> String {
    match way {
        Way::Unprotected => format!(
            "[class.account]\norigin = \"external\"\nkey = [\"id\"]\nscope = []\nlife = \"{}s\"\n\
             invalidation = {{ owner = \"nobody\", reason = \"the proof is taken out\" }}\n",
            LIFE.as_secs()
        ),
        _ => format!(
            "[class.account]\ntable = \"account\"\nkey = [\"id\"]\nmax_staleness = \"{}ms\"\n",
            BOUND.as_millis()
        ),
    }
}

impl Race {
    async fn meet(self: &Arc<Self>, setup: Setup, habit: Habit) -> Result<Outcome, LabError> {
        let clients = together(WRITERS + READERS, |number| {
            let race = Arc::clone(self);
            let sequence = if number < WRITERS { number / 2 } else { number };
            let dice = StdRng::seed_from_u64(setup.seed.wrapping_mul(1_000) + sequence as u64);
            async move { if number < WRITERS { race.write_on(dice).await } else { race.read_on(dice).await } }
        });
        let time = async {
            let whole = if habit == Habit::DeleteTwice { LONG_MEETING } else { MEETING };
            tokio::time::sleep(if setup.quick { whole / 2 } else { whole }).await;
            let job = if habit == Habit::JobBeside { self.nightly_job().await } else { Ok(()) };
            self.over.store(true, Ordering::Release);
            job
        };
        let (clients, job) = tokio::join!(clients, time);
        clients?;
        job?;
        tokio::time::sleep(REST).await;
        self.at_rest().await
    }

    async fn write_on(&self, mut dice: StdRng) -> Result<(), LabError> {
        while !self.over.load(Ordering::Acquire) {
            // What changes a row often changes it again at once.
            let id = dice.random_range(0..ROWS);
            self.write(id).await?;
            self.write(id).await?;
            tokio::time::sleep(WRITER_REST).await;
        }
        Ok(())
    }

    async fn write(&self, id: i64) -> Result<(), LabError> {
        // The database decides whose write comes first, and says what it made of it.
        const UPDATE: &str = "UPDATE account SET balance = balance + 1 WHERE id = ?1 RETURNING balance";
        let row = id.to_string();
        if let Cache::Naive { shelf, habit: Habit::DeleteTwice } = &self.cache {
            shelf.delete(&row).await?;
        }
        let balance = self.shop.query(UPDATE, [id]).await?.unwrap_or(0);
        self.written[id as usize].lock().push((self.clock.now(), balance));
        // Trueup is told nothing: it reads the database's change log.
        if let Cache::Naive { shelf, habit } = &self.cache {
            match habit {
                Habit::DeleteOnWrite | Habit::JobBeside => shelf.delete(&row).await?,
                Habit::SetOnWrite => shelf.set(&row, balance, LIFE).await?,
                Habit::DeleteTwice => {
                    tokio::time::sleep(SECOND_DELETE_AFTER).await;
                    shelf.delete(&row).await?;
                }
            }
        }
        Ok(())
    }

    /// Interest for everybody, by a statement of a program that nobody told of the cache.
    async fn nightly_job(&self) -> Result<(), LabError> {
        self.shop.execute("UPDATE account SET balance = balance + 1000000", ()).await?;
        Ok(())
    }

    async fn read_on(&self, mut dice: StdRng) -> Result<(), LabError> {
        while !self.over.load(Ordering::Acquire) {
            let id = dice.random_range(0..ROWS);
            let began = self.clock.now();
            let balance = self.read(id).await?;
            self.reads.fetch_add(1, Ordering::Relaxed);
            let is_late = balance < self.must_show(id, began);
            self.late.fetch_add(u64::from(is_late), Ordering::Relaxed);
            self.late_over_time.note(is_late);
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// What a read that began then has to show at least: all that was acknowledged longer before than the bound.
    fn must_show(&self, id: i64, began: Nanos) -> i64 {
        let due = began.0.saturating_sub(BOUND.as_nanos() as u64);
        let written = self.written[id as usize].lock();
        written.iter().filter(|(at, _)| at.0 < due).map(|(_, balance)| *balance).max().unwrap_or(0)
    }

    async fn read(&self, id: i64) -> Result<i64, LabError> {
        match &self.cache {
            Cache::Naive { shelf, .. } => {
                let row = id.to_string();
                if let Some(found) = shelf.get(&row).await? {
                    return Ok(found);
                }
                let balance = self.balance_over_network(id).await?;
                shelf.set(&row, balance, LIFE).await?;
                Ok(balance)
            }
            Cache::Trueup { accounts, proven: true, .. } => {
                let found = accounts.get(&id).await.map_err(|why| LabError::failed("a read", why))?;
                Ok(found.value().map_or(0, |account| account.balance))
            }
            Cache::Trueup { accounts, .. } => {
                let load = async || {
                    let balance = self.balance_over_network(id).await?;
                    Ok::<_, LabError>(Some(Account { balance }))
                };
                let found = accounts.get_with(&id, load).await?;
                Ok(found.value().map_or(0, |account| account.balance))
            }
        }
    }

    async fn balance_over_network(&self, id: i64) -> Result<i64, LabError> {
        let found = self.shop.query(BALANCE, [id]).await?;
        Ok(found.unwrap_or(0))
    }

    /// Nobody writes any more, and everything has arrived: what is wrong now stays wrong for the rest of its life.
    async fn at_rest(&self) -> Result<Outcome, LabError> {
        let mut wrong = 0_u64;
        for id in 0..ROWS {
            let truth: i64 = self.shop.now(BALANCE, [id]).await?.unwrap_or(0);
            wrong += u64::from(self.read(id).await? != truth);
        }
        let (reads, late) = (self.reads.load(Ordering::Relaxed), self.late.load(Ordering::Relaxed));
        Ok(Outcome::new(
            wrong == 0 && late == 0 && reads > 0,
            [
                Figure::count("reads", reads),
                Figure::count("answers older than the bound of 250 ms", late),
                Figure::count("rows still wrong when all is at rest (of 96)", wrong),
            ],
        )
        .over_time([self.late_over_time.series("answers older than the bound", "in 100 ms")]))
    }
}

const BALANCE: &str = "SELECT balance FROM account WHERE id = ?1";
