//! The choices a plan is made of, one type per decision.

use std::{fmt, num::NonZeroU32, str::FromStr, time::Duration};

use compact_str::CompactString;

use super::looks_secret;

/// Most loads of one class that are in flight at once on a node, unless the class says otherwise.
pub const LOADS_MAX_DEFAULT: NonZeroU32 = NonZeroU32::new(64).expect("64 is not zero");
/// Share of proven answers that the online checker compares with the source, unless the class says otherwise.
pub const CHECK_SHARE_DEFAULT: f64 = 0.001;

/// How long after an update the last deletion of delete-update-delete comes, unless the class says otherwise.
pub const SECOND_DELETE_AFTER_DEFAULT: Duration = Duration::from_millis(500);

/// Where values come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// One row of a table by its key, as a JSON object.
    Table(CompactString),
    /// A query with named parameters (`:id`), each a key part or a scope dimension.
    Query(String),
    /// A loader written in Rust and handed to the engine.
    Loader,
    /// A source Trueup cannot load: clients fill under a lease.
    External,
}

/// How many rows a query's answer has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rows {
    /// One at most: the value is an object, absent without a row.
    #[default]
    One,
    /// Any number: the value is a list, empty without a row.
    Many,
}

impl Rows {
    /// The choice as `trueup.toml` spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Many => "many",
        }
    }
}

/// Who loads and who writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pattern {
    /// The cache loads; writers write the source and know nothing of the cache.
    #[default]
    ReadThrough,
    /// The client loads and fills under a lease; values are age-bounded and never called proven.
    CacheAside,
    /// Read-through, and a write through Trueup puts the committed row into the cache.
    WriteThrough,
    /// The cache acknowledges first and writes later. Never proven, gives no token.
    WriteBehind {
        /// What the owner accepts to lose, in the owner's words.
        loss: String,
    },
    /// Whoever writes deletes the entry before and after, and once more later. For comparison: it loses where the proof does not.
    DeleteUpdateDelete {
        /// How long after the update the last deletion comes.
        pause: Duration,
    },
}

impl Pattern {
    /// The pattern as `trueup.toml` spells it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::ReadThrough => "read-through",
            Self::CacheAside => "cache-aside",
            Self::WriteThrough => "write-through",
            Self::WriteBehind { .. } => "write-behind",
            Self::DeleteUpdateDelete { .. } => "delete-update-delete",
        }
    }
}

/// What ends an entry when its source changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalidation {
    /// The database's own change feed, through the tags that the entry carries.
    Feed(Tags),
    /// Nothing but its age: somebody must answer for that.
    AgeBounded {
        /// Who answers for values that are wrong until their life ends.
        owner: String,
        /// Why no feed can be followed.
        reason: String,
    },
}

/// What entries of the class depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tags {
    /// The row itself; for a class that is a table read by primary key.
    Row,
    /// Any row of each table the query reads; safe for every query.
    Any,
    /// Declared groups of rows, narrower than the tables.
    Groups(Vec<Group>),
}

/// Rows of a table that share the values of some columns, such as `products:category`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The table.
    pub table: CompactString,
    /// Columns of the changed row, each also a key part of the class.
    pub columns: Vec<CompactString>,
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.table, self.columns.join(","))
    }
}

impl FromStr for Group {
    type Err = String;

    /// Reads `table:column` or `table:column,column`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is no group of rows; write \"table:column\", such as \"products:category\"");
        let (table, columns) = text.split_once(':').ok_or_else(wrong)?;
        let columns: Vec<CompactString> = columns.split(',').map(|c| c.trim().into()).collect();
        if table.trim().is_empty() || columns.iter().any(|c: &CompactString| c.is_empty()) {
            return Err(wrong());
        }
        Ok(Self { table: table.trim().into(), columns })
    }
}

/// How entries are kept from being loaded by everybody at once. One load per key and node always holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Stampede {
    /// What happens as an entry nears its end.
    pub strategy: Strategy,
    /// Who takes part in "one load of a key".
    pub scope: StampedeScope,
    /// Most loads of the class in flight at once on a node.
    pub loads_max: NonZeroU32,
}

impl Default for Stampede {
    fn default() -> Self {
        Self { strategy: Strategy::Wait, scope: StampedeScope::Node, loads_max: LOADS_MAX_DEFAULT }
    }
}

/// Among whom a key is loaded once at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StampedeScope {
    /// The readers of one node. Costs nothing.
    #[default]
    Node,
    /// All nodes that share the remote tier: who is about to load asks for a lock there, and the others wait for what it
    /// shares. Costs a round trip for each load, and pays where loads are slow and nodes are many. Without a remote tier, and
    /// whenever the tier gives no answer, it is as [`Node`](Self::Node).
    Fleet,
}

impl StampedeScope {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Node, Self::Fleet];

    /// The choice as `trueup.toml` spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Fleet => "fleet",
        }
    }
}

/// What happens as an entry nears the end of its life.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Strategy {
    /// The first reader after the end loads, the others wait for it.
    #[default]
    Wait,
    /// A reader may refresh before the end, the likelier the nearer it is and the slower the load (XFetch).
    Early {
        /// Weight: 1 is the published optimum, more refreshes earlier.
        beta: f64,
    },
    /// Entries in use are refreshed in the background that long before their end.
    Background {
        /// How long before the end.
        ahead: Duration,
    },
}

/// What is kept out of every tier although it belongs to the class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NeverCache {
    /// Columns left out of the value.
    pub columns: Vec<CompactString>,
    /// Names that look like secrets and are served all the same, by decision of the owner.
    pub allowed: Vec<CompactString>,
}

impl NeverCache {
    /// Why `column` is left out of the value; `None` if it is part of it. Letter case has no meaning.
    #[must_use]
    pub fn excludes(&self, column: &str) -> Option<&'static str> {
        let names = |list: &[CompactString]| list.iter().any(|name| name.eq_ignore_ascii_case(column));
        if names(&self.columns) {
            Some("listed in never_columns")
        } else if names(&self.allowed) {
            None
        } else {
            looks_secret(column)
        }
    }
}

/// What goes first when a tier is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Eviction {
    /// Small queue, main queue, ghost: resists scans.
    #[default]
    S3Fifo,
    /// Least recently used.
    Lru,
    /// Least frequently used.
    Lfu,
    /// Oldest first.
    Fifo,
    /// One queue and a hand that spares what was visited.
    Sieve,
}

impl Eviction {
    /// All policies.
    pub const ALL: [Self; 5] = [Self::S3Fifo, Self::Lru, Self::Lfu, Self::Fifo, Self::Sieve];

    /// The policy as `trueup.toml` spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::S3Fifo => "s3-fifo",
            Self::Lru => "lru",
            Self::Lfu => "lfu",
            Self::Fifo => "fifo",
            Self::Sieve => "sieve",
        }
    }
}

/// What a node does before it has entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColdStart {
    /// Serve at once; the limit of loads in flight protects the source.
    #[default]
    Empty,
    /// Load the recorded hot keys before the node is ready.
    Warm {
        /// Most keys loaded.
        keys_max: NonZeroU32,
    },
}

/// How one knows that the class works. Reads, misses and loads are always counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measurement {
    /// Share of proven answers compared with the source by the online checker, 0 to 1.
    pub check_share: f64,
    /// Hit rate, 0 to 1, below which loads that are not critical are limited and `check --http` reports a finding.
    pub hit_rate_floor: Option<f64>,
}

impl Default for Measurement {
    fn default() -> Self {
        Self { check_share: CHECK_SHARE_DEFAULT, hit_rate_floor: None }
    }
}

/// Entries in this process's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct L1Plan {
    /// Most bytes of keys, values and bookkeeping.
    pub capacity_bytes: usize,
    /// What goes first when they are used up.
    pub eviction: Eviction,
    /// Longest stay of an entry without renewal.
    pub life: Duration,
}

/// Entries in the remote tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct L2Plan {
    /// Longest stay of an entry.
    pub life: Duration,
    /// Who can read it there.
    pub at_rest: AtRest,
}

/// How entries lie in the remote tier. Nobody without the secret can change one unnoticed, either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AtRest {
    /// Whoever may read the remote tier can read the values.
    #[default]
    Sealed,
    /// Only nodes that hold the secret can.
    Encrypted,
}

impl AtRest {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Sealed, Self::Encrypted];

    /// The choice as `trueup.toml` spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sealed => "sealed",
            Self::Encrypted => "encrypted",
        }
    }
}
