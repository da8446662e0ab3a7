//! What a node knows, on disk.

use std::{collections::VecDeque, io, path::Path};

use parking_lot::Mutex;
use trueup_core::proof::{BadSave, Position, SavedLedger};

use crate::{postgres::identity::Instance, state_file};

/// The file in the state folder.
const FILE: &str = "ledger";
/// Begins the file; the digit is the version.
const MAGIC: &[u8; 8] = b"trueupS2";
/// Most ends of records that are remembered; beyond, every second one is forgotten.
const ENDS_MAX: usize = 1 << 16;

/// A saved ledger; the heartbeat that had been seen: a database whose counter is lower was restored from an older copy; and the
/// start of the server whose log it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Saved {
    pub(super) beat: u64,
    pub(super) instance: Instance,
    pub(super) ledger: SavedLedger,
}

impl Saved {
    fn encode(&self) -> Vec<u8> {
        let ledger = self.ledger.encode();
        let mut bytes = Vec::with_capacity(MAGIC.len() + 8 + 8 + ledger.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.beat.to_le_bytes());
        bytes.extend_from_slice(&self.instance.0.to_le_bytes());
        bytes.extend_from_slice(&ledger);
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, BadSave> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(BadSave::Malformed)?;
        let (beat, rest) = rest.split_first_chunk::<8>().ok_or(BadSave::Malformed)?;
        let (instance, rest) = rest.split_first_chunk::<8>().ok_or(BadSave::Malformed)?;
        let instance = Instance(i64::from_le_bytes(*instance));
        Ok(Self { beat: u64::from_le_bytes(*beat), instance, ledger: SavedLedger::decode(rest)? })
    }

    /// Writes it so that either the old or the new one is there whatever happens. Blocks.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        state_file::write(folder, FILE, &self.encode())
    }

    /// What was written last, if it can be read. Blocks.
    pub(super) fn read(folder: &Path) -> io::Result<Option<Self>> {
        let Some(bytes) = state_file::read(folder, FILE)? else { return Ok(None) };
        Self::decode(&bytes).map(Some).map_err(|bad| io::Error::new(io::ErrorKind::InvalidData, bad))
    }
}

/// Ends of records of the log, up to which the slot can be confirmed.
///
/// A floor may lie within the commit record of a change that is not visible yet; a slot that is confirmed to there would
/// never tell it again.
#[derive(Default)]
pub(super) struct Ends(Mutex<VecDeque<Position>>);

impl Ends {
    pub(super) fn push(&self, end: Position) {
        let mut ends = self.0.lock();
        if ends.back().is_none_or(|last| *last < end) {
            ends.push_back(end);
        }
        if ends.len() > ENDS_MAX {
            let mut keep = false;
            ends.retain(|_| {
                keep = !keep;
                keep
            });
        }
    }

    /// The highest end at or below `floor`; those below it are forgotten.
    pub(super) fn at_or_below(&self, floor: Position) -> Option<Position> {
        let mut ends = self.0.lock();
        let below = ends.partition_point(|end| *end <= floor);
        ends.drain(..below.saturating_sub(1));
        ends.front().copied().filter(|end| *end <= floor)
    }
}
