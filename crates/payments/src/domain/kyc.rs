//! Whether a person's identity is known.

use serde::{Deserialize, Serialize};

use super::{Id, account::stored_as};

/// How far the check of a person's identity has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KycStatus {
    /// Papers are awaited or being checked.
    Pending,
    /// The person is who they say.
    Verified,
    /// The check failed.
    Rejected,
}

stored_as!(KycStatus: Pending = "pending", Verified = "verified", Rejected = "rejected");

/// A person's status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kyc {
    /// The person.
    pub person: Id,
    /// The tenant.
    pub tenant: String,
    /// The status.
    pub status: KycStatus,
    /// Counts its changes.
    pub version: i64,
}
