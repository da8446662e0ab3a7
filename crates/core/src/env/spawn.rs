//! Tasks with a name and an owner.

use std::future::Future;

/// A background task. Dropping it leaves the task running; [`Task::stop`] ends it.
#[derive(Debug)]
pub struct Task {
    name: &'static str,
    handle: tokio::task::JoinHandle<()>,
}

impl Task {
    /// What the task does, for logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Ends the task at its next await.
    pub fn stop(&self) {
        self.handle.abort();
    }

    /// Waits until the task has ended, by itself or by [`Task::stop`].
    pub async fn ended(self) {
        if let Err(error) = self.handle.await
            && error.is_panic()
        {
            tracing::error!(task = self.name, "task panicked");
        }
    }
}

/// Starts `future` on the current tokio runtime under `name`.
pub fn spawn(name: &'static str, future: impl Future<Output = ()> + Send + 'static) -> Task {
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    let handle = tokio::spawn(future);
    Task { name, handle }
}

/// The same where there is a runtime. A future that is left when its runtime has ended is dropped.
pub(crate) fn spawn_if_running(name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
    if tokio::runtime::Handle::try_current().is_ok() {
        spawn(name, future);
    }
}
