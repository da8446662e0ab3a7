//! The database of an incident, reached the way an application reaches a server, over a network: a SQLite file, or a database
//! of its own on the run's PostgreSQL.

mod embedded;
mod remote;

use std::sync::atomic::{AtomicU64, Ordering};

use trueup::{Plan, redis::Redis};

use self::{embedded::Embedded, remote::Remote};
use super::{
    Setup,
    books::Books,
    node::Node,
    sql::{Record, Values},
};
use crate::world::LabError;

/// The database of record. Gone when it is dropped.
pub(super) struct Shop {
    place: Place,
    queries: AtomicU64,
}

enum Place {
    Embedded(Embedded),
    Remote(Remote),
}

/// How far the database is from those who ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Distance {
    Network,
    /// Next door: the incident is not about ways.
    None,
}

impl Shop {
    /// A database of its own with this schema and these rows, for one way of one incident.
    pub(super) async fn open(setup: &Setup, schema: &str) -> Result<Self, LabError> {
        Self::at(setup, schema, Distance::Network).await
    }

    /// The same without a network before it: for incidents whose figures are no matter of time.
    pub(super) async fn next_door(setup: &Setup, schema: &str) -> Result<Self, LabError> {
        Self::at(setup, schema, Distance::None).await
    }

    async fn at(setup: &Setup, schema: &str, distance: Distance) -> Result<Self, LabError> {
        let place = match &setup.full {
            None => Place::Embedded(Embedded::open(setup.seed, schema)?),
            Some(servers) => Place::Remote(Remote::open(servers, schema, distance).await?),
        };
        Ok(Self { place, queries: AtomicU64::new(0) })
    }

    /// A statement of a program that knows nothing of Trueup, with its way there and back; how many rows it changed.
    pub(super) async fn execute(&self, sql: &str, params: impl Values) -> Result<u64, LabError> {
        let params = params.values();
        match &self.place {
            Place::Embedded(file) => file.execute(sql, &params).await,
            Place::Remote(database) => database.execute(sql, &params).await,
        }
    }

    /// The first row of a query of such a program, or none.
    pub(super) async fn query<T: Record>(
        &self,
        sql: &str,
        params: impl Values,
    ) -> Result<Option<T>, LabError> {
        let params = params.values();
        self.queries.fetch_add(1, Ordering::Relaxed);
        match &self.place {
            Place::Embedded(file) => file.query(sql, &params).await,
            Place::Remote(database) => database.query(sql, &params).await,
        }
    }

    /// The same without a network and uncounted: what an auditor sees.
    pub(super) async fn now<T: Record>(&self, sql: &str, params: impl Values) -> Result<Option<T>, LabError> {
        let params = params.values();
        match &self.place {
            Place::Embedded(file) => file.now(sql, &params),
            Place::Remote(database) => database.now(sql, &params).await,
        }
    }

    /// How many queries came over the network.
    pub(super) fn queries(&self) -> u64 {
        self.queries.load(Ordering::Relaxed)
    }

    /// A node of Trueup in front of it, whose feed is installed if it was not. On servers it has the cluster as its remote
    /// tier; a class that is to be held in memory alone says `l2 = false`.
    pub(super) async fn trueup(&self, plan: &str) -> Result<Node, LabError> {
        match &self.place {
            Place::Embedded(file) => file.trueup(parsed(plan)?, None).await,
            Place::Remote(database) => database.trueup(parsed(&database.shared(plan))?, None).await,
        }
    }

    /// The same with a remote tier of the incident's own.
    pub(super) async fn trueup_beside(&self, plan: &str, tier: Redis) -> Result<Node, LabError> {
        // Where it is, the tier itself says; that there is one, the plan is to know.
        let plan = parsed(&format!("[l2]\nurls = [\"redis://own:6379\"]\n{plan}"))?;
        match &self.place {
            Place::Embedded(file) => file.trueup(plan, Some(tier)).await,
            Place::Remote(database) => database.trueup(plan, Some(tier)).await,
        }
    }

    /// Where the record of what was done is kept: beside what it tells of.
    pub(super) fn books(&self) -> Result<Books, LabError> {
        match &self.place {
            Place::Embedded(file) => Ok(Books::Sqlite(file.books())),
            Place::Remote(database) => Ok(Books::Postgres(database.books()?)),
        }
    }

    /// Several nodes that are one fleet: on PostgreSQL one of them holds the replication slot, and the others follow it over HTTP.
    pub(super) async fn fleet(&self, plan: &str, size: usize) -> Result<Vec<Node>, LabError> {
        let mut nodes = Vec::with_capacity(size);
        for _ in 0..size {
            nodes.push(match &self.place {
                Place::Embedded(file) => file.trueup(parsed(plan)?, None).await?,
                Place::Remote(database) => database.member(parsed(&database.shared(plan))?).await?,
            });
        }
        Ok(nodes)
    }
}

fn parsed(plan: &str) -> Result<Plan, LabError> {
    Plan::parse("incident", plan, &[]).map_err(|why| LabError::failed("the plan", why))
}
