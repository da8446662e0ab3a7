//! The database of record, whichever kind it is, as commands use it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use indicatif::ProgressBar;
use trueup::{
    catalog::{CatalogBuilder, CatalogError, postgres, sqlite},
    plan::{Plan, Skipped, SourceSettings, SourceUrl},
    postgres::{
        self as pg, FeedOptions, Postgres, PostgresError, PostgresOptions, Severity,
        fleet::{Fleet, FleetOptions, FleetToken},
    },
    sqlite::{FeedPlan, RemovePlan, Sqlite, SqliteError, SqliteOptions, discover_file},
};
use trueup_core::{behind::WriteBehind, entry::KeyRing, env::Clock, key::KeyForm, source::Source};

use super::{
    Failure,
    init::{Installation, Removal},
    setup,
};

/// How long a database that cannot be reached is asked again at the start.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// Pause between two attempts.
const START_RETRY: Duration = Duration::from_millis(500);

/// A database of record.
#[derive(Clone, Debug)]
pub(super) enum Database {
    /// A file.
    Sqlite(Sqlite),
    /// A server.
    Postgres(Postgres),
}

/// A table that the feed follows.
pub(super) struct Followed {
    pub(super) name: String,
    /// Why not everything of it is told.
    pub(super) outdated: Option<String>,
}

impl Database {
    /// Opens what the plan names, with the feed installed where that is allowed. One that cannot be reached is asked again
    /// for a while.
    pub(super) async fn open(plan: &Plan) -> Result<Self, Failure> {
        let source = setup::database(plan)?;
        let clock = Clock::system();
        let started = clock.now();
        let progress = ProgressBar::new_spinner();
        loop {
            let error = match open_once(plan, source).await {
                Ok(database) => return Ok(database),
                Err(error) if error.may_pass() && clock.now().since(started) < START_PATIENCE => error,
                Err(error) => return Err(error.into()),
            };
            let waited_s = clock.now().since(started).as_secs();
            if progress.is_hidden() {
                tracing::warn!(%error, waited_s, "the database cannot be opened yet, trying again");
            } else {
                let patience_s = START_PATIENCE.as_secs();
                progress.set_message(format!("{error}; trying again ({waited_s} s of {patience_s} s)"));
                progress.tick();
            }
            tokio::time::sleep(START_RETRY).await;
        }
    }

    /// Opens what the plan names, without looking for a feed.
    pub(super) async fn look_at(plan: &Plan) -> Result<Self, Failure> {
        let source = setup::database(plan)?;
        match &source.url {
            SourceUrl::Sqlite(path) => Ok(Self::Sqlite(Sqlite::open(path, SqliteOptions::default())?)),
            SourceUrl::Postgres(url) => {
                Ok(Self::Postgres(Postgres::connect(url, postgres_options(plan, source)?).await?))
            }
        }
    }

    /// As the engine's source.
    pub(super) fn source(&self) -> Arc<dyn Source> {
        match self {
            Self::Sqlite(sqlite) => Arc::new(sqlite.clone()),
            Self::Postgres(postgres) => Arc::new(postgres.clone()),
        }
    }

    /// Adds to `plan` what the schema offers; what is left out comes back. A plan that declares classes is complete.
    pub(super) async fn complete(&self, plan: &mut Plan) -> Result<Vec<Skipped>, Failure> {
        if !plan.classes.is_empty() {
            return Ok(Vec::new());
        }
        match self {
            Self::Sqlite(sqlite) => {
                let followed = sqlite.followed_tables()?;
                Ok(sqlite::discover_classes(plan, &discover_file(sqlite.path())?, Some(&followed)))
            }
            Self::Postgres(postgres) => {
                let (tables, followed) = (pg::discover(postgres).await?, postgres.followed_tables());
                Ok(postgres::discover_classes(plan, &tables, Some(&followed)))
            }
        }
    }

    /// Adds every class of `plan` to a catalogue.
    pub(super) async fn add_classes(
        &self,
        builder: CatalogBuilder,
        plan: &Plan,
    ) -> Result<CatalogBuilder, CatalogError> {
        match self {
            Self::Sqlite(sqlite) => sqlite::add_classes(builder, sqlite, plan),
            Self::Postgres(postgres) => postgres::add_classes(builder, postgres, plan).await,
        }
    }

    /// The normal form of the keys of each class, by its name.
    pub(super) async fn key_forms(&self, plan: &Plan) -> Result<BTreeMap<String, KeyForm>, Failure> {
        let mut forms = BTreeMap::new();
        match self {
            Self::Sqlite(sqlite) => {
                let tables = discover_file(sqlite.path())?;
                for class in plan.classes.values() {
                    forms.insert(class.name().to_string(), sqlite::open(sqlite, &tables, class)?.form);
                }
            }
            Self::Postgres(postgres) => {
                let tables = pg::discover(postgres).await?;
                for class in plan.classes.values() {
                    let opened = postgres::open(postgres, &tables, class).await?;
                    forms.insert(class.name().to_string(), opened.form);
                }
            }
        }
        Ok(forms)
    }

    /// The journal that the plan names, with what it held brought to the database.
    pub(super) async fn write_behind(&self, plan: &Plan) -> Result<Option<WriteBehind>, CatalogError> {
        match self {
            Self::Sqlite(sqlite) => sqlite::write_behind(sqlite, plan).await,
            Self::Postgres(postgres) => postgres::write_behind(postgres, plan).await,
        }
    }

    /// Tables that the feed follows.
    pub(super) fn followed(&self) -> Result<Vec<Followed>, Failure> {
        Ok(match self {
            Self::Sqlite(sqlite) => {
                let tables = sqlite.followed_tables()?.into_iter();
                tables.map(|table| Followed { name: table.name, outdated: table.outdated }).collect()
            }
            Self::Postgres(postgres) => {
                let tables = postgres.followed_tables().into_iter();
                tables.map(|table| Followed { name: table.name, outdated: table.outdated }).collect()
            }
        })
    }

    /// How the feed tells of changes, for people.
    pub(super) const fn feed(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "triggers",
            Self::Postgres(_) => "logical replication",
        }
    }

    /// What stands in the way of following, or may one day: subject, and problem with its fix. The first list would leave
    /// changes unseen.
    pub(super) async fn preflight(&self) -> Result<(Vec<Finding>, Vec<Finding>), Failure> {
        match self {
            // Whatever would be wrong has been an error when the file was opened.
            Self::Sqlite(_) => Ok((Vec::new(), Vec::new())),
            Self::Postgres(postgres) => {
                let findings = postgres.preflight(&[]).await?;
                let (problems, warnings): (Vec<_>, Vec<_>) =
                    findings.into_iter().partition(|finding| finding.severity == Severity::Problem);
                let of = |all: Vec<pg::Finding>| {
                    all.into_iter()
                        .map(|one| (one.subject, format!("{}; {}", one.problem, one.fix)))
                        .collect()
                };
                Ok((of(problems), of(warnings)))
            }
        }
    }

    /// The keys with which nodes seal what they share, where the database brings them.
    pub(super) async fn sealing_keys(&self) -> Result<Option<KeyRing>, Failure> {
        match self {
            Self::Sqlite(_) => Ok(None),
            Self::Postgres(postgres) => Ok(postgres.sealing_keys().await?),
        }
    }

    /// What this node shares with the others of its fleet.
    pub(super) fn fleet(&self) -> Option<Fleet> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(postgres) => postgres.fleet(),
        }
    }
}

/// Subject, and problem with its fix.
pub(super) type Finding = (String, String);

/// What installing the feed would do.
pub(super) async fn installation(plan: &mut Plan) -> Result<Installation, Failure> {
    let source = setup::database(plan)?.clone();
    match &source.url {
        SourceUrl::Sqlite(path) => {
            let feed = FeedPlan::new(path, &sqlite::install_options(plan))?;
            let skipped = if plan.classes.is_empty() {
                sqlite::discover_classes(plan, &discover_file(path)?, None)
            } else {
                Vec::new()
            };
            Ok(Installation { feed: Feed::Sqlite(feed), skipped })
        }
        SourceUrl::Postgres(url) => {
            let postgres = Postgres::connect(url, postgres_options(plan, &source)?).await?;
            let feed = pg::FeedPlan::new(&postgres, &postgres::install_options(plan)).await?;
            let skipped = if plan.classes.is_empty() {
                postgres::discover_classes(plan, &pg::discover(&postgres).await?, None)
            } else {
                Vec::new()
            };
            Ok(Installation { feed: Feed::Postgres(feed), skipped })
        }
    }
}

/// Takes out whatever was installed.
pub(super) async fn remove(plan: &Plan) -> Result<Removal, Failure> {
    let source = setup::database(plan)?;
    match &source.url {
        SourceUrl::Sqlite(path) => {
            let removal = RemovePlan::new(path)?;
            let warnings = removal.apply()?.into_iter().collect();
            Ok(Removal { statements: removal.statements().to_vec(), warnings })
        }
        SourceUrl::Postgres(url) => {
            let postgres = Postgres::connect(url, postgres_options(plan, source)?).await?;
            let removal = pg::RemovePlan::new(&postgres).await?;
            removal.apply().await?;
            let warnings = removal.warnings().to_vec();
            Ok(Removal { statements: removal.statements().to_vec(), warnings })
        }
    }
}

/// What installing a feed would do, of either kind.
pub(super) enum Feed {
    Sqlite(FeedPlan),
    Postgres(pg::FeedPlan),
}

impl Feed {
    pub(super) fn statements(&self) -> Vec<String> {
        match self {
            Self::Sqlite(feed) => feed.statements().to_vec(),
            Self::Postgres(feed) => feed.statements().iter().chain(feed.grants()).cloned().collect(),
        }
    }

    pub(super) fn warnings(&self) -> &[String] {
        match self {
            Self::Sqlite(feed) => feed.warnings(),
            Self::Postgres(feed) => feed.warnings(),
        }
    }

    pub(super) fn refused(&self) -> &[(String, String)] {
        match self {
            Self::Sqlite(feed) => feed.refused(),
            Self::Postgres(feed) => feed.refused(),
        }
    }

    fn tables(&self) -> &[String] {
        match self {
            Self::Sqlite(feed) => feed.tables(),
            Self::Postgres(feed) => feed.tables(),
        }
    }

    pub(super) async fn apply(&self) -> Result<(), OpenError> {
        match self {
            Self::Sqlite(feed) => Ok(feed.apply().map(drop)?),
            Self::Postgres(feed) => Ok(feed.apply().await?),
        }
    }

    /// Installs what is missing, where the configuration asks for it.
    async fn put_in_place(&self) -> Result<(), OpenError> {
        if !self.statements().is_empty() {
            self.apply().await?;
            tracing::info!(tables = self.tables().len(), "the feed is installed");
        }
        for warning in self.warnings() {
            tracing::warn!("{warning}");
        }
        Ok(())
    }
}

/// A database could not be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error(transparent)]
    Sqlite(#[from] SqliteError),
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    #[error("{0}")]
    Refused(Failure),
}

impl OpenError {
    /// Whether it is worth trying again.
    const fn may_pass(&self) -> bool {
        match self {
            Self::Sqlite(error) => matches!(error, SqliteError::Locked { .. }),
            Self::Postgres(error) => {
                matches!(error, PostgresError::Unreachable { .. } | PostgresError::TimedOut { .. })
            }
            Self::Refused(_) => false,
        }
    }
}

impl From<Failure> for OpenError {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure)
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Sqlite(error) => error.into(),
            OpenError::Postgres(error) => error.into(),
            OpenError::Refused(failure) => failure,
        }
    }
}

async fn open_once(plan: &Plan, source: &SourceSettings) -> Result<Database, OpenError> {
    match &source.url {
        SourceUrl::Sqlite(path) => {
            if source.install_feed {
                Feed::Sqlite(FeedPlan::new(path, &sqlite::install_options(plan))?).put_in_place().await?;
            }
            let options = SqliteOptions { write_lock_wait: source.busy_timeout, ..SqliteOptions::default() };
            Ok(Database::Sqlite(Sqlite::open(path, options)?))
        }
        SourceUrl::Postgres(url) => {
            let postgres = Postgres::connect(url, postgres_options(plan, source)?).await?;
            if source.install_feed {
                let feed = pg::FeedPlan::new(&postgres, &postgres::install_options(plan)).await?;
                Feed::Postgres(feed).put_in_place().await?;
            }
            check_followed(&postgres).await?;
            Ok(Database::Postgres(postgres))
        }
    }
}

/// What would leave changes unseen is refused before anything is served.
async fn check_followed(postgres: &Postgres) -> Result<(), OpenError> {
    let findings = postgres.preflight(&[]).await?;
    let (problems, warnings): (Vec<_>, Vec<_>) =
        findings.into_iter().partition(|finding| finding.severity == Severity::Problem);
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    if problems.is_empty() {
        return Ok(());
    }
    let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Err(Failure::Usage(format!("this database cannot be followed yet:\n  {}", all.join("\n  "))).into())
}

fn postgres_options(plan: &Plan, source: &SourceSettings) -> Result<PostgresOptions, Failure> {
    let bounds = plan.classes.values().filter_map(|class| Some(class.cacheable().ok()?.max_staleness));
    let feed =
        bounds.min().map_or_else(FeedOptions::default, |bound| FeedOptions::default().for_bound(bound));
    let token = plan.server.password_file.as_ref().map(setup::token).transpose()?;
    let fleet = plan.fleet.as_ref().map(|fleet| FleetOptions {
        slot: fleet.slot.clone(),
        advertise: Some(fleet.advertise.clone()),
        state_dir: fleet.state_dir.clone(),
        save_every: fleet.save_every,
        token: token.as_deref().map(FleetToken::new),
        ..FleetOptions::default()
    });
    Ok(PostgresOptions {
        password_file: source.password_file.as_ref().map(|file| file.0.clone()),
        readers_max: source.pool_max,
        replicas: source.replicas.clone(),
        feed: FeedOptions { fleet, ..feed },
        ..PostgresOptions::default()
    })
}
