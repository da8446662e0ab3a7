//! Decisions from values alone: no I/O, no async.

mod admission;
mod hot;
mod sketch;

pub use admission::Admission;
pub use hot::{BadHotKeys, HotKeys};
pub use sketch::FrequencySketch;
