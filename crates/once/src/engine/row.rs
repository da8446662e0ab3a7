//! A key's row as it is read.

use super::held::{Held, KeyId, Point};
use crate::{
    error::OnceError,
    key::{Fingerprint, StoredResponse},
    store::Row,
};

/// The columns of [`KeyRow::read`]. Without the table's name, which SQLite does not know in RETURNING.
pub(super) const COLUMNS: &str = "id, fingerprint, recovery_point, fence, lease_until_ms, attempts, location, \
     asynchronous, recovery_data, review_reason, response_status, response_headers, response_body, \
     created_ms, principal, {now}";

pub(super) struct KeyRow {
    pub(super) held: Held,
    pub(super) fingerprint: Fingerprint,
    pub(super) lease_until_ms: i64,
    pub(super) in_review: bool,
    pub(super) response: Option<StoredResponse>,
    pub(super) now_ms: i64,
}

impl KeyRow {
    pub(super) fn read(row: &Row) -> Result<Self, OnceError> {
        let response = match row.opt_int(10)? {
            None => None,
            Some(status) => Some(StoredResponse::stored(
                status,
                row.opt_bytes(11)?.unwrap_or_default(),
                row.opt_bytes(12)?.unwrap_or_default(),
            )?),
        };
        let held = Held {
            id: KeyId(row.int(0)?),
            fence: row.int(3)?,
            point: Point::stored(row.text(2)?),
            principal: row.text(14)?.to_owned(),
            attempts: u32::try_from(row.int(5)?).unwrap_or(u32::MAX),
            location: row.opt_text(6)?.map(str::to_owned),
            asynchronous: row.flag(7)?,
            data: row.opt_bytes(8)?.map(<[u8]>::to_vec),
            created_ms: row.int(13)?,
        };
        Ok(Self {
            held,
            fingerprint: Fingerprint::stored(row.bytes(1)?)?,
            lease_until_ms: row.int(4)?,
            in_review: row.opt_text(9)?.is_some(),
            response,
            now_ms: row.int(15)?,
        })
    }

    pub(super) fn is_finished(&self) -> bool {
        self.held.point == Point::FINISHED
    }
}
