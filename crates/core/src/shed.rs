//! Why a load was refused without asking the source.

use std::fmt;

/// Why the load limiter refused a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShedReason {
    /// As many loads wait already as may.
    QueueFull,
    /// It waited as long as it may.
    WaitedTooLong,
    /// Its place in the queue was given to a load of higher priority.
    Displaced,
    /// The hit rate is below its floor, and loads of this priority do not wait until it recovers.
    HitRate,
    /// The node has just started, and lets only a part of the loads through that are not critical.
    Ramp,
}

impl ShedReason {
    /// All of them, in the order of their metrics.
    pub const ALL: [Self; 5] =
        [Self::QueueFull, Self::WaitedTooLong, Self::Displaced, Self::HitRate, Self::Ramp];

    /// The name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::WaitedTooLong => "waited_too_long",
            Self::Displaced => "displaced",
            Self::HitRate => "hit_rate",
            Self::Ramp => "ramp",
        }
    }
}

impl fmt::Display for ShedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::QueueFull => "too many loads are waiting for the source",
            Self::WaitedTooLong => "no place at the source came free in time",
            Self::Displaced => "loads of higher priority took its place in the queue for the source",
            Self::HitRate => {
                "the hit rate is below its floor, and the source is kept for what is more important"
            }
            Self::Ramp => "the node has just started and spares the source until it is warm",
        })
    }
}
