//! Counters: what each class has done.

mod class;
mod histogram;
mod stripes;

pub use class::{CheckVerdict, ClassCounts, ClassStats};
pub use histogram::{EVICTION_AGE_BOUNDS_MS, Histogram, HistogramCounts, LOAD_BOUNDS_US, READ_BOUNDS_NS};
pub(crate) use stripes::{Stripes, tick};
