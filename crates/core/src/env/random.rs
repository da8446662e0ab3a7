//! Randomness of the operating system.

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
