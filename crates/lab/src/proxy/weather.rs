//! What a connection has to live with.

use std::{ops::Range, time::Duration};

use rand::{Rng as _, rngs::StdRng};

/// Longest usual way of a message to another machine, in milliseconds.
const HOP_MS_MAX: u64 = 3;
/// One message in so many is held up on its way, and for how long: a packet lost, a pause of the collector.
const HELD_UP_ONE_IN: u32 = 20;
const HELD_UP_MS: Range<u64> = 15..40;

/// How long a message is on its way through a network such as many have. Some are quick, some are not: that is what
/// overtaking comes from.
pub(crate) fn one_way(dice: &mut StdRng) -> Duration {
    let held_up = dice.random_ratio(1, HELD_UP_ONE_IN);
    Duration::from_millis(if held_up {
        dice.random_range(HELD_UP_MS)
    } else {
        dice.random_range(0..=HOP_MS_MAX)
    })
}

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
    /// Each piece of data, in each direction, is on its way as long as [`one_way`] draws.
    pub(crate) uneven: bool,
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

    pub(crate) fn uneven() -> Self {
        Self { uneven: true, ..Self::default() }
    }

    pub(crate) fn narrow(bytes_per_second: u32) -> Self {
        Self { bytes_per_second: Some(bytes_per_second), ..Self::default() }
    }

    pub(crate) fn garbage(share: f64) -> Self {
        Self { garbage: share, ..Self::default() }
    }
}
