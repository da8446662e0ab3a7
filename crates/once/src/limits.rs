//! Every limit and wait of this crate, by name.

use std::time::Duration;

/// Longest idempotency key, in characters.
pub const KEY_CHARS_MAX: usize = 255;
/// Shortest idempotency key, in characters: 20 characters of base64 hold the 120 random bits that make a guess hopeless.
pub const KEY_CHARS_MIN: usize = 20;
/// Longest name: of a principal, a business id, an aggregate, a topic, a consumer, a lease, a job, a script; in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// Longest recovery point, in bytes.
pub const POINT_BYTES_MAX: usize = 64;
/// Longest `Location`, in bytes.
pub const LOCATION_BYTES_MAX: usize = 2_048;
/// Most recovery data of a key, in bytes.
pub const DATA_BYTES_MAX: usize = 64 * 1024;
/// Most headers of a stored response.
pub const RESPONSE_HEADERS_MAX: usize = 64;
/// Largest header section of a stored response, in bytes.
pub const RESPONSE_HEADER_BYTES_MAX: usize = 16 * 1024;
/// Largest body of a stored response, in bytes.
pub const RESPONSE_BODY_BYTES_MAX: usize = 1024 * 1024;
/// Largest payload of an outbox message, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 256 * 1024;
/// Longest checkpoint of a job, in bytes.
pub const CHECKPOINT_BYTES_MAX: usize = 16 * 1024;
/// Largest stored answer of an outside system, in bytes.
pub const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Longest reason for a review, in bytes; what is longer is cut.
pub const REASON_BYTES_MAX: usize = 1_000;

/// How long a claim is held before another worker may take it over.
pub const LEASE_DEFAULT: Duration = Duration::from_secs(30);
/// How long finished keys are kept. Published to clients: a repeat after that is a new request.
pub const RETENTION_DEFAULT: Duration = Duration::from_secs(30 * 24 * 3_600);
/// How long published outbox messages are kept.
pub const OUTBOX_RETENTION_DEFAULT: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Age from which an unfinished key is reported as stuck.
pub const STUCK_AFTER_DEFAULT: Duration = Duration::from_secs(5 * 60);
/// Attempts from which an unfinished key is reported as stuck, however young.
pub const STUCK_ATTEMPTS_DEFAULT: u32 = 10;
/// First pause after an attempt that did not finish a key, or a message that could not be published; doubled each time.
pub const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// Longest such pause.
pub const BACKOFF_MAX: Duration = Duration::from_secs(15 * 60);
/// Keys that the completer takes at a time.
pub const COMPLETER_BATCH_DEFAULT: u32 = 32;
/// Keys that the completer works on side by side.
pub const COMPLETER_CONCURRENCY_DEFAULT: usize = 8;
/// Rows that the reaper deletes in one transaction.
pub const REAPER_BATCH_DEFAULT: u32 = 1_000;
/// Messages that the relay reads at a time.
pub const RELAY_BATCH_DEFAULT: u32 = 256;
/// Pause of a background task that found nothing to do.
pub const POLL_DEFAULT: Duration = Duration::from_millis(500);
/// How long a lease lives without renewal.
pub const LEASE_TTL_DEFAULT: Duration = Duration::from_secs(15);
/// Shortest and longest `Retry-After`, in seconds.
pub const RETRY_AFTER_S: std::ops::RangeInclusive<u64> = 1..=60;
/// Times that an operation looks again when rows vanish between two of its statements.
pub const LOOKS_MAX: u32 = 3;
/// Times that [`Once::run`](crate::Once::run) runs a transaction that the database asks to run again.
pub const TRANSACTION_ATTEMPTS_MAX: u32 = 4;

/// `span` in whole milliseconds, for the database.
pub(crate) fn ms(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX / 4)
}

/// The pause after attempt number `attempts` (from 1) that did not succeed.
#[must_use]
pub fn backoff(attempts: u32) -> Duration {
    let doublings = attempts.saturating_sub(1).min(20);
    BACKOFF_FIRST.saturating_mul(1 << doublings).min(BACKOFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        assert_eq!(backoff(0), BACKOFF_FIRST);
        assert_eq!(backoff(1), BACKOFF_FIRST);
        assert_eq!(backoff(3), BACKOFF_FIRST * 4);
        assert_eq!(backoff(u32::MAX), BACKOFF_MAX);
    }
}
