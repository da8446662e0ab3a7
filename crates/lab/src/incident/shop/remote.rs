//! A database on the run's PostgreSQL. Applications and nodes reach it through the same proxy.

use std::{sync::Arc, time::Duration};

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use once::postgres::PostgresStore;
use tokio_postgres::{Client, Config, NoTls, Row};
use trueup::{
    Plan, Postgres, PostgresOptions, Trueup,
    catalog::postgres::install_options,
    postgres::{FeedOptions, FeedPlan, READERS_MAX_DEFAULT, WRITERS_MAX_DEFAULT, fleet::FleetOptions},
    redis::Redis,
};
use trueup_core::env::{Task, spawn};

use super::Distance;
use crate::{
    incident::{
        member::Door,
        node::Node,
        servers::Servers,
        sql::{Cells, Record, Value, for_postgres, numbered},
    },
    world::LabError,
};

/// Connections of the application's pool: as many as one node of Trueup has for loads and writes.
const POOL_MAX: usize = READERS_MAX_DEFAULT + WRITERS_MAX_DEFAULT;
/// How long the record waits for a connection.
const POOL_PATIENCE: Duration = Duration::from_secs(10);

/// The database, given back when it is dropped.
pub(super) struct Remote {
    servers: Arc<Servers>,
    name: String,
    distance: Distance,
    /// The application's.
    pool: Pool,
    /// The auditor's: straight to the server.
    auditor: Client,
    connection: Task,
}

impl Remote {
    pub(super) async fn open(
        servers: &Arc<Servers>,
        schema: &str,
        distance: Distance,
    ) -> Result<Self, LabError> {
        let name = servers.new_database().await?;
        let (auditor, connection) =
            tokio_postgres::connect(&servers.url(&name, Distance::None), NoTls).await?;
        // Its end shows in the client's next call.
        let connection = spawn("lab auditor", async move { _ = connection.await });
        auditor.batch_execute(schema).await?;
        let config: Config = servers.url(&name, distance).parse()?;
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let pool = Pool::builder(Manager::from_config(config, NoTls, recycling)).max_size(POOL_MAX).build();
        let pool = pool.map_err(|why| LabError::failed("the pool of the application", why))?;
        Ok(Self { servers: Arc::clone(servers), name, distance, pool, auditor, connection })
    }

    pub(super) async fn execute(&self, sql: &str, params: &[Value]) -> Result<u64, LabError> {
        let client = self.client().await?;
        let statement = client.prepare_cached(&numbered(sql)).await?;
        Ok(client.execute(&statement, &for_postgres(params)).await?)
    }

    pub(super) async fn query<T: Record>(&self, sql: &str, params: &[Value]) -> Result<Option<T>, LabError> {
        let client = self.client().await?;
        let statement = client.prepare_cached(&numbered(sql)).await?;
        first(&client.query(&statement, &for_postgres(params)).await?)
    }

    pub(super) async fn now<T: Record>(&self, sql: &str, params: &[Value]) -> Result<Option<T>, LabError> {
        first(&self.auditor.query(numbered(sql).as_str(), &for_postgres(params)).await?)
    }

    /// In a pool of its own, as a service that knows nothing of the application's has it.
    pub(super) fn books(&self) -> Result<PostgresStore, LabError> {
        let failed = |why: &dyn std::fmt::Display| LabError::failed("the pool of the record", why);
        let config = self.servers.url(&self.name, self.distance).parse()?;
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let pool = Pool::builder(Manager::from_config(config, NoTls, recycling))
            .max_size(POOL_MAX)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(POOL_PATIENCE))
            .build();
        Ok(PostgresStore::new(pool.map_err(|why| failed(&why))?))
    }

    async fn client(&self) -> Result<Object, LabError> {
        self.pool.get().await.map_err(|why| LabError::failed("a connection of the application's pool", why))
    }

    /// The plan with the cluster as the remote tier: entries are shared unless the class says otherwise.
    pub(super) fn shared(&self, plan: &str) -> String {
        let nodes = self.servers.cache_addresses().join(",");
        format!("[defaults]\nl2 = true\n[l2]\nurls = [\"redis-cluster://{nodes}\"]\n{plan}")
    }

    /// A node, with the run's cluster as its remote tier or with one of its own.
    pub(super) async fn trueup(&self, plan: Plan, tier: Option<Redis>) -> Result<Node, LabError> {
        let postgres = self.source(&plan, None).await?;
        Ok(Node::Postgres { node: self.build(postgres, plan, tier).await?, _telling: None })
    }

    /// A node of a fleet, which tells others over HTTP what it knows.
    pub(super) async fn member(&self, plan: Plan) -> Result<Node, LabError> {
        let door = Door::open().await?;
        let fleet = FleetOptions {
            // Slots are the server's, not the database's.
            slot: self.name.clone(),
            advertise: Some(door.url()),
            ..FleetOptions::default()
        };
        let postgres = self.source(&plan, Some(fleet)).await?;
        let telling = postgres.fleet().map(|fleet| door.tell(fleet));
        Ok(Node::Postgres { node: self.build(postgres, plan, None).await?, _telling: telling })
    }

    /// The database as a source, with the feed installed as `trueup init --apply` does.
    async fn source(&self, plan: &Plan, fleet: Option<FleetOptions>) -> Result<Postgres, LabError> {
        let feed = FeedOptions { fleet, ..FeedOptions::default() };
        let options = PostgresOptions { feed, ..PostgresOptions::default() };
        let failed = |why: &dyn std::fmt::Display| LabError::failed("the database as a source", why);
        let url = self.servers.url(&self.name, self.distance);
        let postgres = Postgres::connect(&url, options).await.map_err(|why| failed(&why))?;
        let feed = FeedPlan::new(&postgres, &install_options(plan)).await.map_err(|why| failed(&why))?;
        feed.apply().await.map_err(|why| failed(&why))?;
        Ok(postgres)
    }

    async fn build(
        &self,
        postgres: Postgres,
        plan: Plan,
        tier: Option<Redis>,
    ) -> Result<Trueup<Postgres>, LabError> {
        let tier = tier.unwrap_or_else(|| Redis::cluster(self.servers.cache_addresses()));
        let built = Trueup::builder().source(postgres).l2(tier).plan(plan).build().await;
        built.map_err(|why| LabError::failed("a node of Trueup", why))
    }
}

fn first<T: Record>(rows: &[Row]) -> Result<Option<T>, LabError> {
    rows.first().map(|row| T::read(&Cells::Postgres(row))).transpose()
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.connection.stop();
        self.servers.done_with(std::mem::take(&mut self.name));
    }
}
