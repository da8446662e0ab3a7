//! What a service decides about its keys.

use std::time::Duration;

use crate::limits::{LEASE_DEFAULT, RETENTION_DEFAULT, STUCK_AFTER_DEFAULT, STUCK_ATTEMPTS_DEFAULT};

/// What a service decides about its keys.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// How long a claim is held before another worker may take it over. Longer than a request may take, the call of an outside
    /// system included; a shorter one is safe, but wastes work.
    pub lease: Duration,
    /// How long finished keys are kept. Publish it: a repeat after that is a new request, which only its business id stops.
    pub retention: Duration,
    /// Age from which an unfinished key is reported as stuck.
    pub stuck_after: Duration,
    /// Attempts from which an unfinished key is reported as stuck.
    pub stuck_attempts: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lease: LEASE_DEFAULT,
            retention: RETENTION_DEFAULT,
            stuck_after: STUCK_AFTER_DEFAULT,
            stuck_attempts: STUCK_ATTEMPTS_DEFAULT,
        }
    }
}

impl Options {
    /// The defaults, which are 30 s of lease, 30 days of retention, stuck after 5 minutes or 10 attempts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`Options::lease`].
    #[must_use]
    pub const fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Sets [`Options::retention`].
    #[must_use]
    pub const fn retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// Sets [`Options::stuck_after`] and [`Options::stuck_attempts`].
    #[must_use]
    pub const fn stuck(mut self, after: Duration, attempts: u32) -> Self {
        self.stuck_after = after;
        self.stuck_attempts = attempts;
        self
    }
}
