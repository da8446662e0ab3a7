//! The engine of Trueup: a read-through cache whose entries carry the proof that they are still true.
//!
//! This crate is pure of outside systems: it names no database, no socket and no HTTP type. Adapters (SQLite,
//! PostgreSQL, Redis) live in the `trueup` crate and speak to the traits of [`source`] and [`tier`].
//!
//! Rooms, in order of what may import what: [`limits`], [`mod@env`] < [`key`], [`entry`], [`class`] < [`proof`], [`policy`] < [`tier`] <
//! [`apply`], [`receipt`] < [`source`] < [`error`], [`guard`], `fill` < [`stats`], [`mod@write`] < [`read`] < [`cache`].
#![warn(missing_docs)]

pub mod apply;
pub mod cache;
mod change;
pub mod class;
pub mod entry;
pub mod env;
pub mod error;
mod fill;
pub mod guard;
pub mod key;
pub mod limits;
pub mod policy;
pub mod proof;
pub mod read;
pub mod receipt;
mod shed;
pub mod source;
pub mod stats;
pub mod tier;
pub mod write;

/// Write-behind: the journal, and where accepted writes go.
pub mod behind {
    pub use crate::fill::{
        Applied, ApplyError, BadSegment, Batch, BehindConfig, BehindCounts, BehindError, Change,
        FLUSH_EVERY_DEFAULT, FRAME_BYTES_MAX, Frame, JOURNAL_BYTES_MAX_DEFAULT, JournalError, JournalId,
        Record, SegmentHeader, Sink, WriteBehind, decode_frame, decode_header, encode_frame, encode_header,
        has_frame_after,
    };
}

pub use fill::{
    BadLease, Delays, FILTER_BYTES_MAX_DEFAULT, FilterStart, FilterState, FilterStatus, LEASES_MAX, LeaseId,
    REMOTE_BOUNDS_US, RemoteCounts,
};
