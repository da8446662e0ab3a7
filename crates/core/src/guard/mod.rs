//! What refuses or delays work.

mod breaker;
mod budget;

pub use breaker::{Breaker, BreakerConfig};
pub(crate) use budget::{Budget, RETRY_AFTER_MS};
