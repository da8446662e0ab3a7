//! The only room that reads the clock, draws randomness or spawns tasks.

mod clock;
pub mod random;
mod spawn;

pub use clock::{Clock, Nanos, unix_ms};
pub use spawn::{Task, spawn};
