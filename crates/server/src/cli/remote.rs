//! The remote tier that a plan names.

use std::time::Duration;

use trueup::{
    plan::Plan,
    redis::{Redis, RedisError, ServerFacts},
};
use trueup_core::{
    cache::{Cache, CacheBuilder},
    entry::KeyRing,
    env::{self, Clock},
};

use super::Failure;

/// How long a command that shows what the tier holds waits for it, in steps of [`STEP`].
const STEPS_MAX: u32 = 100;
const STEP: Duration = Duration::from_millis(10);
/// Bytes of a MiB.
const MIB: f64 = 1_048_576.0;

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        Self::Usage(error.to_string())
    }
}

/// Gives the cache the remote tier that the plan names, if it names one. Call on a runtime. A tier that can't be reached is
/// told in the log, and tried again by itself. `shared` is the secret that nodes get from their database, where they do.
pub(super) fn join(
    cache: CacheBuilder,
    plan: &Plan,
    shared: Option<KeyRing>,
) -> Result<CacheBuilder, Failure> {
    let Some(settings) = &plan.l2 else { return Ok(cache) };
    let redis = Redis::of_plan(settings)?;
    let keys = redis.keys(shared)?;
    let tier = redis.start(Clock::system())?;
    let greeted = tier.clone();
    // Ends by itself, within the time that one attempt to connect may take.
    let _ = env::spawn("remote tier greeting", async move {
        match greeted.connected().await {
            Ok(()) => tracing::info!(tier = greeted.address(), "the remote tier is of use"),
            Err(error) => {
                tracing::warn!(%error, "the remote tier is not of use yet; it is tried again by itself")
            }
        }
    });
    Ok(cache.remote(tier, keys))
}

/// Waits until a server of the remote tier is of use, for a moment.
pub(super) async fn until_of_use(cache: &Cache) {
    for _ in 0..STEPS_MAX {
        let servers = cache.remote_servers();
        if servers.iter().any(|server| server.left_alone.is_none()) {
            return;
        }
        tokio::time::sleep(STEP).await;
    }
}

/// What the servers of the plan's remote tier say of themselves; empty without one.
pub(super) async fn inspect(plan: &Plan) -> Result<Vec<ServerFacts>, Failure> {
    let Some(settings) = &plan.l2 else { return Ok(Vec::new()) };
    let tier = Redis::of_plan(settings)?.start(Clock::system())?;
    if let Err(error) = tier.connected().await {
        let endpoint = tier.address().to_owned();
        return Ok(vec![ServerFacts {
            endpoint,
            unreachable: Some(error.to_string()),
            ..ServerFacts::default()
        }]);
    }
    Ok(tier.inspect().await)
}

/// What one server says of itself, on one line.
pub(super) fn summary(facts: &ServerFacts) -> String {
    let bytes = |bytes: u64| format!("{:.1} MiB", bytes as f64 / MIB);
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
    let memory = match (facts.used_bytes, facts.max_bytes) {
        (Some(used), Some(most @ 1..)) => {
            format!("{} of {} used ({:.0} %)", bytes(used), bytes(most), used as f64 / most as f64 * 100.0)
        }
        (Some(used), _) => format!("{} used, no maxmemory", bytes(used)),
        _ => "memory unknown".to_owned(),
    };
    let disk = match (facts.append_only, facts.snapshots.as_deref()) {
        (Some(true), _) => "appendonly yes".to_owned(),
        (_, Some("")) => "nothing on disk".to_owned(),
        (_, Some(save)) => format!("snapshots (save {save:?})"),
        _ => "persistence unknown".to_owned(),
    };
    format!("{}, {memory}, maxmemory-policy {}, {disk}", text(&facts.version), text(&facts.policy))
}
