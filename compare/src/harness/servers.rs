//! The database and Redis, the same ones for every rival.

use anyhow::{Context as _, Result};
use trueup_testbed::{Postgres, PostgresOptions, Redis, RedisOptions, eventually};

use super::proxy::Proxy;

/// What a load is, in the database's own count of statements: whoever reads the table, with whatever else around it.
const LOADS: &str = "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements \
    WHERE query ~* 'from\\s+(\"?public\"?\\.)?\"?item\"?(\\s|\\)|$)' AND query !~* '^\\s*(update|lock)'";

/// Everything that runs beside the drivers.
pub(super) struct Servers {
    pub(super) postgres: Postgres,
    pub(super) redis: Redis,
}

impl Servers {
    /// Starts them and fills the table.
    pub(super) fn start(rows: u64) -> Result<Self> {
        let options = PostgresOptions::default()
            .set("shared_preload_libraries", "pg_stat_statements")
            .set("max_slot_wal_keep_size", "256MB");
        let postgres = Postgres::start(&options)?;
        postgres.query("CREATE EXTENSION pg_stat_statements")?;
        postgres.query(&format!(
            "CREATE TABLE item (id bigint PRIMARY KEY, version bigint NOT NULL, name text NOT NULL, body text NOT NULL); \
             INSERT INTO item SELECT g, 1, 'item ' || g, repeat(md5(g::text), 6) FROM generate_series(1, {rows}) g"
        ))?;
        postgres.query("VACUUM ANALYZE item")?;
        Ok(Self { postgres, redis: Redis::start(&RedisOptions::default())? })
    }

    /// Nothing of the one before is left: no entry, no replication slot.
    pub(super) fn clean(&self) -> Result<()> {
        self.redis.cli(&["FLUSHALL"])?;
        eventually("the end of every replication slot", || {
            self.postgres.query(
                "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active; \
                 SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active",
            )?;
            let left = self.postgres.query("SELECT count(*) FROM pg_replication_slots")?;
            if left.trim() == "0" { Ok(()) } else { self.postgres.query("SELECT 1/0").map(drop) }
        })?;
        self.forget_loads()
    }

    pub(super) fn forget_loads(&self) -> Result<()> {
        self.postgres.query("SELECT pg_stat_statements_reset()")?;
        Ok(())
    }

    /// How often the table was read since it was last forgotten, by the database's count.
    pub(super) fn loads(&self) -> Result<u64> {
        let loads = self.postgres.query(LOADS)?;
        loads.trim().parse().with_context(|| format!("{loads:?} is no number"))
    }

    /// What the database holds: the version of each key.
    pub(super) fn versions(&self, keys: u32) -> Result<Vec<(i64, i64)>> {
        let rows = self.postgres.query(&format!("SELECT id, version FROM item WHERE id <= {keys}"))?;
        let row = |line: &str| {
            let (id, version) = line.split_once('|').with_context(|| format!("{line:?} is no row"))?;
            Ok((id.trim().parse()?, version.trim().parse()?))
        };
        rows.lines().map(row).collect()
    }
}

/// A Redis with a replica, behind one address.
pub(super) struct Pair {
    primary: Redis,
    replica: Redis,
    proxy: Proxy,
}

impl Pair {
    pub(super) fn start() -> Result<Self> {
        let primary = Redis::start(&RedisOptions::default().set("repl-diskless-sync-delay", "0"))?;
        let of = format!("127.0.0.1 {}", primary.port());
        let replica = Redis::start(&RedisOptions::default().set("replicaof", &of))?;
        eventually("a replica that follows", || {
            let info = replica.cli(&["INFO", "replication"])?;
            if info.contains("master_link_status:up") { Ok(()) } else { replica.cli(&["NOSUCH"]).map(drop) }
        })?;
        let proxy = Proxy::start(primary.port())?;
        Ok(Self { primary, replica, proxy })
    }

    pub(super) fn url(&self) -> String {
        self.proxy.url()
    }

    /// The replica hears nothing more of the primary: what the primary acknowledges from now on will be lost.
    pub(super) fn part(&self) -> Result<()> {
        self.replica.cli(&["REPLICAOF", "NO", "ONE"])?;
        Ok(())
    }

    /// The primary dies; the replica, which is behind, takes its place.
    pub(super) fn fail_over(&mut self) {
        self.primary.kill();
        self.proxy.cut();
        self.proxy.lead_to(self.replica.port());
    }
}
