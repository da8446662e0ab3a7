//! Randomness of the operating system.

use std::cell::Cell;

/// The operating system gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error(
    "the operating system gave no random bytes: {0}; check that getrandom(2) or /dev/urandom may be used here"
)]
pub struct RandomError(#[from] getrandom::Error);

/// Fills `buffer` with bytes fit for keys and nonces.
///
/// # Errors
/// [`RandomError`] where the system refuses (a sandbox without `getrandom` and `/dev/urandom`); `buffer` must then
/// not be used.
pub fn fill(buffer: &mut [u8]) -> Result<(), RandomError> {
    Ok(getrandom::fill(buffer)?)
}

/// A random number for spreading work out (jitter, sampling), not for secrets: a few nanoseconds, no system call but the
/// thread's first.
#[must_use]
pub fn number() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(seed());
    }
    STATE.with(|state| {
        // SplitMix64: any seed will do, and the sequence passes the usual tests.
        let next = state.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        state.set(next);
        let mixed = (next ^ (next >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    })
}

fn seed() -> u64 {
    let mut bytes = [0; 8];
    match fill(&mut bytes) {
        Ok(()) => u64::from_le_bytes(bytes),
        // Without the system's randomness lives are spread by the clock.
        Err(_) => super::Clock::system().now().0,
    }
}

#[cfg(test)]
mod tests {
    use super::fill;

    #[test]
    fn two_draws_differ() {
        let (mut first, mut second) = ([0; 32], [0; 32]);
        fill(&mut first).unwrap();
        fill(&mut second).unwrap();
        assert_ne!(first, second);
        assert_ne!(first, [0; 32]);
    }
}
