//! What a node gives its remote tier: time, calls in flight, patience.

use std::{fmt, time::Duration};

use trueup_core::guard::BreakerConfig;

/// Limits of the way to a remote tier. A tier that is slower than this saves nothing: the source is asked instead.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// A look-up ends after this long, of one key or of many.
    pub get_timeout: Duration,
    /// A write or a removal ends after this long, of one entry or of many.
    pub put_timeout: Duration,
    /// An attempt to connect ends after this long, greeting included.
    pub connect_timeout: Duration,
    /// Most commands that wait for an answer of one server; more are refused at once.
    pub calls_max: usize,
    /// Failures in a row after which a server is left alone.
    pub failures_max: u32,
    /// How long it is left alone at first; twice as long after each attempt that fails.
    pub pause_min: Duration,
    /// The longest that it is left alone.
    pub pause_max: Duration,
    /// Largest envelope that is written or taken, in bytes.
    pub envelope_bytes_max: usize,
    /// Whether a write that comes late (see [`RedisOptions::late_from`]) first looks whether the server holds a newer entry.
    pub prefer_newer: bool,
    /// An entry whose load began longer ago than this comes late: the node follows the feed slowly, was paused, or writes
    /// slowly. The look costs the server four times what the write does; in time, hardly ever is a newer entry there, and
    /// replacing it costs a load and no more.
    pub late_from: Duration,
    /// What to trust, and how to introduce oneself, where the address asks for TLS.
    pub tls: Tls,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            get_timeout: Duration::from_millis(50),
            put_timeout: Duration::from_millis(100),
            connect_timeout: Duration::from_secs(1),
            calls_max: 4_096,
            failures_max: 5,
            pause_min: Duration::from_millis(100),
            pause_max: Duration::from_secs(5),
            envelope_bytes_max: 64 << 20,
            prefer_newer: true,
            late_from: Duration::from_millis(500),
            tls: Tls::default(),
        }
    }
}

impl RedisOptions {
    pub(super) const fn breaker(&self) -> BreakerConfig {
        BreakerConfig {
            failures_max: self.failures_max,
            pause_min: self.pause_min,
            pause_max: self.pause_max,
        }
    }
}

/// Certificates, as PEM.
#[derive(Clone, Default)]
pub struct Tls {
    /// Certificates of the authorities to trust; none for those of the system.
    pub roots: Option<Vec<u8>>,
    /// Certificate and private key with which the node introduces itself; none if the server does not ask.
    pub client: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for Tls {
    /// Without their content: one of them is a private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("roots", &self.roots.as_ref().map_or("system", |_| "own"))
            .field("client", &self.client.is_some())
            .finish()
    }
}
