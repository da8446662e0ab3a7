//! What the completer does with an operation whose worker is gone.

use std::error::Error;

use once::{Held, Once, Resume, Resumed};

use super::{
    App,
    outside::{INTENT, Tried, complete},
};
use crate::store::Database;

/// Goes on with charges and refunds.
#[derive(Clone, Debug)]
pub struct Completion {
    app: App,
}

impl Completion {
    /// For the operations of `app`.
    #[must_use]
    pub const fn new(app: App) -> Self {
        Self { app }
    }
}

impl Resume<Database> for Completion {
    async fn resume(
        &self,
        _once: &Once<Database>,
        held: Held,
    ) -> Result<Resumed, Box<dyn Error + Send + Sync>> {
        if *held.point() != INTENT {
            // Everything else is one transaction: it is finished or was never begun.
            return Ok(Resumed::Review(format!(
                "stands at {}, from where nothing leads on",
                held.point().name()
            )));
        }
        match complete(&self.app, &held).await {
            Ok(Tried::Settled) => Ok(Resumed::Finished),
            Ok(Tried::Open(pause)) => Ok(Resumed::Later(pause)),
            // Finished by a webhook, or taken over by another instance.
            Err(error) if error.is_discarded() => Ok(Resumed::Finished),
            Err(error) => Err(error.into()),
        }
    }
}
