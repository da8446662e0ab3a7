//! The remote tier (L2): a store of envelopes shared by nodes, behind a trait.
//!
//! Nothing here is trusted. A remote tier may lose, delay, roll back or corrupt what it was given, or answer with
//! something it was never given; the envelope's code and proof turn all of that into a miss. An implementation owes
//! its caller three things only: an answer within its deadline, one result per key in the order asked, and a named error
//! instead of a panic.

use std::{fmt, time::Duration};

use bytes::Bytes;
use compact_str::CompactString;

use super::FillLocks;
use crate::env::BoxFuture;

/// First part of every key that is written to a shared store.
const KEY_PREFIX: &str = "trueup";

/// Where an envelope is kept: the class and the SHA-256 of the canonical key.
///
/// Printed as `trueup:<class>:<64 lower-case hex digits>`: printable, of bounded length however long the key was, the
/// digest as `sha256sum` shows it, and a class can be listed by its prefix. Class names hold no brace, so Redis Cluster
/// finds no hash tag and spreads a class over all slots.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RemoteKey {
    class: CompactString,
    digest: [u8; 32],
}

impl RemoteKey {
    /// The place of the key with this SHA-256 `digest` in `class`.
    #[must_use]
    pub fn new(class: &str, digest: [u8; 32]) -> Self {
        Self { class: CompactString::new(class), digest }
    }

    /// The class.
    #[must_use]
    pub fn class(&self) -> &str {
        &self.class
    }

    /// SHA-256 of the canonical key.
    #[must_use]
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The name under which a store keeps it: what is printed, in one piece. This is on the way of every read that memory
    /// cannot answer.
    #[must_use]
    pub fn name(&self) -> CompactString {
        let hex = self.hex();
        let mut name = CompactString::with_capacity(KEY_PREFIX.len() + self.class.len() + hex.len() + 2);
        for part in [KEY_PREFIX, ":", &self.class, ":", std::str::from_utf8(&hex).unwrap_or_default()] {
            name.push_str(part);
        }
        name
    }

    fn hex(&self) -> [u8; 64] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = [0; 64];
        for (pair, byte) in hex.as_chunks_mut::<2>().0.iter_mut().zip(self.digest) {
            *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
        }
        hex
    }
}

impl fmt::Display for RemoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = self.hex();
        write!(f, "{KEY_PREFIX}:{}:{}", self.class, std::str::from_utf8(&hex).unwrap_or_default())
    }
}

impl fmt::Debug for RemoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteKey({self})")
    }
}

/// One envelope to be stored.
#[derive(Clone, Debug)]
pub struct RemotePut {
    /// Where.
    pub key: RemoteKey,
    /// The envelope, opaque to the tier.
    pub envelope: Bytes,
    /// After this time the tier may forget it; it may do so earlier, or later.
    pub life: Duration,
    /// How long ago the load began that brought it: the longer, the likelier that a newer one lies there by now.
    pub age: Duration,
}

/// Why a remote tier has no answer. None of these says anything about the value: the caller goes on to the source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// No answer within the caller's deadline. A write may have happened.
    #[error("remote tier {endpoint}: no answer to {operation} within {after:?}; it may have happened")]
    Timeout {
        /// What was asked.
        operation: RemoteOperation,
        /// Of whom: an address, without credentials.
        endpoint: CompactString,
        /// The deadline that passed.
        after: Duration,
    },
    /// Not connected, or refused at the door. Nothing has happened.
    #[error(
        "remote tier {endpoint} can't be reached for {operation}: {reason}; check that it is up and reachable"
    )]
    Unavailable {
        /// What was asked.
        operation: RemoteOperation,
        /// Of whom: an address, without credentials.
        endpoint: CompactString,
        /// In the words of the system or library.
        reason: CompactString,
    },
    /// The envelope is larger than the tier takes or gives.
    #[error("remote tier {endpoint}: {operation} of {bytes} bytes exceeds its limit of {limit_bytes} bytes")]
    TooLarge {
        /// What was asked.
        operation: RemoteOperation,
        /// Of whom: an address, without credentials.
        endpoint: CompactString,
        /// Size of the envelope.
        bytes: usize,
        /// The most that is handled.
        limit_bytes: usize,
    },
    /// The tier understood and declined: read-only, out of memory, no permission.
    #[error("remote tier {endpoint} refused {operation}: {reason}")]
    Refused {
        /// What was asked.
        operation: RemoteOperation,
        /// Of whom: an address, without credentials.
        endpoint: CompactString,
        /// In the words of the tier.
        reason: CompactString,
    },
    /// An answer that makes no sense. The connection can't be used further.
    #[error(
        "remote tier {endpoint} answered {operation} with nonsense: {reason}; check that it is the right kind of server"
    )]
    Protocol {
        /// What was asked.
        operation: RemoteOperation,
        /// Of whom: an address, without credentials.
        endpoint: CompactString,
        /// What was wrong.
        reason: CompactString,
    },
}

impl RemoteError {
    /// The kind as a metric label.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Timeout { .. } => "timeout",
            Self::Unavailable { .. } => "unavailable",
            Self::TooLarge { .. } => "too_large",
            Self::Refused { .. } => "refused",
            Self::Protocol { .. } => "protocol",
        }
    }
}

/// An operation of [`RemoteTier`], for errors and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RemoteOperation {
    /// [`RemoteTier::get`] or one key of [`RemoteTier::get_many`].
    Get,
    /// [`RemoteTier::put`] or one envelope of [`RemoteTier::put_many`].
    Put,
    /// [`RemoteTier::delete`].
    Delete,
    /// Any of [`FillLocks`].
    Lock,
}

impl fmt::Display for RemoteOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::Lock => "lock",
        })
    }
}

/// One server of a remote tier, as its node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteServer {
    /// Its address, without credentials.
    pub endpoint: CompactString,
    /// Why it is left alone at the moment; none while it is used.
    pub left_alone: Option<CompactString>,
    /// What it has said of its memory lately.
    pub memory: Option<RemoteMemory>,
}

/// What a server of a remote tier says of its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteMemory {
    /// In use, in bytes.
    pub used_bytes: u64,
    /// The most that it may use, in bytes; 0: no bound.
    pub max_bytes: u64,
}

impl RemoteMemory {
    /// Share of the bound that is used; none without a bound.
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        (self.max_bytes > 0).then(|| self.used_bytes as f64 / self.max_bytes as f64)
    }
}

/// Where a remote tier keeps a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemotePlace {
    /// The hash slot, where the tier has such.
    pub slot: Option<u16>,
    /// Address of the server that holds it, as far as is known.
    pub endpoint: Option<CompactString>,
}

/// Outcome of one operation on one key.
pub type RemoteResult<T> = Result<T, RemoteError>;

/// A shared store of envelopes that is not trusted.
///
/// Cancelling a returned future abandons the answer; a write may still happen. Deadlines, retries and breakers of the
/// transport belong to the implementation: a call ends, one way or the other.
pub trait RemoteTier: fmt::Debug + Send + Sync + 'static {
    /// The envelope under `key`, if there seems to be one.
    fn get<'a>(&'a self, key: &'a RemoteKey) -> BoxFuture<'a, RemoteResult<Option<Bytes>>>;

    /// One outcome per key, in the order of `keys`. Where keys live on several servers, the failure of one is the
    /// outcome of its own keys alone.
    fn get_many<'a>(&'a self, keys: &'a [RemoteKey]) -> BoxFuture<'a, Vec<RemoteResult<Option<Bytes>>>>;

    /// Stores an envelope, in place of an older one.
    fn put(&self, put: RemotePut) -> BoxFuture<'_, RemoteResult<()>>;

    /// Stores several envelopes, each or none for itself: one outcome per envelope, in the order given.
    fn put_many(&self, puts: Vec<RemotePut>) -> BoxFuture<'_, Vec<RemoteResult<()>>>;

    /// Forgets `key`, to free the space after an explicit invalidation. Correctness never depends on it.
    fn delete<'a>(&'a self, key: &'a RemoteKey) -> BoxFuture<'a, RemoteResult<()>>;

    /// The locks by which nodes agree who loads a key; none where the store has none.
    fn locks(&self) -> Option<&dyn FillLocks> {
        None
    }

    /// The servers that the tier uses, and which of them are left alone. None by default: there are none to tell of.
    fn servers(&self) -> Vec<RemoteServer> {
        Vec::new()
    }

    /// Where `key` is kept, for people who ask why.
    fn place(&self, key: &RemoteKey) -> RemotePlace {
        let _ = key;
        RemotePlace { slot: None, endpoint: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_key_is_fixed() {
        let mut digest = [0; 32];
        (digest[0], digest[31]) = (0xab, 0x01);
        let key = RemoteKey::new("products", digest);
        let zeros = "0".repeat(60);
        assert_eq!(key.to_string(), format!("trueup:products:ab{zeros}01"));
        assert_eq!(key.name(), key.to_string());
        assert_ne!(key, RemoteKey::new("prices", digest));
    }
}
