//! What a connection has to live with.

use std::time::Duration;

/// Whether bytes pass at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Flow {
    #[default]
    Open,
    /// Nothing passes and nobody is told: a network that drops packets.
    Silent,
    /// Connections are closed, new ones too.
    Cut,
}

/// The weather of a proxy.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Weather {
    pub(crate) flow: Flow,
    /// Each piece of data, in each direction, comes so much later.
    pub(crate) latency: Duration,
    /// Most bytes a second, in each direction.
    pub(crate) bytes_per_second: Option<u32>,
    /// The share of pieces from the server of which one byte is wrong.
    pub(crate) garbage: f64,
    /// How often connections were cut for good: one that was opened before ends.
    pub(crate) cuts: u64,
}

impl Weather {
    pub(crate) fn silent() -> Self {
        Self { flow: Flow::Silent, ..Self::default() }
    }

    pub(crate) fn cut() -> Self {
        Self { flow: Flow::Cut, ..Self::default() }
    }

    pub(crate) fn slow(latency: Duration) -> Self {
        Self { latency, ..Self::default() }
    }

    pub(crate) fn narrow(bytes_per_second: u32) -> Self {
        Self { bytes_per_second: Some(bytes_per_second), ..Self::default() }
    }

    pub(crate) fn garbage(share: f64) -> Self {
        Self { garbage: share, ..Self::default() }
    }
}
