//! Clients who come at the same time.

use std::{future::Future, sync::Arc};

use parking_lot::Mutex;
use trueup_core::env::spawn;

use crate::world::LabError;

/// Runs as many clients at once, each in a task of its own by its number, and returns what they brought.
///
/// # Errors
/// The first failure, once all have ended.
pub(super) async fn together<T, F>(clients: usize, client: impl Fn(usize) -> F) -> Result<Vec<T>, LabError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, LabError>> + Send + 'static,
{
    let brought = Arc::new(Mutex::new(Vec::with_capacity(clients)));
    let tasks: Vec<_> = (0..clients)
        .map(|number| {
            let (work, brought) = (client(number), Arc::clone(&brought));
            spawn("incident", async move {
                let ended = work.await;
                brought.lock().push(ended);
            })
        })
        .collect();
    for task in tasks {
        task.ended().await;
    }
    let brought: Vec<_> = std::mem::take(&mut *brought.lock());
    if brought.len() < clients {
        return Err(LabError::failed("a client of the incident", "it panicked"));
    }
    brought.into_iter().collect()
}
