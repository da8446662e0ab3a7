//! What the feed says and asks over a plain connection: its row in the source, ids of its own, heartbeats, who is in the way.

use std::time::Duration;

use tokio_postgres::{Client, Row, types::ToSql};
use trueup_core::proof::{Position, Xid};

use super::{assemble::BEAT_PREFIX, error::FeedError, host::Host, single::random_u64};
use crate::postgres::{
    identity::{INSTANCE, Instance},
    names::PUBLICATION,
};

/// How long one statement may take.
const STATEMENT_LIMIT: Duration = Duration::from_secs(5);

/// The row of `trueup.feed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FeedRow {
    pub(super) nonce: u128,
    pub(super) generation: u64,
    /// Counts heartbeats: never goes back, unless the database was restored.
    pub(super) beat: u64,
    /// Where the node that holds the slot can be followed.
    pub(super) holder: Option<String>,
    /// Which start of the server it was read from.
    pub(super) instance: Instance,
}

/// A logical replication slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// Everything that ends at or below this is never told again. None while the slot is being made.
    pub(super) confirmed: Option<Position>,
    /// The server's process that uses it.
    pub(super) active_pid: Option<i32>,
    /// Its log was removed.
    pub(super) is_lost: bool,
}

/// A plain connection of the feed's own.
pub(super) struct Control {
    client: Client,
}

impl Control {
    pub(super) async fn open(host: &dyn Host) -> Result<Self, FeedError> {
        let control = Self { client: host.open().await? };
        let limit_ms = STATEMENT_LIMIT.as_millis();
        // Local: a heartbeat must not wait for a standby that is silent.
        let settings = format!(
            "SET synchronous_commit = local; SET statement_timeout = {limit_ms}; SET lock_timeout = {limit_ms}"
        );
        let doing = "preparing a connection";
        let set = control.client.batch_execute(&settings);
        within(doing, set).await?.map_err(|e| FeedError::database(doing, &e))?;
        Ok(control)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// The feed's row; an error that names the fix where nothing is installed.
    pub(super) async fn row(&self) -> Result<FeedRow, FeedError> {
        let doing = "reading trueup.feed";
        let sql = format!("SELECT nonce, generation, beat, holder, {INSTANCE} FROM trueup.feed WHERE id = 1");
        let row = match self.optional(doing, &sql, &[]).await {
            Ok(Some(row)) => row,
            Ok(None) => return Err(FeedError::NotInstalled { missing: "the row of trueup.feed".to_owned() }),
            Err(error) if error.is_missing() => {
                let missing = format!("the table trueup.feed, or the right to read it ({error})");
                return Err(FeedError::NotInstalled { missing });
            }
            Err(error) => return Err(error),
        };
        let doing = "looking for the publication";
        let sql = "SELECT true FROM pg_publication WHERE pubname = $1";
        if self.optional(doing, sql, &[&PUBLICATION]).await?.is_none() {
            return Err(FeedError::NotInstalled { missing: format!("the publication `{PUBLICATION}`") });
        }
        let nonce: Vec<u8> = row.get(0);
        let nonce = nonce.try_into().map(u128::from_be_bytes);
        let nonce =
            nonce.map_err(|_| FeedError::NotInstalled { missing: "a nonce in trueup.feed".to_owned() })?;
        let number = |column: usize| row.get::<_, i64>(column).cast_unsigned();
        let instance = Instance(row.get(4));
        Ok(FeedRow { nonce, generation: number(1), beat: number(2), holder: row.get(3), instance })
    }

    /// A transaction id of our own: every transaction that ended before this call has a lower one.
    pub(super) async fn own_xid(&self) -> Result<Xid, FeedError> {
        let doing = "asking for a transaction id";
        let row = self.one(doing, "SELECT pg_current_xact_id()::text", &[]).await?;
        let xid = row.get::<_, String>(0).parse().map(Xid);
        xid.map_err(|_| FeedError::Database { doing, problem: "the answer is no transaction id".to_owned() })
    }

    /// Puts a heartbeat into the log, and flushes it. Returns the counter, unless another node is counting just now.
    pub(super) async fn beat(&self) -> Result<Option<u64>, FeedError> {
        // Without waiting for another node's heartbeat: that one serves as well.
        let sql = format!(
            "WITH free AS (SELECT id FROM trueup.feed WHERE id = 1 FOR UPDATE SKIP LOCKED), \
             beaten AS (UPDATE trueup.feed f SET beat = beat + 1 FROM free WHERE f.id = free.id RETURNING f.beat) \
             SELECT pg_logical_emit_message(true, '{BEAT_PREFIX}', \
             coalesce((SELECT beat::text FROM beaten), ''))::text, (SELECT beat FROM beaten)"
        );
        let row = self.one("sending a heartbeat", &sql, &[]).await?;
        Ok(row.get::<_, Option<i64>>(1).map(i64::cast_unsigned))
    }

    /// The slot of that name.
    pub(super) async fn slot(&self, name: &str) -> Result<Option<Slot>, FeedError> {
        let sql = "SELECT confirmed_flush_lsn::text, active_pid, coalesce(wal_status = 'lost', false) \
                   FROM pg_replication_slots WHERE slot_name = $1 AND slot_type = 'logical'";
        let row = self.optional("looking for the slot", sql, &[&name]).await?;
        Ok(row.map(|row| Slot {
            confirmed: row.get::<_, Option<String>>(0).as_deref().and_then(lsn),
            active_pid: row.get(1),
            is_lost: row.get(2),
        }))
    }

    /// Drops a slot that nobody uses.
    pub(super) async fn drop_slot(&self, name: &str) -> Result<(), FeedError> {
        let sql =
            "SELECT pg_drop_replication_slot(slot_name)::text FROM pg_replication_slots WHERE slot_name = $1";
        self.optional("dropping the slot", sql, &[&name]).await.map(drop)
    }

    /// Continuity was lost: another generation follows `old`, unless another node has begun one. It is drawn, not counted: a
    /// restored database would count to one that it has had before, of another history.
    pub(super) async fn renew_generation(&self, old: u64) -> Result<(), FeedError> {
        let sql = "UPDATE trueup.feed SET generation = $2 WHERE id = 1 AND generation = $1";
        let (old, new) = (old.cast_signed(), (random_u64()? >> 1).cast_signed());
        self.execute("beginning a new generation", sql, &[&old, &new]).await
    }

    /// Says where this node can be followed.
    pub(super) async fn set_holder(&self, address: Option<&str>) -> Result<(), FeedError> {
        let sql = "UPDATE trueup.feed SET holder = $1 WHERE id = 1";
        self.execute("naming the holder of the slot", sql, &[&address]).await
    }

    /// Ends another session of our own role.
    pub(super) async fn end_session(&self, pid: i32) -> Result<(), FeedError> {
        self.one("ending a session", "SELECT pg_terminate_backend($1)", &[&pid]).await.map(drop)
    }

    /// The transaction that the session `pid` waits for, with the process that runs it.
    pub(super) async fn blocker(&self, pid: i32) -> Result<Option<String>, FeedError> {
        let sql = "SELECT w.transactionid::text, h.pid, a.application_name, a.wait_event, \
                   extract(epoch FROM clock_timestamp() - a.xact_start)::float8, p.gid::text \
                   FROM pg_locks w \
                   LEFT JOIN pg_locks h ON h.locktype = 'transactionid' AND h.transactionid = w.transactionid \
                     AND h.granted AND h.mode = 'ExclusiveLock' \
                   LEFT JOIN pg_stat_activity a ON a.pid = h.pid \
                   LEFT JOIN pg_prepared_xacts p ON p.transaction = w.transactionid \
                   WHERE w.pid = $1 AND NOT w.granted AND w.locktype = 'transactionid' LIMIT 1";
        let row = self.optional("looking for who is in the way", sql, &[&pid]).await?;
        Ok(row.as_ref().map(describe))
    }

    /// The oldest transaction that holds an id.
    pub(super) async fn oldest(&self) -> Result<Option<String>, FeedError> {
        let sql = "SELECT x.xid::text, x.pid, x.name, x.wait, x.open_s, x.gid FROM ( \
                   SELECT backend_xid AS xid, pid, application_name AS name, wait_event AS wait, \
                     extract(epoch FROM clock_timestamp() - xact_start)::float8 AS open_s, NULL AS gid \
                   FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid() \
                   UNION ALL \
                   SELECT transaction, NULL, NULL, NULL, \
                     extract(epoch FROM clock_timestamp() - prepared)::float8, gid::text FROM pg_prepared_xacts \
                   ) x ORDER BY age(x.xid) DESC LIMIT 1";
        let row = self.optional("looking for the oldest transaction", sql, &[]).await?;
        Ok(row.as_ref().map(describe))
    }

    async fn one(
        &self,
        doing: &'static str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, FeedError> {
        within(doing, self.client.query_one(sql, parameters))
            .await?
            .map_err(|e| FeedError::database(doing, &e))
    }

    async fn optional(
        &self,
        doing: &'static str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, FeedError> {
        within(doing, self.client.query_opt(sql, parameters))
            .await?
            .map_err(|e| FeedError::database(doing, &e))
    }

    async fn execute(
        &self,
        doing: &'static str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<(), FeedError> {
        let done = within(doing, self.client.execute(sql, parameters)).await?;
        done.map(drop).map_err(|e| FeedError::database(doing, &e))
    }
}

/// Bounds the wait for an answer also where the network, not the server, holds it up.
async fn within<T>(doing: &'static str, work: impl Future<Output = T>) -> Result<T, FeedError> {
    let limit = STATEMENT_LIMIT * 2;
    tokio::time::timeout(limit, work).await.map_err(|_| FeedError::Late { doing, limit })
}

/// A position as PostgreSQL writes it.
pub(super) fn lsn(text: &str) -> Option<Position> {
    pg_walstream::parse_lsn(text).ok().map(Position)
}

/// A transaction and who runs it, from the columns id, process, application, wait, seconds open, name of a prepared one.
fn describe(row: &Row) -> String {
    let xid: Option<String> = row.get(0);
    let xid = xid.unwrap_or_default();
    let open_s = row.get::<_, Option<f64>>(4).unwrap_or_default();
    if let Some(gid) = row.get::<_, Option<String>>(5) {
        return format!(
            "transaction {xid}, prepared {open_s:.0} s ago as `{gid}`; run COMMIT PREPARED or ROLLBACK PREPARED"
        );
    }
    let Some(pid) = row.get::<_, Option<i32>>(1) else {
        return format!("transaction {xid}");
    };
    let name: Option<String> = row.get(2);
    let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| "no application name".to_owned());
    let advice = match row.get::<_, Option<String>>(3).as_deref() {
        Some("SyncRep") => {
            "it has committed and waits for a synchronous standby: bring the standby back, or change synchronous_standby_names"
        }
        _ => "commit it, roll it back, or end the process",
    };
    format!("transaction {xid} of process {pid} ({name}), open for {open_s:.0} s; {advice}")
}
