//! The handle of a PostgreSQL source.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use deadpool_postgres::{Object, Pool, PoolError, TimeoutType, Timeouts};
use trueup_core::entry::EpochId;

use super::{
    address::Address,
    connect::{Access, Bounds, Server, pool, read_password},
    error::{At, PostgresError},
    feed::FeedStatus,
    identity::{Identity, NO_EPOCH},
    options::{ASK_LIMIT, ASKERS_MAX, LOAD_LIMIT_DEFAULT, PostgresOptions},
    registry::Registry,
    replica::Replica,
    watch::Watch,
};

/// The oldest major version: logical messages in `pgoutput`, streaming, and `bit_xor` came with it.
const VERSION_MIN: i32 = 14;

/// A PostgreSQL database whose changes are followed. Cheap to clone.
#[derive(Clone)]
pub struct Postgres {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) address: Address,
    pub(super) options: PostgresOptions,
    /// For loads: sessions that only read.
    pub(super) readers: Pool,
    /// For writes, locked reads, and looking at queries.
    pub(super) writers: Pool,
    /// For what makes answers fresh: never behind loads or writes.
    pub(super) askers: Pool,
    /// Hot standbys, for loads.
    pub(super) replicas: Vec<Replica>,
    /// Whose turn it is.
    pub(super) replica_turn: AtomicUsize,
    /// `system_identifier` of the cluster behind the URL when the handle was made: other clusters are refused.
    pub(super) system_id: u64,
    pub(super) identity: ArcSwapOption<Identity>,
    /// The name of the epoch that was asked for last.
    pub(super) named: ArcSwapOption<(Identity, u32, EpochId)>,
    pub(super) registry: ArcSwap<Registry>,
    pub(super) watch: Watch,
    pub(super) feed_status: FeedStatus,
    /// Longest pause between two questions of how far the source is, in microseconds.
    pub(super) ask_idle_us: AtomicU64,
}

impl Postgres {
    /// Connects to the primary at `url` (`postgres://user:password@host:port/database?sslmode=...`) and reads what is
    /// published there. Whether a feed is installed is not asked here.
    ///
    /// # Errors
    /// [`PostgresError`], naming server and database, and the fix.
    pub async fn connect(url: &str, options: PostgresOptions) -> Result<Self, PostgresError> {
        let mut address = Address::parse(url)?;
        if let Some(path) = &options.password_file {
            address.config.password(read_password(path)?);
        }
        let lock_wait = options.write_lock_wait;
        let bounds = |access, connections_max, limit| Bounds { access, connections_max, limit, lock_wait };
        let server = first_look(&address, &options).await?;
        let system_id = server.system_id;
        let make = |bounds| pool(&address, &options, bounds, Some(&server));
        let replicas = options.replicas.iter().map(|url| Replica::new(url, &options, &server));
        let shared = Shared {
            replicas: replicas.collect::<Result<_, _>>()?,
            replica_turn: AtomicUsize::new(0),
            system_id,
            readers: make(bounds(Access::Read, options.readers_max, LOAD_LIMIT_DEFAULT))?,
            writers: make(bounds(Access::Write, options.writers_max, options.write_limit))?,
            askers: make(bounds(Access::Ask, ASKERS_MAX, ASK_LIMIT))?,
            identity: ArcSwapOption::empty(),
            named: ArcSwapOption::empty(),
            registry: ArcSwap::from_pointee(Registry::default()),
            watch: Watch::default(),
            feed_status: FeedStatus::default(),
            ask_idle_us: AtomicU64::new(micros(options.feed.ask_idle)),
            address,
            options,
        };
        shared.catalogue_moved().await?;
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The server and database, for people: `host:port/database`.
    #[must_use]
    pub fn place(&self) -> &str {
        self.shared.address.place()
    }

    /// The settings.
    #[must_use]
    pub fn options(&self) -> &PostgresOptions {
        &self.shared.options
    }

    /// Whether anything that is published or read by an open class was altered since the catalogue was last looked at. The
    /// feed asks this all the time by itself.
    ///
    /// # Errors
    /// [`PostgresError`] when the server does not answer.
    pub async fn catalogue_altered(&self) -> Result<bool, PostgresError> {
        Ok(self.shared.ask().await?.moved)
    }

    /// Looks at the catalogue anew: what open classes loaded from altered relations is unproven from then on.
    ///
    /// # Errors
    /// [`PostgresError`] when the catalogue cannot be read.
    pub async fn look_at_catalogue(&self) -> Result<(), PostgresError> {
        self.shared.catalogue_moved().await
    }

    /// Asks often enough that answers can be held to `bound`; never less often than the options say.
    #[cfg(feature = "sqlite")]
    pub(crate) fn keep_within(&self, bound: Duration) {
        let idle = self.shared.options.feed.idle_for(bound);
        self.shared.ask_idle_us.fetch_min(micros(idle), Ordering::Relaxed);
    }

    /// Tables whose changes are told, or would be if what is wrong with them were put right.
    #[must_use]
    pub fn followed_tables(&self) -> Vec<super::registry::FollowedTable> {
        self.shared.registry.load().followed_tables()
    }
}

impl Shared {
    /// Where something is attempted, for errors.
    pub(super) fn at(&self, doing: &'static str) -> At<'_> {
        At { place: self.address.place(), user: self.address.user(), doing, patience: LOAD_LIMIT_DEFAULT }
    }

    /// A connection that only reads.
    pub(super) async fn reader(&self, at: At<'_>) -> Result<Object, PostgresError> {
        lease(&self.readers, at, at.patience).await
    }

    /// A connection that may write.
    pub(super) async fn writer(&self, at: At<'_>) -> Result<Object, PostgresError> {
        lease(&self.writers, at, at.patience).await
    }

    /// A connection for what makes answers fresh.
    pub(super) async fn asker(&self, at: At<'_>) -> Result<Object, PostgresError> {
        lease(&self.askers, at, at.patience).await
    }

    /// The feed has entered an epoch.
    pub(super) fn set_identity(&self, identity: Option<Identity>) {
        self.identity.store(identity.map(Arc::new));
    }

    /// The epoch of what was read on `timeline`.
    pub(super) fn epoch(&self, timeline: u32) -> EpochId {
        let identity = self.identity.load();
        let Some(identity) = identity.as_deref().filter(|identity| identity.system_id == self.system_id)
        else {
            return NO_EPOCH;
        };
        // A name is a hash: to make it for each load would cost as much as to find the load's connection.
        if let Some((of, at, epoch)) = self.named.load().as_deref()
            && (of, *at) == (identity, timeline)
        {
            return *epoch;
        }
        let epoch = identity.epoch(timeline);
        self.named.store(Some(Arc::new((*identity, timeline, epoch))));
        epoch
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// Checks what every source needs of its server, and to what later connections are held.
async fn first_look(address: &Address, options: &PostgresOptions) -> Result<Server, PostgresError> {
    const SQL: &str = "SELECT current_setting('server_version_num')::int4, current_setting('server_version'), \
        pg_is_in_recovery(), pg_encoding_to_char(encoding)::text, system_identifier, current_setting('search_path') \
        FROM pg_database CROSS JOIN pg_control_system() WHERE datname = current_database()";
    let at = At {
        place: address.place(),
        user: address.user(),
        doing: "connecting",
        patience: options.connect_wait,
    };
    let bounds = Bounds {
        access: Access::Read,
        connections_max: 1,
        limit: ASK_LIMIT,
        lock_wait: options.write_lock_wait,
    };
    let client = lease(&pool(address, options, bounds, None)?, at, options.connect_wait).await?;
    let row = client.query_one(SQL, &[]).await.map_err(|e| at.error(&e))?;
    let place = || address.place().to_owned();
    if row.get::<_, i32>(0) < VERSION_MIN * 10_000 {
        return Err(PostgresError::TooOld { place: place(), found: row.get(1), needed: VERSION_MIN });
    }
    if row.get(2) {
        return Err(PostgresError::NotPrimary { place: place() });
    }
    if row.get::<_, &str>(3) == "SQL_ASCII" {
        let reason =
            "the database has the encoding SQL_ASCII, whose texts no one can compare; move it to UTF8";
        return Err(PostgresError::Database {
            place: place(),
            doing: at.doing,
            code: None,
            reason: reason.to_owned(),
        });
    }
    Ok(Server { system_id: row.get::<_, i64>(4).cast_unsigned(), search_path: row.get(5) })
}

/// A connection of `pool`, waited for no longer than `patience`.
pub(super) async fn lease(pool: &Pool, at: At<'_>, patience: Duration) -> Result<Object, PostgresError> {
    let within = |wait| Timeouts { wait: Some(wait), ..pool.timeouts() };
    // Where one is free nobody waits, and a timer for the wait would cost as much as the connection. The wait has memory of its
    // own: of each load's it would be a good part.
    let client = match pool.timeout_get(&within(Duration::ZERO)).await {
        Err(PoolError::Timeout(TimeoutType::Wait)) => Box::pin(pool.timeout_get(&within(patience))).await,
        at_once => at_once,
    };
    client.map_err(|error| At { patience, ..at }.pool(&error))
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres").field("place", &self.place()).finish_non_exhaustive()
    }
}
