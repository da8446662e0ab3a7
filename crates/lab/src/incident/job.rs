//! A nightly job is started twice, and once it is killed half way.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use once::{
    Once, OnceError, Options,
    jobs::{BusinessDate, JobRun, Started},
    store::{Store, Transaction as _},
};
use parking_lot::Mutex;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use trueup_core::env::Clock;

use super::{Figure, Outcome, Setup, Way, books::Story, crowd::together, series::Ticks, shop::Shop};
use crate::world::LabError;

const ACCOUNTS: i64 = 120;
/// Accounts of one transaction.
const CHUNK: i64 = 10;
/// The job is started by two schedulers, and each starts it again for a while, in case it was killed.
const SCHEDULERS: usize = 2;
/// What a run that finds another at work, or is killed, leaves alone for before it is started again.
const AGAIN_AFTER: Duration = Duration::from_millis(400);
const STARTS: usize = 4;
/// How long a killed run keeps others out: less than what is left of its scheduler's starts, more than a chunk over a network takes.
const LEASE: Duration = Duration::from_millis(600);
const STEP: Duration = Duration::from_millis(100);
const JOB: &str = "interest";

struct World {
    shop: Shop,
    dice: Mutex<StdRng>,
    /// A run has been killed.
    killed: AtomicBool,
    /// Postings beyond the first of an account.
    twice: Ticks,
}

pub(super) async fn run(setup: Setup, way: Way) -> Result<Outcome, LabError> {
    let rows: Vec<String> = (1..=ACCOUNTS).map(|id| format!("({id}, 0)")).collect();
    let schema = format!(
        "CREATE TABLE account (id BIGINT NOT NULL PRIMARY KEY, balance BIGINT NOT NULL); INSERT INTO account VALUES {}; \
         CREATE TABLE posting (id TEXT NOT NULL PRIMARY KEY, account BIGINT NOT NULL, rate BIGINT NOT NULL); \
         CREATE TABLE job_run (day TEXT NOT NULL PRIMARY KEY)",
        rows.join(", ")
    );
    let shop = Shop::open(&setup, &schema).await?;
    let books = shop.books()?;
    let world = Arc::new(World {
        shop,
        dice: Mutex::new(StdRng::seed_from_u64(setup.seed)),
        killed: AtomicBool::new(false),
        twice: Ticks::start(&Clock::system(), STEP),
    });
    if way == Way::Naive {
        together(SCHEDULERS, |scheduler| {
            let world = Arc::clone(&world);
            async move { world.naive(scheduler).await }
        })
        .await?;
    } else {
        let story = Protected { world: Arc::clone(&world), named: way == Way::Protected };
        books.tell(Options::new(), story).await?;
    }
    let of = async |sql| Ok::<_, LabError>(world.shop.now::<i64>(sql, ()).await?.unwrap_or(0).unsigned_abs());
    let postings = of("SELECT count(*) FROM posting").await?;
    let twice =
        of("SELECT count(*) FROM (SELECT account FROM posting GROUP BY account HAVING count(*) > 1) AS a")
            .await?;
    let without = of("SELECT count(*) FROM account WHERE id NOT IN (SELECT account FROM posting)").await?;
    let wrong = of("SELECT count(*) FROM account WHERE balance <> 1").await?;
    Ok(Outcome::new(
        twice == 0 && without == 0 && wrong == 0,
        [
            Figure::count("accounts that get interest of 1", ACCOUNTS.unsigned_abs()),
            Figure::count("postings", postings),
            Figure::count(TWICE, twice),
            Figure::count("accounts without", without),
            Figure::count("balances that are wrong in the morning", wrong),
        ],
    )
    .over_time([world.twice.sum("postings beyond the first of an account", "in all")]))
}

pub(super) const TWICE: &str = "accounts with interest more than once";

impl World {
    /// Where in its accounts a run is killed: the first is, those after it go on to their end.
    fn killed_at(&self) -> i64 {
        let is_first = !self.killed.swap(true, Ordering::SeqCst);
        if is_first { self.dice.lock().random_range(ACCOUNTS / 4..ACCOUNTS * 3 / 4) } else { i64::MAX }
    }

    /// What an outside service says of an account's interest: it may say something else the next time.
    fn rate(&self) -> i64 {
        self.dice.lock().random_range(100..200)
    }

    async fn naive(&self, scheduler: usize) -> Result<(), LabError> {
        for start in 0..STARTS {
            self.naive_run(scheduler, start).await?;
            tokio::time::sleep(AGAIN_AFTER).await;
        }
        Ok(())
    }

    /// Looks whether the day has been done, posts to each account, and writes down that it has.
    async fn naive_run(&self, scheduler: usize, start: usize) -> Result<(), LabError> {
        const DAY: &str = "2026-11-26";
        let done: Option<String> = self.shop.query("SELECT day FROM job_run WHERE day = ?1", [DAY]).await?;
        if done.is_some() {
            return Ok(());
        }
        let killed_at = self.killed_at();
        for account in 1..=ACCOUNTS {
            if account > killed_at {
                return Ok(());
            }
            let posted: i64 = self
                .shop
                .now("SELECT count(*) FROM posting WHERE account = ?1", [account])
                .await?
                .unwrap_or(0);
            let post = "INSERT INTO posting (id, account, rate) VALUES (?1, ?2, ?3)";
            let id = format!("{scheduler}-{start}-{account}");
            self.shop.execute(post, (id, account, self.rate())).await?;
            self.shop.execute("UPDATE account SET balance = balance + 1 WHERE id = ?1", [account]).await?;
            self.twice.note(posted > 0);
        }
        self.shop
            .execute("INSERT INTO job_run (day) VALUES (?1) ON CONFLICT (day) DO NOTHING", [DAY])
            .await?;
        Ok(())
    }
}

/// A run of the job holds its lease, saves how far it is with what it does, and names each posting by job, date and account.
struct Protected {
    world: Arc<World>,
    /// Runs of one day have one name: what keeps them apart, and lets one go on where another ended.
    named: bool,
}

impl Story for Protected {
    type Told = ();

    async fn on<S: Store>(self, once: Once<S>) -> Result<(), LabError> {
        let this = Arc::new(self);
        together(SCHEDULERS, |scheduler| {
            let (this, once) = (Arc::clone(&this), once.clone());
            async move {
                for start in 0..STARTS {
                    this.start(&once, scheduler, start).await?;
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
                Ok(())
            }
        })
        .await?;
        Ok(())
    }
}

impl Protected {
    async fn start<S: Store>(&self, once: &Once<S>, scheduler: usize, start: usize) -> Result<(), LabError> {
        let date = BusinessDate::new(2026, 11, 26)?;
        let job = if self.named { JOB.to_owned() } else { format!("{JOB}-{scheduler}-{start}") };
        let owner = format!("scheduler {scheduler}");
        let run = match once.jobs().ttl(LEASE).start(&job, date, &owner).await? {
            Started::Running(run) => run,
            Started::Elsewhere { .. } | Started::Finished { .. } => return Ok(()),
        };
        let killed_at = self.world.killed_at();
        loop {
            match self.chunk(&run, killed_at).await {
                Ok(true) => {}
                Ok(false) => break,
                // It took longer than its lease: the chunk is undone, and whoever holds the lease now goes on with it.
                Err(OnceError::LeaseLost { .. }) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        if killed_at == i64::MAX {
            run.release().await?;
        }
        Ok(())
    }

    /// Some accounts in one transaction; whether there are more, for a run that is not killed among them.
    async fn chunk<S: Store>(&self, run: &JobRun<S>, killed_at: i64) -> Result<bool, OnceError> {
        let from = {
            let chunk = run.chunk().await?;
            chunk.checkpoint().and_then(|text| text.parse().ok()).unwrap_or(1)
        };
        // Asked outside of any transaction, and kept: a run that is started again uses the same answers.
        let mut rates = Vec::new();
        for account in from..(from + CHUNK).min(ACCOUNTS + 1) {
            let ask = |_| async { Ok::<_, OnceError>(self.world.rate().to_string().into_bytes()) };
            let answer = run.answer(&account.to_string(), ask).await?;
            rates.push((account, String::from_utf8_lossy(&answer).parse::<i64>().unwrap_or_default()));
        }
        let chunk = run.chunk().await?;
        let Some((last, _)) = rates.last().copied() else {
            chunk.finish().await?;
            return Ok(false);
        };
        for (account, rate) in rates {
            if account > killed_at {
                return Ok(false);
            }
            let tx = chunk.tx();
            let found =
                tx.query_row("SELECT count(*) FROM posting WHERE account = $1", &[account.into()]).await?;
            let posted = found.map_or(Ok(0), |row| row.int(0))?;
            let id = run.id(&account.to_string()).to_string();
            let post =
                "INSERT INTO posting (id, account, rate) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING";
            if tx.execute(post, &[id.as_str().into(), account.into(), rate.into()]).await? == 1 {
                tx.execute("UPDATE account SET balance = balance + 1 WHERE id = $1", &[account.into()])
                    .await?;
                self.world.twice.note(posted > 0);
            }
        }
        chunk.save(&(last + 1).to_string()).await?;
        Ok(true)
    }
}
