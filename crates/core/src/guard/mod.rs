//! What refuses or delays work.

mod adaptive;
mod breaker;
mod budget;
mod floor;
mod gate;
mod limiter;
mod pace;
mod ramp;
mod rules;
mod source;

pub use adaptive::LoadTimes;
pub use breaker::{Breaker, BreakerConfig};
pub(crate) use floor::{HitCounts, HitRateFloor, Turn};
pub(crate) use gate::{Admission, Gate};
pub use limiter::{LimiterCounts, LimiterStatus};
pub use rules::{CRITICAL_RESERVE_DEFAULT, LoadLimits, RAMP_FLOOR_DEFAULT, SOURCE_LOADS_MAX_DEFAULT};
pub use source::{SourceGuard, SourceGuardStatus, SourcePermit};
