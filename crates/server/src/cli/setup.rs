//! What several commands need: the plan, the database, the classes.

use std::{
    io::IsTerminal as _,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::ValueHint;
use trueup::{
    catalog::{Catalog, CatalogBuilder},
    plan::{Override, Plan, SecretFile, Skipped, SourceSettings},
};
use trueup_core::cache::CacheBuilder;

use super::{Failure, database::Database, remote};
use crate::node::Node;

/// Read where no other file is named.
const CONFIG_DEFAULT: &str = "trueup.toml";
/// How long the feed is waited for where nothing can be shown before it has caught up.
const READY_PATIENCE: Duration = Duration::from_secs(30);

/// Where the configuration and the database are.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct SourceArgs {
    /// The database: sqlite:PATH or postgres://USER@HOST:PORT/DATABASE
    #[arg(long, value_name = "URL")]
    pub(super) source: Option<String>,
    /// The remote tier: redis://HOST:PORT, or nodes of a cluster, redis-cluster://HOST:PORT,HOST:PORT (rediss with TLS)
    #[arg(long, value_name = "URL")]
    pub(super) l2: Option<String>,
    /// The configuration; `trueup.toml` of this folder where there is one
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) config: Option<PathBuf>,
}

impl SourceArgs {
    /// The plan: defaults, file, environment, flags, later ones winning.
    pub(super) fn plan(&self, flags: Vec<Override>) -> Result<Plan, Failure> {
        let variables = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()));
        let mut overrides = Override::environment(variables);
        overrides
            .extend(self.source.as_deref().map(|url| Override::flag("--source", &["source", "url"], url)));
        overrides.extend(self.l2.as_deref().map(|url| Override::flag("--l2", &["l2", "urls"], url)));
        overrides.extend(flags);
        let here = Path::new(CONFIG_DEFAULT);
        let file = self.config.as_deref().or_else(|| here.exists().then_some(here));
        Ok(Plan::load(file, &overrides)?)
    }
}

/// The token that clients present.
pub(super) fn token(file: &SecretFile) -> Result<String, Failure> {
    file.read().map_err(|error| {
        let fix = match error.kind() {
            std::io::ErrorKind::InvalidData => "write the token into it as text",
            _ => "check the path and its permissions",
        };
        Failure::Usage(format!("the token file {}: {error}; {fix}", file.0.display()))
    })
}

/// The database that the plan names.
pub(super) fn database(plan: &Plan) -> Result<&SourceSettings, Failure> {
    plan.source.as_ref().ok_or_else(|| {
        Failure::Usage(
            "no database is named: write `--source sqlite:PATH` or `--source postgres://...`, or `[source]` in \
             trueup.toml"
                .to_owned(),
        )
    })
}

/// Whether this process takes part in writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writes {
    /// It opens the plan's journal, and brings to the database what that holds.
    Accepted,
    /// It looks at what others serve, and leaves the journal to them.
    Elsewhere,
}

/// A cache in front of the database, with the plan's classes. Call on a runtime.
/// Whoever asks for one of the tables in `left_out` is told why it has no class.
pub(super) async fn catalog(
    plan: &Plan,
    left_out: Vec<Skipped>,
    database: &Database,
    writes: Writes,
) -> Result<Catalog, Failure> {
    let cache = CacheBuilder::new(database.source())
        .buckets(plan.memory.buckets)
        .filter_bytes_max(plan.memory.bloom_max)
        .recent_changes_max(plan.memory.recent_max)
        .load_limits(plan.source.as_ref().map(|source| source.load_limits).unwrap_or_default())
        .online_checks(true);
    let cache = match writes {
        Writes::Elsewhere => cache.written_elsewhere(),
        Writes::Accepted => {
            let cache = match plan.state_dir() {
                Some(folder) => cache.filter_files(folder, plan.filters()),
                None => cache,
            };
            match database.write_behind(plan).await? {
                Some(journal) => cache.write_behind(journal),
                None => cache,
            }
        }
    };
    let cache = remote::join(cache, plan, database.sealing_keys().await?)?.start();
    let builder = CatalogBuilder::new(cache).left_out(left_out);
    Ok(database.add_classes(builder, plan).await?.build())
}

/// Waits until answers can be proven.
pub(super) async fn until_ready(node: &Node) -> Result<(), Failure> {
    if tokio::time::timeout(READY_PATIENCE, node.catalog().cache().ready()).await.is_ok() {
        return Ok(());
    }
    let reason = node.not_ready().unwrap_or_default();
    Err(Failure::Unreachable(format!("after {} s: {reason}", READY_PATIENCE.as_secs())))
}

/// The runtime that everything runs on, with a thread for each processor unless `workers` says otherwise.
pub(super) fn runtime(workers: Option<NonZeroUsize>) -> Result<tokio::runtime::Runtime, Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(workers) = workers {
        builder.worker_threads(workers.get());
    }
    builder.enable_all().build().map_err(|error| Failure::system("cannot start threads", &error))
}

/// Logs go to standard error, by `TRUEUP_LOG` (such as `debug`), else from `info` on.
pub(super) fn start_logs(default: &str) {
    use tracing_subscriber::EnvFilter;
    // The replication library tells of every status update that it sends.
    let default = format!("{default},pg_walstream=warn");
    let filter = EnvFilter::try_from_env("TRUEUP_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    // Fails only where a test of this process has set a subscriber already.
    let colours = std::io::stderr().is_terminal();
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours);
    let _ = logs.with_writer(std::io::stderr).try_init();
}
