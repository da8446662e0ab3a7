//! What is shown, by way of the cache: classes of `plan.toml`, each by a type of its own. None of them authorises anything.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use trueup::{
    Class, KeyPart, Plan, Postgres, PostgresOptions, ScopeDimension, Scoped, SqlValue, Sqlite, SqliteOptions,
    Token, Trueup, TrueupError,
    catalog::{postgres as on_postgres, sqlite as on_sqlite},
    engine::cache::Cache,
    postgres::FeedPlan as PostgresFeed,
    redis::Redis,
    sqlite::FeedPlan as SqliteFeed,
};

use crate::domain::{Account, Fee, Id, Kyc, Session};

/// The plan, as it is shipped.
pub const PLAN: &str = include_str!("../plan.toml");
/// The tables that the cached classes read: only these are followed.
const FOLLOWED: [&str; 5] = ["session", "account", "kyc", "fee", "person"];

/// How long a start waits for the feed: what is decided needs no cache, and what is shown can come from the database.
const FEED_WAIT: Duration = Duration::from_secs(10);

macro_rules! dimensions {
    ($($(#[$doc:meta])* $type:ident = $name:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $type(pub String);

        impl KeyPart for $type {
            fn value(&self) -> SqlValue<'_> {
                SqlValue::Text(&self.0)
            }
        }

        impl ScopeDimension for $type {
            const NAME: &'static str = $name;
        }
    )+};
}

dimensions! {
    /// The tenant of a request.
    Tenant = "tenant";
    /// Who asks.
    Viewer = "viewer";
    /// What who asks may see.
    ViewerRole = "role";
}

/// What is shown of a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The id.
    pub id: Id,
    /// The name.
    pub name: String,
    /// The address, for those who may see it.
    pub email: Option<String>,
    /// Counts changes.
    pub version: i64,
}

/// Where the cache stands in front of: the same database that the books are in.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file.
    Sqlite(std::path::PathBuf),
    /// A primary, by URL.
    Postgres(String),
}

/// The cache could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The plan is not one.
    #[error("plan.toml: {0}")]
    Plan(String),
    /// The cache itself.
    #[error(transparent)]
    Trueup(#[from] TrueupError),
    /// The remote tier.
    #[error(transparent)]
    Remote(#[from] trueup::redis::RedisError),
    /// The database, SQLite.
    #[error(transparent)]
    Sqlite(#[from] trueup::sqlite::SqliteError),
    /// The database, PostgreSQL.
    #[error(transparent)]
    Postgres(#[from] trueup::postgres::PostgresError),
}

enum Node {
    Sqlite(Trueup<Sqlite>),
    Postgres(Trueup<Postgres>),
}

/// The classes that are shown.
pub struct Shown {
    /// Sessions, by the digest of their bearer token.
    pub sessions: Class<String, Session>,
    /// Balances for display.
    pub balances: Class<Scoped<Tenant, String>, Account>,
    /// Statuses of people.
    pub kyc: Class<Scoped<Tenant, String>, Kyc>,
    /// The fee table.
    pub fees: Class<Scoped<Tenant, (String, String)>, Fee>,
    /// Personal data.
    pub people: Class<Scoped<(Tenant, Viewer, ViewerRole), String>, Person>,
    node: Node,
}

impl Shown {
    /// Begins to follow the database, and returns once the feed has caught up, or after ten seconds without it. Puts the feed in
    /// place where it is missing: the tables are this service's own.
    ///
    /// # Errors
    /// [`CacheError`].
    pub async fn open(source: &Source, plan: &str, l2: &[String]) -> Result<Self, CacheError> {
        // Named in the plan, so that its classes take part.
        let named = serde_json::to_string(l2).map_err(|why| CacheError::Plan(why.to_string()))?;
        let text = if l2.is_empty() { plan.to_owned() } else { format!("{plan}\n[l2]\nurls = {named}\n") };
        let plan =
            Plan::parse("plan.toml", &text, &[]).map_err(|error| CacheError::Plan(error.to_string()))?;
        let l2 = plan.l2.as_ref().map(Redis::of_plan).transpose()?;
        let tables = Some(FOLLOWED.map(str::to_owned).to_vec());
        match source {
            Source::Sqlite(path) => {
                let install = trueup::sqlite::InstallOptions { tables, ..on_sqlite::install_options(&plan) };
                SqliteFeed::new(path, &install)?.apply()?;
                let source = Sqlite::open(path, SqliteOptions::default())?;
                let mut builder = Trueup::builder().source(source).plan(plan).start_unproven_after(FEED_WAIT);
                if let Some(tier) = l2 {
                    builder = builder.l2(tier);
                }
                Self::of(Node::Sqlite(builder.build().await?))
            }
            Source::Postgres(url) => {
                let source = Postgres::connect(url, PostgresOptions::default()).await?;
                let install =
                    trueup::postgres::InstallOptions { tables, ..on_postgres::install_options(&plan) };
                let feed = PostgresFeed::new(&source, &install).await?;
                if !feed.statements().is_empty() {
                    feed.apply().await?;
                    source.look_at_catalogue().await?;
                }
                let mut builder = Trueup::builder().source(source).plan(plan).start_unproven_after(FEED_WAIT);
                if let Some(tier) = l2 {
                    builder = builder.l2(tier);
                }
                Self::of(Node::Postgres(builder.build().await?))
            }
        }
    }

    fn of(node: Node) -> Result<Self, CacheError> {
        macro_rules! class {
            ($name:literal) => {
                match &node {
                    Node::Sqlite(trueup) => trueup.class($name)?,
                    Node::Postgres(trueup) => trueup.class($name)?,
                }
            };
        }
        Ok(Self {
            sessions: class!("session"),
            balances: class!("balance"),
            kyc: class!("kyc"),
            fees: class!("fee"),
            people: class!("person"),
            node,
        })
    }

    /// Tries to open a class as one that is cached.
    ///
    /// # Errors
    /// [`TrueupError`] where the class is never cached.
    pub fn cached(&self, name: &str) -> Result<Class<String, serde_json::Value>, TrueupError> {
        match &self.node {
            Node::Sqlite(trueup) => trueup.class(name),
            Node::Postgres(trueup) => trueup.class(name),
        }
    }

    /// The engine.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        match &self.node {
            Node::Sqlite(trueup) => trueup.cache(),
            Node::Postgres(trueup) => trueup.cache(),
        }
    }

    /// A token for everything that was committed before: what a writer takes along to see its write. None where the database does
    /// not say: the write holds all the same.
    pub async fn token(&self) -> Option<Token> {
        self.cache().token().await.ok()
    }

    /// Stops following.
    pub async fn shut_down(&self) {
        match &self.node {
            Node::Sqlite(trueup) => trueup.shut_down().await,
            Node::Postgres(trueup) => trueup.shut_down().await,
        }
    }
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shown").field("source", &self.cache().source()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use trueup::{Plan, Purpose};

    #[test]
    fn the_plan_says_what_is_never_cached() {
        let plan = Plan::parse("plan.toml", super::PLAN, &[]).unwrap();
        let purposes: Vec<(&str, Purpose)> =
            plan.classes.values().map(|class| (class.name().as_str(), class.purpose())).collect();
        for (name, purpose) in [
            ("session", Purpose::Session),
            ("balance", Purpose::DisplayBalance),
            ("kyc", Purpose::KycStatus),
            ("fee", Purpose::FeeTable),
            ("person", Purpose::Display),
            ("wallet", Purpose::DecisionBalance),
            ("charge", Purpose::UnfinishedPayment),
            ("giving_back", Purpose::UnfinishedPayment),
            ("code", Purpose::Otp),
        ] {
            assert!(purposes.contains(&(name, purpose)), "{name}");
            let never = ["wallet", "charge", "giving_back", "code"].contains(&name);
            let class = plan.class(name).unwrap();
            assert_eq!(class.cacheable().is_err(), never, "{name}");
        }
    }
}
