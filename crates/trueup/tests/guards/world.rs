//! A shop in PostgreSQL with Redis in front, and what the database itself has logged.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use trueup::{
    Plan, Postgres, PostgresOptions, Trueup,
    catalog::postgres::install_options,
    engine::{entry::KeyRing, env::unix_ms, guard::LoadLimits},
    postgres::FeedPlan,
    redis::{Redis, RedisOptions},
};
use trueup_testbed::{
    Postgres as Database, PostgresOptions as DatabaseOptions, Redis as Server, RedisOptions as ServerOptions,
};

/// Rows that nothing depends on but a page: many.
pub(crate) const PRODUCTS: i64 = 20_000;
/// Rows without which the shop stands still: few.
pub(crate) const ACCOUNTS: i64 = 300;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) id: i64,
    pub(crate) balance: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Product {
    pub(crate) id: i64,
    pub(crate) name: String,
}

pub(crate) struct World {
    pub(crate) database: Database,
    pub(crate) redis: Server,
}

impl World {
    /// Servers of their own, with the shop's rows; the database logs each statement with its time.
    pub(crate) fn start() -> Self {
        let logging = DatabaseOptions::default().set("log_statement", "all").set("log_line_prefix", "%n ");
        let database = Database::start(&logging).unwrap();
        let sql = format!(
            "CREATE TABLE account (id bigint PRIMARY KEY, balance bigint NOT NULL); \
             CREATE TABLE product (id bigint PRIMARY KEY, name text NOT NULL); \
             INSERT INTO account SELECT g, 100 FROM generate_series(1, {ACCOUNTS}) g; \
             INSERT INTO product SELECT g, repeat('thing ', 40) || g FROM generate_series(1, {PRODUCTS}) g; \
             ANALYZE"
        );
        database.query(&sql).unwrap();
        Self { database, redis: Server::start(&ServerOptions::default()).unwrap() }
    }

    /// A node of Trueup with this plan and these limits.
    pub(crate) async fn node(&self, plan: &str, limits: LoadLimits) -> Trueup<Postgres> {
        let source = Postgres::connect(&self.database.url(), PostgresOptions::default()).await.unwrap();
        let plan = Plan::parse("test", plan, &[]).unwrap();
        FeedPlan::new(&source, &install_options(&plan)).await.unwrap().apply().await.unwrap();
        source.look_at_catalogue().await.unwrap();
        let keys = KeyRing::parse(&"5a01".repeat(16)).unwrap();
        let l2 = Redis::standalone(&self.redis.url()).options(RedisOptions::default()).secret(keys);
        Trueup::builder().source(source).l2(l2).load_limits(limits).plan(plan).build().await.unwrap()
    }

    /// When the database began each of the statements on `table`, in milliseconds since 1970, in order: its own log says so.
    pub(crate) fn statements_on(&self, tables: &[&str]) -> Vec<u64> {
        let log = self.database.data().parent().unwrap().join("log");
        let log = String::from_utf8_lossy(&std::fs::read(log).unwrap()).into_owned();
        let mut times = Vec::new();
        let mut entry: Option<(u64, String)> = None;
        let mut close = |entry: Option<(u64, String)>| {
            let Some((at, text)) = entry else { return };
            let of_table = tables.iter().any(|table| text.contains(table));
            if text.contains("LOG:  execute") && text.contains("SELECT") && of_table {
                times.push(at);
            }
        };
        for line in log.lines() {
            let stamp = line.split(' ').next().and_then(|stamp| stamp.parse::<f64>().ok());
            match stamp.filter(|_| line.contains(":  ")) {
                Some(seconds) => close(entry.replace(((seconds * 1_000.0) as u64, line.to_owned()))),
                None => {
                    if let Some((_, text)) = &mut entry {
                        text.push_str(line);
                    }
                }
            }
        }
        close(entry);
        times.sort_unstable();
        times
    }
}

/// The most of `times_ms` that lie within any second from `from_ms` on.
pub(crate) fn busiest_second(times_ms: &[u64], from_ms: u64) -> usize {
    let times = &times_ms[times_ms.partition_point(|at| *at < from_ms)..];
    let within = |(index, first): (usize, &u64)| times[index..].partition_point(|at| *at < first + 1_000);
    times.iter().enumerate().map(within).max().unwrap_or(0)
}

/// How much longer or shorter than stated the phases are: `TRUEUP_FIGURES_TIME=0.1` for a quick look.
pub(crate) fn scaled(seconds: u64) -> Duration {
    let factor = std::env::var("TRUEUP_FIGURES_TIME").ok().and_then(|text| text.parse().ok()).unwrap_or(1.0);
    Duration::from_secs_f64(seconds as f64 * factor)
}

pub(crate) fn now_ms() -> u64 {
    unix_ms()
}
