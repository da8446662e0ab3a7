//! A filter of the keys there are as it is saved: its bits, and the place in the change log through which it has heard everything.
//!
//! Written and read in pieces, for it may have hundreds of MiB. See `docs/format.md`.

use std::io::{self, Read, Write};

use xxhash_rust::xxh3::Xxh3;

use super::{Position, TableTags, Tag};
use crate::entry::EpochId;

/// Begins every saved filter.
const MAGIC: &[u8; 7] = b"trueupB";
/// The version that is written and read.
const VERSION: u8 = b'1';
/// Most bytes of evidence.
pub const EVIDENCE_BYTES_MAX: usize = 255;
/// Words that are written and read at once.
const WORDS_AT_ONCE: usize = 8 << 10;
const WORD_BYTES: usize = size_of::<u64>();

/// A place in a source's change log, as an earlier process has left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedPlace {
    /// The epoch in which the position counts.
    pub epoch: EpochId,
    /// Everything that ends at or below this has been heard.
    pub position: Position,
    /// What the source gave, to find out by itself whether its log still continues from here; of its own form.
    pub evidence: Box<[u8]>,
}

/// What a saved filter says of itself, before its bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterHead {
    /// What the bits mean: the table in its shape, how keys become tags, size and error.
    pub shape: [u8; 16],
    /// The tags that tell of the table's changes.
    pub table: TableTags,
    /// Where the log has to go on.
    pub place: SavedPlace,
    /// How many different tags are in it.
    pub entries: u64,
    /// Bits that each tag sets.
    pub hashes: u32,
    /// Words of 64 bits.
    pub words: u64,
}

/// Why there is no saved filter in what was read.
#[derive(Debug, thiserror::Error)]
pub enum BadFilter {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Cut short, damaged, or none at all.
    #[error("it is damaged")]
    Damaged,
    /// Written by another version of the program.
    #[error("it is of another version of the format")]
    Version,
    /// It was made for another number of entries, or another error.
    #[error("the plan declares other entries, or another error, than it was made for")]
    Size,
}

/// Writes what counts toward the checksum.
struct Summed<W> {
    to: W,
    sum: Xxh3,
}

impl<W: Write> Summed<W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum.update(bytes);
        self.to.write_all(bytes)
    }
}

impl<R: Read> Summed<R> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], BadFilter> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), BadFilter> {
        exactly(&mut self.to, bytes)?;
        self.sum.update(bytes);
        Ok(())
    }

    fn number(&mut self) -> Result<u64, BadFilter> {
        self.take().map(u64::from_le_bytes)
    }
}

/// Fills `bytes`; what ends before is damaged, and anything else is trouble of the disk.
fn exactly(from: &mut impl Read, bytes: &mut [u8]) -> Result<(), BadFilter> {
    from.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => BadFilter::Damaged,
        _ => BadFilter::Io(error),
    })
}

/// Writes a filter.
///
/// # Errors
/// What writing to `to` says; evidence beyond [`EVIDENCE_BYTES_MAX`] is refused.
pub fn write_filter(head: &FilterHead, words: impl Iterator<Item = u64>, to: impl Write) -> io::Result<()> {
    let evidence = &head.place.evidence;
    let length = u8::try_from(evidence.len()).map_err(io::Error::other)?;
    let mut out = Summed { to, sum: Xxh3::new() };
    out.put(MAGIC)?;
    out.put(&[VERSION])?;
    out.put(&head.shape)?;
    out.put(&head.table.any.0.to_le_bytes())?;
    out.put(&head.table.wide.0.to_le_bytes())?;
    out.put(head.place.epoch.as_bytes())?;
    out.put(&head.place.position.0.to_le_bytes())?;
    out.put(&head.entries.to_le_bytes())?;
    out.put(&head.hashes.to_le_bytes())?;
    out.put(&head.words.to_le_bytes())?;
    out.put(&[length])?;
    out.put(evidence)?;
    let mut bytes = Vec::with_capacity(WORDS_AT_ONCE * WORD_BYTES);
    for word in words {
        bytes.extend_from_slice(&word.to_le_bytes());
        if bytes.len() == WORDS_AT_ONCE * WORD_BYTES {
            out.put(&bytes)?;
            bytes.clear();
        }
    }
    out.put(&bytes)?;
    let sum = out.sum.digest();
    out.to.write_all(&sum.to_le_bytes())?;
    out.to.flush()
}

/// Reads what [`write_filter`] wrote, where it has `words` words and sets `hashes` bits for each tag. Sets no more aside than
/// `from` brings.
///
/// # Errors
/// [`BadFilter`] for anything else.
pub fn read_filter(from: impl Read, words: u64, hashes: u32) -> Result<(FilterHead, Vec<u64>), BadFilter> {
    let mut from = Summed { to: from, sum: Xxh3::new() };
    if from.take()? != *MAGIC {
        return Err(BadFilter::Damaged);
    }
    if from.take()? != [VERSION] {
        return Err(BadFilter::Version);
    }
    let shape = from.take()?;
    let table = TableTags { any: Tag(from.number()?), wide: Tag(from.number()?) };
    let (epoch, position) = (EpochId::from_bytes(from.take()?), Position(from.number()?));
    let entries = from.number()?;
    let head_hashes = u32::from_le_bytes(from.take()?);
    let head_words = from.number()?;
    let [length] = from.take()?;
    let mut evidence = vec![0; length.into()].into_boxed_slice();
    from.fill(&mut evidence)?;
    if (head_words, head_hashes) != (words, hashes) {
        return Err(BadFilter::Size);
    }
    let mut bits = Vec::new();
    let mut bytes = vec![0; WORDS_AT_ONCE * WORD_BYTES];
    let mut left = usize::try_from(words).map_err(|_| BadFilter::Size)?;
    while left > 0 {
        let some = left.min(WORDS_AT_ONCE);
        let bytes = &mut bytes[..some * WORD_BYTES];
        from.fill(bytes)?;
        // With the first piece that is there, for all: grown piece by piece it would take up to twice as much.
        if bits.is_empty() {
            bits.try_reserve_exact(left).map_err(|_| BadFilter::Size)?;
        }
        let (each, _) = bytes.as_chunks::<WORD_BYTES>();
        bits.extend(each.iter().map(|word| u64::from_le_bytes(*word)));
        left -= some;
    }
    let sum = from.sum.digest();
    let mut told = [0; WORD_BYTES];
    exactly(&mut from.to, &mut told)?;
    let is_at_the_end = from.to.read(&mut [0])? == 0;
    if u64::from_le_bytes(told) != sum || !is_at_the_end || position == Position::MAX {
        return Err(BadFilter::Damaged);
    }
    let place = SavedPlace { epoch, position, evidence };
    Ok((FilterHead { shape, table, place, entries, hashes, words }, bits))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HASHES: u32 = 7;

    fn head(words: usize, evidence: &[u8]) -> FilterHead {
        FilterHead {
            shape: [9; 16],
            table: TableTags::of("user"),
            place: SavedPlace {
                epoch: EpochId::from_bytes([3; 16]),
                position: Position(77),
                evidence: evidence.into(),
            },
            entries: 5,
            hashes: HASHES,
            words: words as u64,
        }
    }

    fn encoded(words: &[u64], evidence: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_filter(&head(words.len(), evidence), words.iter().copied(), &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn one_of_another_size_or_version_is_told_from_damage() {
        let bytes = encoded(&[1, 2, 3], b"x");
        assert!(matches!(read_filter(&*bytes, 4, HASHES), Err(BadFilter::Size)));
        assert!(matches!(read_filter(&*bytes, 3, HASHES + 1), Err(BadFilter::Size)));
        let mut other = bytes.clone();
        other[MAGIC.len()] = b'0';
        assert!(matches!(read_filter(&*other, 3, HASHES), Err(BadFilter::Version)));
        let mut longer = bytes;
        longer.push(0);
        assert!(matches!(read_filter(&*longer, 3, HASHES), Err(BadFilter::Damaged)));
        assert!(matches!(read_filter(&b"trueupL1"[..], 3, HASHES), Err(BadFilter::Damaged)));
        let mut none = Vec::new();
        assert!(write_filter(&head(1, &[0; 256]), [0].into_iter(), &mut none).is_err());
    }

    /// Notes how much is written at once.
    #[derive(Default)]
    struct Pieces(Vec<usize>);

    impl Write for Pieces {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(bytes.len());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Each piece is a call of the system where nothing gathers them, and one of hundreds of MiB would be that much memory.
    #[test]
    fn bits_are_written_in_pieces_of_one_size() {
        let words = 2 * WORDS_AT_ONCE + 3;
        let mut pieces = Pieces::default();
        write_filter(&head(words, b""), 0..words as u64, &mut pieces).unwrap();
        let whole = WORDS_AT_ONCE * WORD_BYTES;
        let at = pieces.0.iter().position(|piece| *piece == whole).unwrap();
        assert_eq!(pieces.0[at..], [whole, whole, 3 * WORD_BYTES, size_of::<u64>()]);
    }

    #[test]
    fn what_claims_to_be_large_sets_nothing_aside() {
        let mut bytes = encoded(&[1], b"");
        let at = bytes.len() - 8 - 8 - 1 - 8;
        let claimed = 1_u64 << 50;
        bytes[at..at + 8].copy_from_slice(&claimed.to_le_bytes());
        assert!(matches!(read_filter(&*bytes, claimed, HASHES), Err(BadFilter::Damaged)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn bytes_round_trip_and_damage_is_noticed(
            words in proptest::collection::vec(any::<u64>(), 1..40), more in 0_usize..2,
            evidence in proptest::collection::vec(any::<u8>(), 0..40), cut in 0_usize..4_000_000, flip in 0_usize..32_000_000,
        ) {
            // One piece, or several.
            let words = words.repeat(1 + more * WORDS_AT_ONCE / 16);
            let bytes = encoded(&words, &evidence);
            let read = |bytes: &[u8]| read_filter(bytes, words.len() as u64, HASHES);
            let (told, bits) = read(&bytes).unwrap();
            prop_assert_eq!(told, head(words.len(), &evidence));
            prop_assert!(bits == words);
            prop_assert!(read(&bytes[..cut % bytes.len()]).is_err());
            let mut flipped = bytes.clone();
            let bit = flip % (8 * flipped.len());
            flipped[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(read(&flipped).is_err());
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), words in 0_u64..5) {
            let _ = read_filter(&*bytes, words, HASHES);
            let mut whole = b"trueupB1".to_vec();
            whole.extend(bytes);
            let _ = read_filter(&*whole, words, HASHES);
        }
    }
}
