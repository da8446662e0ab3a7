//! What a proven fill from PostgreSQL costs over the bare SELECT of the same row, and where the difference goes.
//!
//! `cargo bench -p trueup --bench postgres_cost` starts a server of its own. All ways ask for the same representation of a row
//! (`to_jsonb(..)::text`) by a prepared statement over a pool of the same kind and size, each time another row, in turns;
//! what is printed are medians, and medians of the ratios of the same turn. First over the loopback, then over a wire on which
//! everything is half a millisecond there and back.

#![allow(clippy::expect_used)] // a bench that cannot be set up has nothing to measure

mod turns;

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use mimalloc::MiMalloc;
use tokio_postgres::NoTls;
use trueup::{
    Plan,
    catalog::postgres::{discover_classes, install_options},
    engine::{cache::CacheBuilder, receipt::ServedBy, source::Loader as _},
    postgres::{
        FeedPlan, LOAD_BYTES_MAX, Postgres, PostgresOptions, READERS_MAX_DEFAULT, RowLoader, RowOptions,
        discover,
    },
};
use trueup_testbed::{Postgres as Server, PostgresOptions as ServerOptions};

use turns::{Way, in_turns, link::link_to, report};

/// The allocator of the `trueup` command.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Rows of the table; far more than memory keeps between two reads of one.
const ROWS: i64 = 100_000;
/// Calls of one turn, by one task and by many.
const CALLS_OF_ONE: u32 = 200;
const CALLS_OF_MANY: u32 = 3_200;
/// Turns of each way.
const TURNS: usize = 101;
/// Classes keep a few hundred rows in memory, under the default policy; none is asked for again before it has left.
const PLAN: &str = "[defaults]\nl1_capacity = \"256KiB\"\nvalue_bytes_max = \"64KiB\"\n";

const SCHEMA: &str = "CREATE TABLE item (id bigint PRIMARY KEY, owner text NOT NULL, balance numeric(20, 2) NOT NULL, \
    opened timestamptz NOT NULL, note text); \
    INSERT INTO item SELECT g, 'owner ' || g, g * 1.25, '2026-01-01'::timestamptz + g * interval '1 minute', \
    repeat(md5(g::text), 4) FROM generate_series(1, 100000) g";

/// Hands out one row after the other, to whichever task asks.
#[derive(Clone, Default)]
struct Ids(Arc<AtomicI64>);

impl Ids {
    fn next(&self) -> i64 {
        // A stride without a common divisor: each row once before any comes again.
        self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(7_919).rem_euclid(ROWS) + 1
    }
}

fn pool(url: &str) -> Pool {
    let config = url.parse().expect("an address");
    let how = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let pool = Pool::builder(Manager::from_config(config, NoTls, how)).max_size(READERS_MAX_DEFAULT).build();
    pool.expect("a pool")
}

async fn measure(over: &str, url: &str) {
    let postgres = Postgres::connect(url, PostgresOptions::default()).await.expect("a source");
    let mut plan = Plan::parse("bench", PLAN, &[]).expect("a plan");
    let feed = FeedPlan::new(&postgres, &install_options(&plan)).await.expect("a plan of the feed");
    feed.apply().await.expect("a feed");
    postgres.look_at_catalogue().await.expect("a catalogue");
    let tables = discover(&postgres).await.expect("tables");
    drop(discover_classes(&mut plan, &tables, Some(&postgres.followed_tables())));
    let plan = plan.class("item").expect("a class").cacheable().expect("one that is kept").clone();
    let options = RowOptions {
        leave_out: Vec::new(),
        limit: plan.hard_timeout,
        value_bytes_max: LOAD_BYTES_MAX,
        age_bounded: false,
    };
    let loader = Arc::new(RowLoader::new(&postgres, "item", options).await.expect("a loader"));
    let cache = CacheBuilder::new(Arc::new(postgres.clone())).start();
    cache.ready().await;
    let form = loader.key_form().clone();
    let class = cache.class_by_text(plan, form.clone(), Arc::clone(&loader) as _).expect("a class");
    let (pool, ids) = (pool(url), Ids::default());
    for tasks in [1, 16] {
        let calls = if tasks == 1 { CALLS_OF_ONE } else { CALLS_OF_MANY };
        let bare = |sql: &'static str| {
            let (pool, ids) = (pool.clone(), ids.clone());
            move |_| {
                let (pool, ids) = (pool.clone(), ids.clone());
                async move {
                    for _ in 0..calls / tasks {
                        let client = pool.get().await.expect("a connection");
                        let statement = client.prepare_cached(sql).await.expect("a statement");
                        let row = client.query_one(&statement, &[&ids.next()]).await.expect("a row");
                        assert!(row.get::<_, &str>(0).len() > 100);
                    }
                }
            }
        };
        let load = |_| {
            let (loader, form, ids) = (Arc::clone(&loader), form.clone(), ids.clone());
            async move {
                for _ in 0..calls / tasks {
                    let key = form.key(&ids.next()).expect("a key");
                    let loaded = loader.load(&key).await.expect("a row");
                    assert!(loaded.value.is_some_and(|raw| raw.0.len() > 100));
                }
            }
        };
        let fill = |_| {
            let (class, form, ids) = (class.clone(), form.clone(), ids.clone());
            async move {
                for _ in 0..calls / tasks {
                    let key = form.key(&ids.next()).expect("a key");
                    let answer = class.read_canonical(&key).run().await.expect("a row");
                    let receipt = answer.receipt();
                    assert_eq!((receipt.served_by, receipt.proven), (ServedBy::Source, true));
                }
            }
        };
        let ways = [
            Way::tasks("bare SELECT", tasks, bare(BARE)),
            Way::tasks("bare SELECT with snapshot and position", tasks, bare(WITH_SNAPSHOT)),
            Way::tasks("the load alone", tasks, load),
            Way::tasks("a proven fill: read, load, admit, keep", tasks, fill),
        ];
        report(
            &format!("a row by primary key over {over}, {tasks} tasks"),
            &in_turns(TURNS, calls, &ways).await,
        );
    }
    let rejected = class.stats().counts().rejected;
    println!("fills refused by the proof: {rejected:?}");
    cache.shut_down().await;
}

/// The row as every way has it, and nothing else.
const BARE: &str = "SELECT to_jsonb(l)::text FROM (SELECT r.id, r.owner, r.balance, r.opened, r.note FROM item r WHERE r.id = $1) l";
/// The least that a proof needs from the server beside it.
const WITH_SNAPSHOT: &str = "SELECT to_jsonb(l)::text, pg_current_snapshot(), pg_current_wal_insert_lsn() \
     FROM (SELECT r.id, r.owner, r.balance, r.opened, r.note FROM item r WHERE r.id = $1) l";

fn main() {
    let server = Server::start(&ServerOptions::default()).expect("a server");
    server.query(SCHEMA).expect("a table");
    server.query("VACUUM ANALYZE item").expect("statistics");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("threads");
    runtime.block_on(measure("the loopback", &server.url()));
    let linked = server.url().replace(&server.port().to_string(), &link_to(server.port()).to_string());
    runtime.block_on(measure("a wire", &linked));
}
