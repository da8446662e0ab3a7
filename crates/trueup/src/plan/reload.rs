//! Reloading: a plan that does not hold never replaces one that does.

use std::sync::Arc;

use parking_lot::RwLock;

use super::{ConfigErrors, Plan};

/// The plan in force, and why the last attempt to replace it failed, if it did. Watching the file is the caller's
/// affair.
#[derive(Debug)]
pub struct Reloader(RwLock<State>);

#[derive(Debug)]
struct State {
    current: Arc<Plan>,
    last_error: Option<Arc<ConfigErrors>>,
}

impl Reloader {
    /// Starts with a plan that holds.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self(RwLock::new(State { current: Arc::new(plan), last_error: None }))
    }

    /// The last good plan.
    #[must_use]
    pub fn current(&self) -> Arc<Plan> {
        Arc::clone(&self.0.read().current)
    }

    /// Why the last attempt failed; `None` after one that succeeded.
    #[must_use]
    pub fn last_error(&self) -> Option<Arc<ConfigErrors>> {
        self.0.read().last_error.clone()
    }

    /// Takes the outcome of reading the configuration again.
    ///
    /// # Errors
    /// Those offered, kept as the [`last_error`](Self::last_error); the plan in force stays.
    pub fn offer(&self, read: Result<Plan, ConfigErrors>) -> Result<Arc<Plan>, Arc<ConfigErrors>> {
        let mut state = self.0.write();
        match read {
            Ok(plan) => {
                state.current = Arc::new(plan);
                state.last_error = None;
                Ok(Arc::clone(&state.current))
            }
            Err(errors) => {
                let errors = Arc::new(errors);
                state.last_error = Some(Arc::clone(&errors));
                Err(errors)
            }
        }
    }
}
