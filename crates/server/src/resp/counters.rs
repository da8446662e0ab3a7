//! What the RESP side has done so far.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the start of the server, and the connections open now. Connections add once per burst, not once per
/// command.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections open now.
    pub connections_open: AtomicU64,
    /// Connections accepted.
    pub connections_accepted: AtomicU64,
    /// Connections turned away because there were too many.
    pub connections_refused: AtomicU64,
    /// Connections closed by a timeout: idle, half a frame, or replies not taken.
    pub connections_timed_out: AtomicU64,
    /// Connections cut because they were not done when the time to stop was over.
    pub connections_aborted: AtomicU64,
    /// Commands taken up, valid or not.
    pub commands: AtomicU64,
    /// Commands that were no valid command.
    pub command_errors: AtomicU64,
    /// Byte streams that were not RESP.
    pub protocol_errors: AtomicU64,
    /// Wrong credentials.
    pub authentication_failures: AtomicU64,
    /// Bytes received.
    pub received_bytes: AtomicU64,
    /// Bytes sent.
    pub sent_bytes: AtomicU64,
}

/// Adds to a counter.
pub(super) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

/// Reads a counter.
pub(super) fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
