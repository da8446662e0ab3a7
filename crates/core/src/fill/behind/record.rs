//! The journal's bytes: a header, then frames. `docs/format.md` shows them byte by byte.
//!
//! A frame holds all that one call to the disk made durable, under one checksum. So a frame that is torn was acknowledged to
//! nobody, and a torn one with a whole one behind it is damage and no torn end.

use crate::change::{Row, RowChange};

/// What every segment begins with.
const MAGIC: [u8; 8] = *b"TRUEUPWB";
/// The version of this form.
const VERSION: u16 = 1;
/// Magic, version, two zero bytes, journal, first sequence, checksum.
pub(super) const HEADER_BYTES: usize = 8 + 2 + 2 + 16 + 8 + 8;
/// Length and checksum before each frame.
pub(super) const FRAME_HEAD_BYTES: usize = 4 + 8;
/// First sequence and number of records at the beginning of each frame.
const FRAME_FIXED_BYTES: usize = 8 + 4;
/// Kind and three lengths of each record.
const RECORD_FIXED_BYTES: usize = 1 + 2 + 4 + 4;
/// Largest frame that is read or written, in bytes.
pub const FRAME_BYTES_MAX: usize = 64 << 20;

/// Which journal a segment belongs to: drawn when the journal is made.
pub type JournalId = [u8; 16];

/// One write, as the journal holds it.
#[derive(Clone, Debug)]
pub struct Record {
    /// The class.
    pub class: String,
    /// The key in normal form.
    pub key: String,
    /// What is done to the row.
    pub change: RowChange,
}

/// The first bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The journal.
    pub journal: JournalId,
    /// The sequence of the segment's first record.
    pub first: u64,
}

/// A frame that was read.
#[derive(Debug)]
pub struct Frame {
    /// The sequence of its first record; those that follow are numbered on.
    pub first: u64,
    /// The records.
    pub records: Vec<Record>,
    /// Bytes that it takes, its head included.
    pub bytes: usize,
}

/// Why bytes are no segment of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSegment {
    /// Something else, or nothing whole.
    #[error("it does not begin as a journal does")]
    Header,
    /// A later release wrote it.
    #[error("it has version {0}, this release reads 1; use a newer trueup")]
    Newer(u16),
}

impl Record {
    /// Bytes of the record in a frame.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let row = self.change.row().map_or(0, |row| row.to_json().len());
        RECORD_FIXED_BYTES + self.class.len() + self.key.len() + row
    }
}

/// Bytes of a frame that holds records of `bytes` bytes together.
pub(super) const fn frame_bytes(bytes: usize) -> usize {
    FRAME_HEAD_BYTES + FRAME_FIXED_BYTES + bytes
}

/// The header of a segment.
#[must_use]
pub fn encode_header(header: &SegmentHeader) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&header.journal);
    out.extend_from_slice(&header.first.to_le_bytes());
    let sum = checksum(&out, 0);
    out.extend_from_slice(&sum.to_le_bytes());
    out
}

/// Reads the header of a segment; the frames begin after it.
///
/// # Errors
/// [`BadSegment`].
pub fn decode_header(bytes: &[u8]) -> Result<(SegmentHeader, &[u8]), BadSegment> {
    let mut input = Input(bytes);
    let mut read = || -> Option<(u16, SegmentHeader, u64)> {
        (input.take(8)? == MAGIC).then_some(())?;
        let version = u16::from_le_bytes(input.array()?);
        input.take(2)?;
        let journal = input.array()?;
        let first = u64::from_le_bytes(input.array()?);
        Some((version, SegmentHeader { journal, first }, u64::from_le_bytes(input.array()?)))
    };
    let (version, header, sum) = read().ok_or(BadSegment::Header)?;
    if version > VERSION {
        return Err(BadSegment::Newer(version));
    }
    let said = bytes.get(..HEADER_BYTES - 8).unwrap_or_default();
    if version == VERSION && checksum(said, 0) == sum {
        Ok((header, input.0))
    } else {
        Err(BadSegment::Header)
    }
}

/// One frame of `records`, the first numbered `first`.
#[must_use]
pub fn encode_frame(journal: &JournalId, first: u64, records: &[Record]) -> Vec<u8> {
    let mut out = vec![0; FRAME_HEAD_BYTES];
    out.extend_from_slice(&first.to_le_bytes());
    out.extend_from_slice(&(records.len() as u32).to_le_bytes());
    for record in records {
        let (kind, row) = match &record.change {
            RowChange::Put(row) => (1, row.to_json()),
            RowChange::Delete => (2, Vec::new()),
            RowChange::Replace(row) => (3, row.to_json()),
        };
        out.push(kind);
        out.extend_from_slice(&(record.class.len() as u16).to_le_bytes());
        out.extend_from_slice(&(record.key.len() as u32).to_le_bytes());
        out.extend_from_slice(&(row.len() as u32).to_le_bytes());
        out.extend_from_slice(record.class.as_bytes());
        out.extend_from_slice(record.key.as_bytes());
        out.extend_from_slice(&row);
    }
    let (head, body) = out.split_at_mut(FRAME_HEAD_BYTES);
    head[..4].copy_from_slice(&(body.len() as u32).to_le_bytes());
    head[4..].copy_from_slice(&checksum(body, seed(journal)).to_le_bytes());
    out
}

/// Reads the frame at the beginning of `bytes`; none where no whole one of this journal stands there.
#[must_use]
pub fn decode_frame(journal: &JournalId, bytes: &[u8]) -> Option<Frame> {
    let mut input = Input(bytes);
    let length = u32::from_le_bytes(input.array()?) as usize;
    let sum = u64::from_le_bytes(input.array()?);
    (length <= FRAME_BYTES_MAX).then_some(())?;
    let body = input.take(length)?;
    (checksum(body, seed(journal)) == sum).then_some(())?;
    let mut body = Input(body);
    let first = u64::from_le_bytes(body.array()?);
    let count = u32::from_le_bytes(body.array()?) as usize;
    // No more than the bytes can hold, whatever the number says.
    let mut records = Vec::with_capacity(count.min(length / RECORD_FIXED_BYTES));
    for _ in 0..count {
        records.push(record(&mut body)?);
    }
    body.0.is_empty().then_some(Frame { first, records, bytes: FRAME_HEAD_BYTES + length })
}

/// Whether a whole frame that follows `after` stands anywhere in `bytes`.
#[must_use]
pub fn has_frame_after(journal: &JournalId, bytes: &[u8], after: u64) -> bool {
    /// How far sequences of one segment can lie apart.
    const APART_MAX: u64 = 1 << 32;
    let plausible = |bytes: &[u8]| {
        // Cheap first: most places are none.
        let first = bytes.get(FRAME_HEAD_BYTES..FRAME_HEAD_BYTES + 8)?;
        let first = u64::from_le_bytes(first.try_into().ok()?);
        (first > after && first - after < APART_MAX).then_some(())
    };
    (0..bytes.len()).any(|at| {
        let rest = bytes.get(at..).unwrap_or_default();
        plausible(rest).and_then(|()| decode_frame(journal, rest)).is_some()
    })
}

fn record(input: &mut Input<'_>) -> Option<Record> {
    let [kind] = input.array()?;
    let class = u16::from_le_bytes(input.array()?) as usize;
    let key = u32::from_le_bytes(input.array()?) as usize;
    let row = u32::from_le_bytes(input.array()?) as usize;
    let mut text = |length| Some(std::str::from_utf8(input.take(length)?).ok()?.to_owned());
    let (class, key) = (text(class)?, text(key)?);
    let row = input.take(row)?;
    let change = match kind {
        1 => RowChange::Put(Row::parse(row).ok()?),
        2 if row.is_empty() => RowChange::Delete,
        3 => RowChange::Replace(Row::parse(row).ok()?),
        _ => return None,
    };
    Some(Record { class, key, change })
}

/// Frames of another journal are none, whatever was left in a file.
fn seed(journal: &JournalId) -> u64 {
    let (seed, _) = journal.split_at(8);
    u64::from_le_bytes(seed.try_into().unwrap_or_default())
}

fn checksum(bytes: &[u8], seed: u64) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(bytes, seed)
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const JOURNAL: JournalId = [7; 16];

    fn any_record() -> impl Strategy<Value = Record> {
        let row = "[a-z]{1,4}".prop_flat_map(|name| (Just(name), any::<i64>()));
        let change = (0..3, proptest::collection::vec(row, 0..4)).prop_map(|(kind, columns)| {
            let object: serde_json::Map<String, serde_json::Value> =
                columns.into_iter().map(|(name, value)| (name, value.into())).collect();
            let row = Row::of(&object).unwrap();
            [RowChange::Put(row.clone()), RowChange::Delete, RowChange::Replace(row)][kind as usize].clone()
        });
        ("[a-z]{1,8}", ".{0,12}", change).prop_map(|(class, key, change)| Record { class, key, change })
    }

    fn same(a: &Record, b: &Record) -> bool {
        format!("{:?}", a.change) == format!("{:?}", b.change)
            && (&a.class, &a.key) == (&b.class, &b.key)
            && a.change.row().map(Row::to_json) == b.change.row().map(Row::to_json)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(records in proptest::collection::vec(any_record(), 0..6), first in 1..u64::MAX) {
            let bytes = encode_frame(&JOURNAL, first, &records);
            let sizes: usize = records.iter().map(Record::encoded_len).sum();
            prop_assert_eq!(bytes.len(), frame_bytes(sizes));
            let frame = decode_frame(&JOURNAL, &bytes).unwrap();
            prop_assert_eq!((frame.first, frame.bytes, frame.records.len()), (first, bytes.len(), records.len()));
            prop_assert!(frame.records.iter().zip(&records).all(|(a, b)| same(a, b)));
            prop_assert!(decode_frame(&[8; 16], &bytes).is_none(), "another journal's");
        }

        #[test]
        fn whatever_is_torn_or_flipped_is_no_frame(
            records in proptest::collection::vec(any_record(), 1..4), at in any::<prop::sample::Index>(), bit in 0..8
        ) {
            let bytes = encode_frame(&JOURNAL, 9, &records);
            let at = at.index(bytes.len());
            prop_assert!(decode_frame(&JOURNAL, &bytes[..at]).is_none());
            let mut flipped = bytes;
            flipped[at] ^= 1u8 << bit;
            prop_assert!(decode_frame(&JOURNAL, &flipped).is_none());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_header(&bytes);
            let _ = decode_frame(&JOURNAL, &bytes);
            prop_assert!(!has_frame_after(&JOURNAL, &bytes, 0));
        }
    }

    #[test]
    fn a_header_says_what_follows() {
        let header = SegmentHeader { journal: JOURNAL, first: 42 };
        let mut bytes = encode_header(&header);
        bytes.push(9);
        assert_eq!(decode_header(&bytes), Ok((header, &[9][..])));
        assert_eq!(decode_header(&bytes[..20]), Err(BadSegment::Header));
        bytes[30] ^= 1;
        assert_eq!(decode_header(&bytes), Err(BadSegment::Header));
        bytes[8] = 2;
        assert_eq!(decode_header(&bytes), Err(BadSegment::Newer(2)));
    }

    #[test]
    fn a_whole_frame_behind_a_broken_one_is_found() {
        let record = Record { class: "c".into(), key: "k".into(), change: RowChange::Delete };
        let mut bytes = encode_frame(&JOURNAL, 5, std::slice::from_ref(&record));
        assert!(!has_frame_after(&JOURNAL, &bytes, 5));
        bytes[13] ^= 1;
        assert!(!has_frame_after(&JOURNAL, &bytes, 4));
        bytes.extend(encode_frame(&JOURNAL, 6, &[record]));
        assert!(has_frame_after(&JOURNAL, &bytes, 5));
    }
}
