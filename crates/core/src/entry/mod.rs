//! Entries as bytes: the envelope that carries the proof, the keys that seal it, and the codec of values.
//!
//! `docs/format.md` shows the envelope byte by byte.

mod aead;
mod codec;
mod compress;
mod decode;
mod epoch_id;
mod error;
mod hex;
mod keys;
mod layout;
mod seal;
mod secret;

pub use codec::{CacheValue, CodecError, Raw};
pub use compress::{COMPRESS_FROM_BYTES, compress};
pub use decode::{EnvelopeRef, Expected, Tags};
pub use epoch_id::{EpochId, EpochIdParseError, EpochParts};
pub use error::{EncodeError, EnvelopeError};
pub use keys::{KeyId, KeyRing, KeyRingError, MacKey};
pub use layout::{ENCRYPTED_OVERHEAD_BYTES, ENVELOPE_OVERHEAD_BYTES, Header, LIFE_UNBOUNDED_MS, order};
pub use seal::{Body, Envelope};
pub use secret::{Secret, SecretError};
