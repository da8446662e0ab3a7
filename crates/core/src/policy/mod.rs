//! Decisions from values alone: no I/O, no async.

mod admission;
mod distinct;
mod hot;
mod recorded;
mod sketch;
mod space_saving;

pub use admission::Admission;
pub use distinct::Distinct;
pub use hot::{BadHotKeys, HotKeys};
pub use recorded::{BadRecord, RecordedClass, RecordedKey, RecordedKeys};
pub use sketch::FrequencySketch;
pub use space_saving::{Counted, SpaceSaving};
