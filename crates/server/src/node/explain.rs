//! Why a key is, or is not, served from memory.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use trueup::catalog::CatalogClass;
use trueup_core::{
    class::{ClassPlan, Fallback, Settings, units::show_duration},
    entry::Raw,
    key::Key,
    proof::{Standing, Unproven},
    receipt::Receipt,
    tier::Entry,
};

use super::{FilterFacts, Node, RemoteFacts, remote};

/// What is known about one key of one class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The class.
    pub class: String,
    /// What its values are for.
    pub purpose: String,
    /// The one spelling of the key that stands for all its spellings.
    pub canonical_key: String,
    /// In one sentence: what a read would do now.
    pub verdict: String,
    /// How old an answer may be; none for classes that are never cached.
    pub max_staleness: Option<String>,
    /// Whose loads go first when the source is short, and what a reader gets when it fails; none for classes that are never
    /// cached, which are critical and have no substitute.
    #[serde(default)]
    pub in_trouble: Option<String>,
    /// What memory holds.
    pub entry: Option<EntryFacts>,
    /// What the remote tier holds; none where the class has no part of one.
    pub remote: Option<RemoteFacts>,
    /// The filter of the keys there are; none where the class has none.
    #[serde(default)]
    pub filter: Option<FilterFacts>,
    /// The node.
    pub node: NodeFacts,
}

/// What memory holds under a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EntryFacts {
    /// Whether a read would be answered from it.
    pub served: bool,
    /// The short name of the reason when it would not.
    pub reason: Option<String>,
    /// Whether the source had no such row.
    pub absent: bool,
    /// The value's version, as in `ETag`.
    pub version: String,
    /// `unsettled`, `settled` or `discarded`.
    pub standing: String,
    /// The position through which it is known to be true; settled entries only.
    pub proven_at: Option<u64>,
    /// The position that bounds what it can reflect.
    pub upper: u64,
    /// Where something it depends on last changed (or shares a bucket with what did).
    pub last_change: u64,
    /// What it depends on, hashed.
    pub tags: Vec<String>,
    /// Milliseconds since its load began.
    pub loaded_ms_ago: f64,
    /// Milliseconds its load took.
    pub load_ms: f64,
    /// Milliseconds until it is renewed or reloaded.
    pub renewed_in_ms: f64,
    /// Milliseconds until it is reloaded whatever the proof says.
    pub reloaded_in_ms: f64,
    /// Milliseconds: the answer would reflect every commit acknowledged longer ago.
    pub age_ms: Option<f64>,
}

/// What the node knows of the source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeFacts {
    /// Why answers cannot be proven at the moment.
    pub not_ready: Option<String>,
    /// Why the source is left alone at the moment: what memory has not is refused, or stands in.
    #[serde(default)]
    pub source_left_alone: Option<String>,
    /// The applied position.
    pub applied: u64,
    /// The floor: changes at or below are visible to every new load; none while loads cannot be kept.
    pub floor: Option<u64>,
    /// Milliseconds since the node last knew how far the source was.
    pub lag_ms: Option<f64>,
    /// How the change log is followed: name and value.
    #[serde(default)]
    pub following: BTreeMap<String, String>,
}

/// What is known about `key`. Asks the remote tier, and reads nothing from the source.
pub async fn explain(node: &Node, class: &CatalogClass, key: &Key) -> Explanation {
    let held = class.cached().and_then(|class| class.inspect(key));
    let absent = class.cached().and_then(|class| class.is_surely_absent(key)) == Some(true);
    let remote = match class.cached() {
        Some(class) => remote::facts(class, key).await,
        None => None,
    };
    let max_staleness = match class.plan() {
        ClassPlan::Cacheable(plan) => Some(show_duration(plan.max_staleness)),
        ClassPlan::Decision(_) => None,
    };
    Explanation {
        class: class.name().to_string(),
        purpose: class.plan().purpose().to_string(),
        canonical_key: key.as_str().to_owned(),
        verdict: verdict(class, held.as_ref().map(|held| &held.verdict), absent, remote.as_ref()),
        max_staleness,
        in_trouble: class.plan().cacheable().ok().map(|plan| in_trouble(plan)),
        entry: held.map(|held| facts(node, &held.entry, held.verdict)),
        remote,
        filter: FilterFacts::of(class),
        node: node_facts(node),
    }
}

/// What the plan says about a source that is short or fails.
pub(crate) fn in_trouble(plan: &Settings) -> String {
    let stale = plan.serve_stale.map(|span| format!("stale for {}", show_duration(span)));
    let fallback = match &plan.guards.fallback {
        Fallback::None => "an error that says when to try again".to_owned(),
        Fallback::LastKnownGood => {
            format!("the last known good value for {}", show_duration(plan.guards.fallback_age_max))
        }
        Fallback::Value(_) => "the declared value, labelled".to_owned(),
    };
    let order: Vec<String> = stale.into_iter().chain([fallback]).collect();
    format!("{} loads; if the source fails: {}", plan.guards.priority.as_str(), order.join(", then "))
}

fn verdict(
    class: &CatalogClass,
    judged: Option<&Result<Receipt, Unproven>>,
    absent: bool,
    remote: Option<&RemoteFacts>,
) -> String {
    if let Some(reason) = class.plan().purpose().never_reason() {
        return format!("read from the source each time: {reason}");
    }
    let from_remote = remote.is_some_and(|remote| remote.served);
    match judged {
        None | Some(Err(_)) if absent => "absent: by the keys there are, no such row exists".to_owned(),
        None if from_remote => {
            "taken over from the remote tier: memory holds nothing under this key".to_owned()
        }
        Some(Err(why)) if from_remote => format!("taken over from the remote tier: in memory, {why}"),
        None => "read from the source: memory holds nothing under this key".to_owned(),
        Some(Ok(receipt)) if receipt.proven => "served from memory: it is proven".to_owned(),
        Some(Ok(_)) => "served from memory: it is within the age that the class allows".to_owned(),
        Some(Err(why)) => format!("read from the source: {why}"),
    }
}

fn facts(node: &Node, entry: &Entry<Raw>, judged: Result<Receipt, Unproven>) -> EntryFacts {
    let now = node.clock().now();
    let ms = |span: std::time::Duration| span.as_secs_f64() * 1_000.0;
    let proof = entry.proof();
    let (standing, proven_at) = match proof.standing() {
        Standing::Unsettled => ("unsettled", None),
        Standing::Settled(at) => ("settled", Some(at.0)),
        Standing::Discarded => ("discarded", None),
    };
    EntryFacts {
        served: judged.is_ok(),
        reason: judged.err().map(|why| why.as_str().to_owned()),
        absent: entry.value().is_none(),
        version: format!("{:016x}", entry.version()),
        standing: standing.to_owned(),
        proven_at,
        upper: proof.upper().0,
        last_change: node.catalog().cache().last_change(proof.tags()).0,
        tags: proof.tags().iter().map(ToString::to_string).collect(),
        loaded_ms_ago: ms(now.since(entry.loaded())),
        load_ms: ms(entry.load_time()),
        renewed_in_ms: ms(entry.expires().since(now)),
        reloaded_in_ms: ms(entry.hard_expires().since(now)),
        age_ms: judged.ok().map(|receipt| ms(receipt.age)),
    }
}

fn node_facts(node: &Node) -> NodeFacts {
    let cache = node.catalog().cache();
    let status = cache.status();
    NodeFacts {
        not_ready: node.not_ready(),
        source_left_alone: cache.source_guard().status().left_alone,
        applied: status.applied.0,
        floor: status.floor.map(|floor| floor.0),
        lag_ms: cache.lag().map(|lag| lag.as_secs_f64() * 1_000.0),
        following: cache.following().into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
    }
}
