//! Values made smaller before they are sealed: LZ4 blocks, because unpacking must cost less than what it saves.

use bytes::Bytes;

use super::error::EnvelopeError;

/// Values below are left alone: header and round trip outweigh what could be saved.
pub const COMPRESS_FROM_BYTES: usize = 1 << 10;
/// A compressed value is kept if it is shorter than the value by this part of it at least.
const SAVED_MIN_DIVISOR: usize = 10;
/// The value's own length, before the block.
const LENGTH_BYTES: usize = 4;

/// `value` as a [`Body::Packed`](super::Body::Packed) has it; none where that would not save a tenth of it.
#[must_use]
pub fn compress(value: &[u8]) -> Option<Vec<u8>> {
    if value.len() < COMPRESS_FROM_BYTES {
        return None;
    }
    let length = u32::try_from(value.len()).ok()?;
    let worth_it = value.len() - value.len().div_ceil(SAVED_MIN_DIVISOR);
    let mut stored = vec![0; LENGTH_BYTES + lz4_flex::block::get_maximum_output_size(value.len())];
    stored[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
    let block = lz4_flex::block::compress_into(value, &mut stored[LENGTH_BYTES..]).ok()?;
    stored.truncate(LENGTH_BYTES + block);
    (stored.len() <= worth_it).then_some(stored)
}

/// The value that `stored` stands for; `value_bytes_max` is the most that is set aside for it.
///
/// # Errors
/// [`EnvelopeError::TooLarge`] or [`EnvelopeError::BadCompression`].
pub(super) fn expand(stored: &[u8], value_bytes_max: usize) -> Result<Bytes, EnvelopeError> {
    let (length, block) = stored.split_first_chunk::<LENGTH_BYTES>().ok_or(EnvelopeError::BadCompression)?;
    let claimed = u32::from_le_bytes(*length);
    let length = usize::try_from(claimed).unwrap_or(usize::MAX);
    if length > value_bytes_max {
        return Err(EnvelopeError::TooLarge { claimed: u64::from(claimed), limit: value_bytes_max });
    }
    let mut value = vec![0; length];
    match lz4_flex::block::decompress_into(block, &mut value) {
        Ok(written) if written == length => Ok(value.into()),
        _ => Err(EnvelopeError::BadCompression),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MOST: usize = 1 << 20;

    #[test]
    fn short_values_and_those_that_do_not_shrink_are_left_alone() {
        assert_eq!(compress(&vec![b'a'; COMPRESS_FROM_BYTES - 1]), None);
        assert!(compress(&vec![b'a'; COMPRESS_FROM_BYTES]).is_some());
        let mut noise = vec![0; 4096];
        crate::env::random::fill(&mut noise).unwrap();
        assert_eq!(compress(&noise), None);
    }

    #[test]
    fn a_claim_beyond_the_bound_sets_nothing_aside() {
        let mut stored = compress(&vec![b'a'; 5000]).unwrap();
        assert_eq!(expand(&stored, 4999), Err(EnvelopeError::TooLarge { claimed: 5000, limit: 4999 }));
        stored[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        let claimed = u64::from(u32::MAX);
        assert_eq!(expand(&stored, MOST), Err(EnvelopeError::TooLarge { claimed, limit: MOST }));
        stored[..4].copy_from_slice(&5001_u32.to_le_bytes());
        assert_eq!(expand(&stored, MOST), Err(EnvelopeError::BadCompression));
        stored[..4].copy_from_slice(&4999_u32.to_le_bytes());
        assert_eq!(expand(&stored, MOST), Err(EnvelopeError::BadCompression));
        assert_eq!(expand(&[1, 0, 0], MOST), Err(EnvelopeError::BadCompression));
    }

    proptest! {
        #[test]
        fn what_was_compressed_comes_back(
            words in prop::collection::vec("[a-z]{1,8}", 200..1500),
            few in 1..20_usize,
        ) {
            let text: String = words.iter().cycle().take(words.len() * few).map(String::as_str).collect();
            if let Some(stored) = compress(text.as_bytes()) {
                prop_assert!(stored.len() * 10 <= text.len() * 9);
                prop_assert_eq!(&expand(&stored, text.len()).unwrap()[..], text.as_bytes());
            }
        }

        #[test]
        fn no_bytes_panic(stored in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = expand(&stored, MOST);
        }
    }
}
