//! The only room that reads the clock, draws randomness or spawns tasks.

mod clock;
pub mod random;
mod spawn;

pub use clock::{Clock, Nanos, unix_ms, unix_us};
pub(crate) use spawn::spawn_if_running;
pub use spawn::{Task, spawn};

/// A future on the heap, for traits that are used as objects: what they do is rare and slow enough for an allocation.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A step that few take has memory of its own: within the future of all it would take room that is allocated and moved for nothing.
pub(crate) fn seldom<F: Future>(step: F) -> std::pin::Pin<Box<F>> {
    Box::pin(step)
}
