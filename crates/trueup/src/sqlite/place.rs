//! Where a process has left the log, and whether the log still goes on from there in a later one.
//!
//! Each row of the log has a random nonce. Where the row of a position still has its own, everything that the log says up to there is
//! what it said then: an older copy of the file does not have that row, and one that has grown past it since has another one under
//! that number. Where the schema has the version that it had, no trigger was taken away in between, so the rows behind it are all
//! changes since. The feed's name may have moved: it says who vouches for whom, and nothing about this file's own past.

use rusqlite::Connection;
use trueup_core::{
    entry::EpochId,
    proof::{Position, SavedPlace},
};

use super::{
    feed::nonce_at,
    handle::{READ_LOCK_WAIT, Sqlite},
    state::State,
};

/// Feed, version of the schema, nonce of the row.
const EVIDENCE_BYTES: usize = 3 * 8;

/// Where an earlier process has left the log.
pub(super) struct Left {
    /// The epoch in which it was then.
    pub(super) of: EpochId,
    pub(super) seq: i64,
    pub(super) nonce: i64,
}

/// The first of `places` from which the log that `tx` sees certainly goes on.
pub(super) fn find(tx: &Connection, state: &State, places: &[SavedPlace]) -> rusqlite::Result<Option<Left>> {
    for place in places {
        let Ok(evidence) = <&[u8; EVIDENCE_BYTES]>::try_from(&*place.evidence) else { continue };
        let seq = place.position.0.cast_signed();
        let [Some(system_id), Some(schema_version), Some(nonce)] = numbers(evidence) else { continue };
        let is_same = (system_id, schema_version) == (state.name.system_id, state.schema_version);
        if is_same && seq <= state.seq && nonce_at(tx, seq)? == Some(nonce) {
            return Ok(Some(Left { of: place.epoch, seq, nonce }));
        }
    }
    Ok(None)
}

fn numbers(evidence: &[u8; EVIDENCE_BYTES]) -> [Option<i64>; 3] {
    let (each, _) = evidence.as_chunks::<8>();
    std::array::from_fn(|index| each.get(index).map(|bytes| i64::from_le_bytes(*bytes)))
}

impl Sqlite {
    /// What tells the row at `position` from every other one; none where the log has another name by now.
    pub(super) fn evidence(&self, epoch: EpochId, position: Position) -> Option<Box<[u8]>> {
        let shared = &self.shared;
        let read = shared.read(&shared.readers, READ_LOCK_WAIT, |conn, state| {
            let nonce = nonce_at(conn, position.0.cast_signed())?;
            Ok((state.name.epoch(state.schema_version), state.name.system_id, state.schema_version, nonce))
        });
        let ((now, system_id, schema_version, nonce), _) = read.ok()?;
        let nonce = nonce.filter(|_| now == epoch)?;
        Some([system_id, schema_version, nonce].iter().flat_map(|number| number.to_le_bytes()).collect())
    }
}
