//! How a class's values become bytes and come back.

use std::{any::type_name, fmt, io, ops::Deref};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

/// A value that can be cached.
///
/// Every type that derives serde's `Serialize` and `Deserialize` is one already, stored as JSON. Bytes that are
/// encoded already are [`Raw`]. A type that wants another encoding implements this trait and not serde's (wrap it
/// in a newtype if need be).
///
/// JSON cannot tell some values apart: `Some(NaN)` and `Some(())` come back as `None`. A type that holds such
/// values needs its own encoding.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be cached",
    note = "derive serde's `Serialize` and `Deserialize` for it (it must be `Send + Sync + 'static`)",
    note = "for bytes that are encoded already, use `trueup::Raw`"
)]
pub trait CacheValue: Sized + Send + Sync + 'static {
    /// Appends the value's bytes to `out`.
    ///
    /// # Errors
    /// [`CodecError`] if this value has no encoding; what was appended is then to be thrown away.
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), CodecError>;

    /// The value's bytes. A type that holds them already need not copy them.
    ///
    /// # Errors
    /// Those of [`encode`](Self::encode).
    fn to_bytes(&self) -> Result<Bytes, CodecError> {
        let mut out = Vec::new();
        self.encode(&mut out)?;
        Ok(out.into())
    }

    /// Reads what [`encode`](Self::encode) wrote. `bytes` is shared so that a value may keep a slice of it.
    ///
    /// # Errors
    /// [`CodecError`] if the bytes are not such a value (written by an older form of the type): a miss.
    fn decode(bytes: &Bytes) -> Result<Self, CodecError>;

    /// About how many bytes of memory the value takes. May cost as much as encoding: ask once per value stored.
    fn weight(&self) -> usize;
}

/// A value that could not be encoded or decoded. Never shows the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The value has no encoding.
    #[error("a `{type_name}` can't be encoded: {reason}; give it a codec of its own (`CacheValue`)")]
    Encode {
        /// The value's type.
        type_name: &'static str,
        /// Why, without a word of the value.
        reason: String,
    },
    /// The bytes are not such a value.
    #[error("the stored bytes are no `{type_name}`: {reason}")]
    Decode {
        /// The expected type.
        type_name: &'static str,
        /// Why, without a word of the bytes.
        reason: String,
    },
}

impl CodecError {
    /// `T` can't be encoded because of `reason`, which must not show the value.
    pub fn encode<T>(reason: impl Into<String>) -> Self {
        Self::Encode { type_name: type_name::<T>(), reason: reason.into() }
    }

    /// The bytes are no `T` because of `reason`, which must not show them.
    pub fn decode<T>(reason: impl Into<String>) -> Self {
        Self::Decode { type_name: type_name::<T>(), reason: reason.into() }
    }
}

/// What went wrong, by kind and place: serde's own messages quote the value.
fn without_value(error: &serde_json::Error) -> String {
    use serde_json::error::Category;
    let kind = match error.classify() {
        Category::Io => "it could not be written",
        Category::Syntax => "the JSON is not well formed",
        Category::Data => "the JSON has another shape",
        Category::Eof => "the JSON ends early",
    };
    match (error.line(), error.column()) {
        (0, _) => kind.to_owned(),
        (line, column) => format!("{kind} (line {line}, column {column})"),
    }
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> CacheValue for T {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        // Outside of I/O, which a Vec has none of, serializing fails on what JSON can't say (a map's key that is
        // no text) or by the type's own word, which may quote the value.
        serde_json::to_writer(out, self)
            .map_err(|_| CodecError::encode::<T>("JSON can't say it, or the type's own serializer refused"))
    }

    fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        serde_json::from_slice(bytes).map_err(|error| CodecError::decode::<T>(without_value(&error)))
    }

    /// The value's own size and the length of its JSON, which stands for what it holds on the heap.
    fn weight(&self) -> usize {
        let mut length = Length(0);
        // A value that can't be encoded weighs what was counted until then.
        let _ = serde_json::to_writer(&mut length, self);
        size_of::<T>() + length.0
    }
}

/// Counts the bytes written and keeps none.
struct Length(usize);

impl io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes stored as they are: a row already in JSON, an image, another program's encoding.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Raw(pub Bytes);

impl fmt::Debug for Raw {
    /// Shows the length alone: values never reach logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Raw({} bytes)", self.0.len())
    }
}

impl CacheValue for Raw {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        out.extend_from_slice(&self.0);
        Ok(())
    }

    fn to_bytes(&self) -> Result<Bytes, CodecError> {
        Ok(self.0.clone())
    }

    /// Keeps a reference to `bytes`: nothing is copied.
    fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        Ok(Self(bytes.clone()))
    }

    fn weight(&self) -> usize {
        size_of::<Self>() + self.0.len()
    }
}

impl From<Bytes> for Raw {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl From<Raw> for Bytes {
    fn from(raw: Raw) -> Self {
        raw.0
    }
}

impl Deref for Raw {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct User {
        id: u64,
        name: String,
        balance: Option<f64>,
    }

    fn encoded(value: &impl CacheValue) -> Bytes {
        let mut out = Vec::new();
        value.encode(&mut out).unwrap();
        assert_eq!(value.to_bytes().unwrap(), out);
        out.into()
    }

    #[test]
    fn a_serde_type_needs_nothing_more() {
        let user = User { id: 7, name: "Ada".into(), balance: Some(0.1) };
        let bytes = encoded(&user);
        assert_eq!(&*bytes, br#"{"id":7,"name":"Ada","balance":0.1}"#);
        assert_eq!(User::decode(&bytes).unwrap(), user);
        assert_eq!(user.weight(), size_of::<User>() + bytes.len());
    }

    #[test]
    fn raw_bytes_are_kept_without_copying() {
        let stored = Bytes::from_static(b"{\"a\": 1 }\xff");
        let raw = Raw::decode(&stored).unwrap();
        assert_eq!(raw.as_ptr(), stored.as_ptr());
        assert_eq!(encoded(&raw), stored);
        assert_eq!(raw.to_bytes().unwrap().as_ptr(), stored.as_ptr());
        assert_eq!(raw.weight(), size_of::<Raw>() + stored.len());
        assert_eq!(format!("{raw:?}"), "Raw(10 bytes)");
    }

    #[test]
    fn errors_name_the_type_and_never_show_the_value() {
        for bad in [r#"{"id":"hunter2"}"#, r#"{"id":7,"hunter2"#, "hunter2"] {
            let error = User::decode(&Bytes::from(bad)).unwrap_err().to_string();
            assert!(error.contains("User") && error.contains("line 1"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        let unspeakable = HashMap::from([(Some(vec![1]), "hunter2".to_owned())]);
        let error = unspeakable.encode(&mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains("HashMap") && !error.contains("hunter2"), "{error}");
        assert_eq!(unspeakable.to_bytes().unwrap_err().to_string(), error);
        assert!(unspeakable.weight() >= size_of_val(&unspeakable));
    }

    #[test]
    fn trailing_bytes_are_refused() {
        assert!(u64::decode(&Bytes::from_static(b"7 8")).is_err());
    }

    proptest! {
        #[test]
        fn what_is_stored_comes_back_to_the_last_bit(
            id: u64,
            name: String,
            balance in prop::option::of(prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO),
        ) {
            let user = User { id, name, balance };
            let back = User::decode(&encoded(&user)).unwrap();
            prop_assert_eq!(back.balance.map(f64::to_bits), user.balance.map(f64::to_bits));
            prop_assert_eq!(back, user);
        }
    }
}
