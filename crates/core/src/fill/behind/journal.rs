//! The journal on disk: segments in a folder of its own. Blocking; called away from the runtime's threads.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use super::record::{
    BadSegment, FRAME_BYTES_MAX, HEADER_BYTES, JournalId, Record, SegmentHeader, decode_frame, decode_header,
    encode_frame, encode_header, has_frame_after,
};
use crate::env::random;

/// The journal is kept in this many segments or more, so that what is applied makes room soon.
const SEGMENTS_MIN: usize = 8;
/// Smallest segment that is begun anew, in bytes.
const SEGMENT_BYTES_MIN: usize = 64 << 10;
/// How segments end.
const EXTENSION: &str = "journal";

/// The journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The folder cannot be read or written.
    #[error("the journal in {}: {doing}: {why}; check its path, its permissions and the space on its disk", path.display())]
    Disk {
        /// The folder.
        path: PathBuf,
        /// What was attempted.
        doing: &'static str,
        /// What the system said.
        why: io::Error,
    },
    /// Another process uses it.
    #[error("the journal in {} is in use by another process; each process needs a folder of its own", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A file of it is none.
    #[error("the journal's file {}: {why}; move it away if it is none of Trueup's", path.display())]
    Segment {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: BadSegment,
    },
    /// Two journals lie in one folder.
    #[error("the journal's file {} belongs to another journal; keep each in a folder of its own", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Writes that were acknowledged cannot be read.
    #[error(
        "the journal's file {} is damaged at byte {at}, and whole writes follow: restore the file, or move it away and \
         accept that the writes in it are lost", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damage begins.
        at: usize,
    },
}

/// An open journal, which no other process uses.
#[derive(Debug)]
pub(super) struct Journal {
    folder: PathBuf,
    id: JournalId,
    /// Sequence of the next record.
    next: u64,
    segments: VecDeque<Segment>,
    /// The last segment, unless the disk has failed under it.
    open: Option<File>,
    segment_bytes: usize,
    /// Locked for as long as it lives.
    _lock: File,
}

#[derive(Debug)]
struct Segment {
    path: PathBuf,
    /// The highest sequence in it; below its first where there is none.
    last: u64,
    bytes: usize,
}

/// What a journal held when it was opened.
pub(super) struct Held {
    /// Every record with its sequence, in order.
    pub(super) records: Vec<(u64, Record)>,
    /// Bytes of torn ends, acknowledged to nobody.
    pub(super) torn_bytes: usize,
}

impl Journal {
    /// Opens the journal in `folder`, or makes one.
    pub(super) fn open(folder: &Path, bytes_max: usize) -> Result<(Self, Held), JournalError> {
        let failed = |doing| {
            let path = folder.to_owned();
            move |why| JournalError::Disk { path, doing, why }
        };
        fs::create_dir_all(folder).map_err(failed("making its folder"))?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(folder.join("lock"));
        let lock = lock.map_err(failed("opening its lock"))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => JournalError::InUse { path: folder.to_owned() },
            TryLockError::Error(why) => failed("locking it")(why),
        })?;
        let mut held = Held { records: Vec::new(), torn_bytes: 0 };
        let (mut id, mut next) = (None, 1);
        let mut segments = VecDeque::new();
        for path in paths(folder).map_err(failed("listing its folder"))? {
            let bytes = fs::read(&path).map_err(failed("reading it"))?;
            let (header, last) = read_segment(&path, &bytes, id, &mut held)?;
            id = Some(header.journal);
            next = next.max(header.first).max(last + 1);
            segments.push_back(Segment { path, last, bytes: bytes.len() });
        }
        let id = match id {
            Some(id) => id,
            None => {
                let mut id = JournalId::default();
                let refused = |why: random::RandomError| failed("drawing its name")(io::Error::other(why));
                random::fill(&mut id).map_err(refused)?;
                id
            }
        };
        // Never so large that what is applied could not make room.
        let segment_bytes = (bytes_max / SEGMENTS_MIN).max(SEGMENT_BYTES_MIN).min(bytes_max / 2);
        let folder = folder.to_owned();
        let mut journal = Self { folder, id, next, segments, open: None, segment_bytes, _lock: lock };
        // What is appended never follows a torn end.
        let folder = journal.folder.clone();
        journal.begin_segment().map_err(|why| JournalError::Disk {
            path: folder,
            doing: "beginning a segment",
            why,
        })?;
        Ok((journal, held))
    }

    pub(super) const fn id(&self) -> JournalId {
        self.id
    }

    /// Sequences begin beyond this one: the source has been told so far.
    pub(super) fn skip_to(&mut self, applied: u64) {
        self.next = self.next.max(applied.saturating_add(1));
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> usize {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Makes records durable; the sequence of the first. After an error nobody knows whether they are.
    pub(super) fn append(&mut self, records: &[Record]) -> io::Result<u64> {
        let first = self.next;
        let frame = encode_frame(&self.id, first, records);
        if frame.len() > FRAME_BYTES_MAX {
            return Err(io::Error::other("a frame larger than any is"));
        }
        let full = self.segments.back().is_none_or(|last| last.bytes + frame.len() > self.segment_bytes);
        let empty = self.segments.back().is_some_and(|last| last.bytes <= HEADER_BYTES);
        if self.open.is_none() || (full && !empty) {
            self.begin_segment()?;
        }
        // Whatever becomes of these numbers, they are used.
        self.next += records.len() as u64;
        let last = self.next - 1;
        let Some(file) = &mut self.open else { return Err(io::Error::other("no segment is open")) };
        let written = file.write_all(&frame).and_then(|()| file.sync_data());
        if let Some(segment) = self.segments.back_mut() {
            segment.bytes += frame.len();
            segment.last = last;
        }
        if let Err(error) = written {
            // What the system has lost of a file after a failure it does not tell a second time.
            self.open = None;
            return Err(error);
        }
        Ok(first)
    }

    /// Everything through `sequence` is in the source: segments that hold nothing else are removed.
    pub(super) fn applied(&mut self, sequence: u64) -> io::Result<()> {
        let idle = self.next <= sequence.saturating_add(1);
        if idle && self.segments.back().is_some_and(|last| last.bytes > self.segment_bytes / 2) {
            self.begin_segment()?;
        }
        while self.segments.len() > 1 && self.segments.front().is_some_and(|oldest| oldest.last <= sequence) {
            if let Some(oldest) = self.segments.front() {
                fs::remove_file(&oldest.path)?;
            }
            self.segments.pop_front();
        }
        Ok(())
    }

    /// Begins a segment, whole from the start: its name appears once its header is durable. There is always one, so that the
    /// journal's name and numbers outlast what it held.
    fn begin_segment(&mut self) -> io::Result<()> {
        self.open = None;
        let path = self.folder.join(format!("{:020}.{EXTENSION}", self.next));
        let new = self.folder.join("new");
        let mut file = File::create(&new)?;
        file.write_all(&encode_header(&SegmentHeader { journal: self.id, first: self.next }))?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(&self.folder)?.sync_all()?;
        self.segments.retain(|segment| segment.path != path);
        self.segments.push_back(Segment { path, last: self.next - 1, bytes: HEADER_BYTES });
        self.open = Some(file);
        Ok(())
    }
}

/// The segments of a folder, oldest first.
fn paths(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Reads a segment's records into `held`; its header, and the highest sequence in it.
fn read_segment(
    path: &Path,
    bytes: &[u8],
    journal: Option<JournalId>,
    held: &mut Held,
) -> Result<(SegmentHeader, u64), JournalError> {
    let (header, mut rest) =
        decode_header(bytes).map_err(|why| JournalError::Segment { path: path.to_owned(), why })?;
    if journal.is_some_and(|journal| journal != header.journal) {
        return Err(JournalError::Foreign { path: path.to_owned() });
    }
    let mut last = header.first.saturating_sub(1);
    while let Some(frame) = decode_frame(&header.journal, rest) {
        let sequences = frame.first..;
        last = last.max((frame.first + frame.records.len() as u64).saturating_sub(1));
        held.records.extend(sequences.zip(frame.records));
        rest = rest.get(frame.bytes..).unwrap_or_default();
    }
    if has_frame_after(&header.journal, rest, last) {
        return Err(JournalError::Damaged { path: path.to_owned(), at: bytes.len() - rest.len() });
    }
    held.torn_bytes += rest.len();
    Ok((header, last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::{Row, RowChange};

    const BYTES_MAX: usize = 1 << 20;

    fn folder(name: &str) -> PathBuf {
        let mut path = std::env::temp_dir();
        path.push(format!("trueup-journal-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    fn record(key: &str) -> Record {
        let row = Row::parse(br#"{"n":1}"#).unwrap();
        Record { class: "c".into(), key: key.into(), change: RowChange::Put(row) }
    }

    fn keys(held: &Held) -> Vec<(u64, &str)> {
        held.records.iter().map(|(sequence, record)| (*sequence, record.key.as_str())).collect()
    }

    fn segment(folder: &Path) -> PathBuf {
        paths(folder).unwrap().into_iter().rfind(|path| fs::metadata(path).unwrap().len() > 60).unwrap()
    }

    #[test]
    fn what_was_appended_is_there_after_a_restart_and_numbers_go_on() {
        let folder = folder("restart");
        let (mut journal, held) = Journal::open(&folder, BYTES_MAX).unwrap();
        assert!(held.records.is_empty());
        assert_eq!(journal.append(&[record("a"), record("b")]).unwrap(), 1);
        assert!(matches!(Journal::open(&folder, BYTES_MAX), Err(JournalError::InUse { .. })));
        let id = journal.id();
        drop(journal);
        let (mut journal, held) = Journal::open(&folder, BYTES_MAX).unwrap();
        assert_eq!((journal.id(), keys(&held)), (id, vec![(1, "a"), (2, "b")]));
        assert_eq!(journal.append(&[record("c")]).unwrap(), 3);
        journal.applied(3).unwrap();
        drop(journal);
        let (mut journal, _) = Journal::open(&folder, BYTES_MAX).unwrap();
        journal.applied(3).unwrap();
        assert_eq!((journal.id(), journal.next), (id, 4), "name and numbers outlast what was held");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_torn_end_is_nobodys_and_damage_before_whole_writes_is_told() {
        let folder = folder("torn");
        let (mut journal, _) = Journal::open(&folder, BYTES_MAX).unwrap();
        journal.append(&[record("a")]).unwrap();
        journal.append(&[record("b")]).unwrap();
        drop(journal);
        let path = segment(&folder);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        let (journal, held) = Journal::open(&folder, BYTES_MAX).unwrap();
        assert_eq!(keys(&held), [(1, "a")]);
        assert!(held.torn_bytes > 0);
        drop(journal);
        let mut damaged = whole;
        damaged[HEADER_BYTES + 20] ^= 1;
        fs::write(&path, &damaged).unwrap();
        let refused = Journal::open(&folder, BYTES_MAX).err().unwrap();
        assert!(matches!(refused, JournalError::Damaged { at: HEADER_BYTES, .. }), "{refused}");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_is_applied_makes_room() {
        let folder = folder("room");
        let (mut journal, _) = Journal::open(&folder, 8 * SEGMENT_BYTES_MIN).unwrap();
        let large = record(&"k".repeat(SEGMENT_BYTES_MIN / 3));
        let last = (0..20).map(|_| journal.append(std::slice::from_ref(&large)).unwrap()).last().unwrap();
        let full = journal.bytes();
        assert!(full > 6 * SEGMENT_BYTES_MIN);
        journal.applied(last / 2).unwrap();
        let half = journal.bytes();
        assert!(half < full * 2 / 3, "{half} of {full}");
        journal.applied(last).unwrap();
        assert!(journal.bytes() <= HEADER_BYTES, "{}", journal.bytes());
        fs::remove_dir_all(folder).unwrap();
    }
}
