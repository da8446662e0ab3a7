//! The only room that reads the clock, draws randomness or spawns tasks.

mod clock;

pub use clock::{Clock, Nanos, SteppedClock, SystemClock};
