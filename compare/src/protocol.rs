//! What the harness asks of a driver, and what it answers: one JSON object a line, over standard input and output.
//!
//! A driver is a process that holds one node of one rival. The loops that are measured are the driver's own: a pipe would
//! be slower than what is measured.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A line to a driver.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Command {
    /// Connects. Comes first, once.
    Open(Open),
    /// Reads each key from 1 to `keys` once, in order, until `limit_ms` have passed.
    Each { keys: u64, tasks: usize, limit_ms: u64 },
    /// Reads each key from 1 to `keys` once, unmeasured; then reads keys by the sequence for `run_ms`.
    Hot { sequence: PathBuf, keys: u64, tasks: usize, run_ms: u64 },
    /// So many readers at once of one key.
    Crowd { key: i64, readers: usize },
    /// Readers and writers on a schedule; every read and every write goes into `file`.
    Watch(Watch),
    /// What this process holds on disk is to be opened by another.
    HandOver,
}

/// Where everything is, and what holds for every rival.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Open {
    /// The database.
    pub(crate) postgres: String,
    /// The remote tier.
    pub(crate) redis: String,
    /// For what a rival keeps on disk; of this node alone, but for [`Command::HandOver`].
    pub(crate) folder: PathBuf,
    /// The life of an entry, in every tier.
    pub(crate) life_s: u64,
    /// How old an answer may be, for rivals that can be told.
    pub(crate) bound_ms: u64,
    /// Entries that memory must have room for.
    pub(crate) entries: u64,
    /// Connections to the database.
    pub(crate) connections: usize,
}

/// Readers and writers on a schedule.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Watch {
    /// Keys, as 32-bit little-endian numbers.
    pub(crate) sequence: PathBuf,
    /// Where in the sequence this node begins.
    pub(crate) offset: usize,
    pub(crate) readers: usize,
    /// All readers together.
    pub(crate) reads_per_s: u64,
    pub(crate) writers: usize,
    /// All writers together; a burst is [`Watch::burst`] writes of one row, one after the other.
    pub(crate) bursts_per_s: u64,
    pub(crate) burst: usize,
    pub(crate) run_ms: u64,
    /// `R key version start end`, `W key version acknowledged`, `F start` (a read that failed), `L key` (an invalidation
    /// that failed), a line each.
    pub(crate) file: PathBuf,
}

/// A line from a driver. What a command does not measure is zero.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Answer {
    pub(crate) reads: u64,
    pub(crate) failed: u64,
    /// How long all reads together took.
    pub(crate) nanos: u64,
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    /// Why the command could not be carried out.
    pub(crate) error: Option<String>,
    /// The first reason for which a read failed.
    pub(crate) why: Option<String>,
}
