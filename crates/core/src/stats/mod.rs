//! Counters: what each class has done.

mod class;
mod histogram;
mod stampede;
mod stripes;
mod warming;

pub use class::{CheckVerdict, ClassCounts, ClassStats};
pub use histogram::{EVICTION_AGE_BOUNDS_MS, Histogram, HistogramCounts, LOAD_BOUNDS_US, READ_BOUNDS_NS};
pub use stampede::StampedeCounts;
pub(crate) use stampede::{FillLock, Refresh, Refreshed, StampedeStats};
pub(crate) use stripes::{Stripes, tick};
pub(crate) use warming::WarmingStats;
pub use warming::{WARMED, Warmed, WarmedFrom};
