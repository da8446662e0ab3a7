//! How the log is followed.

use std::time::Duration;

use super::fleet::FleetOptions;

/// Shortest pause between two questions to the source, while changes arrive.
pub const ASK_BUSY_DEFAULT: Duration = Duration::from_millis(10);
/// Longest pause between two questions: a quarter of the smallest staleness bound, which is one second by default.
pub const ASK_IDLE_DEFAULT: Duration = Duration::from_millis(250);
/// What part of the smallest staleness bound may pass between two questions.
const ASKS_PER_BOUND: u32 = 4;

/// How the log is followed.
#[derive(Clone, Debug)]
pub struct FeedOptions {
    /// Shortest pause between two questions of how far the source is, while changes arrive: a token can be honoured no
    /// sooner than a question sent after it is answered.
    pub ask_busy: Duration,
    /// Longest pause between two questions: an answer is never fresher than the last one. Where a class of
    /// [`Trueup`](crate::Trueup)'s plan has a bound that needs it, it is asked more often by itself.
    pub ask_idle: Duration,
    /// One slot for several nodes, which outlasts each of them. Without it the node has a slot of its own that is gone
    /// with its connection, so that nothing is left behind in the source.
    pub fleet: Option<FleetOptions>,
}

impl Default for FeedOptions {
    fn default() -> Self {
        Self { ask_busy: ASK_BUSY_DEFAULT, ask_idle: ASK_IDLE_DEFAULT, fleet: None }
    }
}

impl FeedOptions {
    /// Asks often enough for classes whose smallest staleness bound is `bound`.
    #[must_use]
    pub fn for_bound(mut self, bound: Duration) -> Self {
        self.ask_idle = self.idle_for(bound);
        self
    }

    /// The longest pause with which answers can be held to `bound`.
    pub(in crate::postgres) fn idle_for(&self, bound: Duration) -> Duration {
        (bound / ASKS_PER_BOUND).max(self.ask_busy)
    }
}
