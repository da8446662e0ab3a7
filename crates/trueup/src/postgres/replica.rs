//! Loads on hot standbys.
//!
//! A standby tells nothing exact of what it shows: its own `pg_current_snapshot()` has no list of running transactions. What is
//! certain is that it shows everything that it had replayed before the load. The rest is asked of the primary, afterwards.

use std::sync::atomic::{AtomicU64, Ordering};

use deadpool_postgres::Pool;
use tokio_postgres::{Row, types::PgLsn};
use trueup_core::{
    env::Nanos,
    proof::{Position, Seen, Snapshot},
    source::LoadError,
};

use super::{
    address::Address,
    connect::{Access, Bounds, Server, pool},
    error::{At, PostgresError},
    handle::{Shared, lease},
    load::{Request, run},
    options::{LOAD_LIMIT_DEFAULT, PostgresOptions, REPLICA_PAUSE},
};

/// What stands in front of a load on a standby: whether it is one still, and the timeline that it has certainly reached.
pub(super) const STANDBY_SAW: &str = "(SELECT pg_is_in_recovery() AS standby, \
     (SELECT timeline_id FROM pg_control_checkpoint()) AS timeline OFFSET 0) saw";
/// The columns of [`STANDBY_SAW`].
pub(super) const STANDBY_SAW_COLUMNS: &str = "saw.standby, saw.timeline";
/// Where a value begins in the rows of a load on a standby.
pub(super) const STANDBY_VALUE: usize = 2;

/// A hot standby of the primary.
pub(super) struct Replica {
    address: Address,
    pool: Pool,
    /// Left alone until then, because it failed.
    troubled_until: AtomicU64,
}

impl Replica {
    /// The standby at `url`, of the same cluster.
    pub(super) fn new(url: &str, options: &PostgresOptions, server: &Server) -> Result<Self, PostgresError> {
        let mut address = Address::parse(url)?;
        if let Some(path) = &options.password_file {
            address.config.password(super::connect::read_password(path)?);
        }
        let bounds = Bounds {
            access: Access::Read,
            connections_max: options.readers_max,
            limit: LOAD_LIMIT_DEFAULT,
            lock_wait: options.write_lock_wait,
        };
        let pool = pool(&address, options, bounds, Some(server))?;
        Ok(Self { address, pool, troubled_until: AtomicU64::new(0) })
    }
}

impl Shared {
    /// A standby that may be asked, each in its turn.
    pub(super) fn replica(&self) -> Option<&Replica> {
        if self.replicas.is_empty() {
            return None;
        }
        let now = self.options.clock.now();
        let turn = self.replica_turn.fetch_add(1, Ordering::Relaxed);
        let in_turn = (0..self.replicas.len()).map(|i| &self.replicas[(turn + i) % self.replicas.len()]);
        in_turn.into_iter().find(|replica| Nanos(replica.troubled_until.load(Ordering::Relaxed)) <= now)
    }

    /// The rows of a load on a standby, and what it certainly saw.
    pub(super) async fn rows_on_standby(
        &self,
        replica: &Replica,
        request: &Request<'_>,
    ) -> Result<(Vec<Row>, Seen), LoadError> {
        let answer = self.ask_standby(replica, request).await;
        if let Err(error) = &answer {
            let until = self.options.clock.now().after(REPLICA_PAUSE);
            replica.troubled_until.store(until.0, Ordering::Relaxed);
            tracing::debug!(%error, "a standby is left alone for a while");
        }
        answer
    }

    async fn ask_standby(
        &self,
        replica: &Replica,
        request: &Request<'_>,
    ) -> Result<(Vec<Row>, Seen), LoadError> {
        const REPLAYED: &str = "SELECT pg_last_wal_replay_lsn()";
        let at = At {
            place: replica.address.place(),
            user: replica.address.user(),
            doing: "loading from a standby",
            patience: request.limit,
        };
        let asked = async {
            let client = lease(&replica.pool, at, request.limit).await?;
            let replayed = client.prepare_cached(REPLAYED).await.map_err(|e| at.error(&e))?;
            // In one round trip, and in this order: what had been replayed before the load's snapshot is in it.
            let (replayed, rows) =
                tokio::join!(biased; client.query_one(&replayed, &[]), run(&client, request, at));
            let replayed = replayed.map_err(|e| at.error(&e))?.get::<_, Option<PgLsn>>(0);
            Ok((replayed, rows?))
        };
        let late = |_| Err(at.late());
        let (replayed, rows): (Option<PgLsn>, Vec<Row>) =
            tokio::time::timeout(request.limit, asked).await.unwrap_or_else(late)?;
        let now = self.now(request.limit).await?;
        let row = rows.first().ok_or(LoadError::Lost)?;
        let is_standby = row.try_get::<_, bool>(0).unwrap_or(false);
        let timeline = row.try_get::<_, i32>(1).ok().map(i32::cast_unsigned);
        let refused = |why: &str| LoadError::Unavailable(format!("{}: {why}", at.place).into());
        let replayed = replayed.filter(|_| is_standby);
        let replayed =
            replayed.ok_or_else(|| refused("it is no standby any more; take it from `replicas`"))?;
        // Another history: positions of the two mean different things. After a promotion of the primary a standby tells its new
        // timeline only from its next checkpoint on.
        if timeline.map(|timeline| self.epoch(timeline)) != Some(now.epoch) {
            return Err(refused("it has not, or not yet, the primary's timeline"));
        }
        let snapshot = Snapshot::Replayed(Position(replayed.into()));
        Ok((rows, Seen { snapshot, ..now }))
    }
}
