//! The pieces that keys' texts are taken apart into and put together from.

use std::{
    borrow::Cow,
    fmt::{self, Write},
};

use compact_str::CompactString;

use super::{
    super::{
        CacheKey, ColumnForm, KeyError, MalformedValue, SqlValue,
        escape::{self, Escaped, Place},
    },
    Part,
};
use crate::limits::KEY_BYTES_MAX;

/// Collects canonical text up to the limit.
#[derive(Default)]
pub(super) struct Canonical(pub(super) CompactString);

impl Write for Canonical {
    #[inline]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > KEY_BYTES_MAX {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

pub(super) const TOO_LONG: KeyError = KeyError::TooLong { bytes_max: KEY_BYTES_MAX };

pub(super) fn refused(name: &str, why: MalformedValue) -> KeyError {
    match why {
        MalformedValue::WrongType { expected } => KeyError::WrongType { part: name.into(), expected },
        MalformedValue::BadMark => KeyError::BadMark { part: name.into() },
        MalformedValue::BadEncoding => KeyError::BadEncoding,
        MalformedValue::Sink => TOO_LONG,
    }
}

pub(super) fn borrowed<T: AsRef<str>>((name, value): &(T, T)) -> (&str, &str) {
    (name.as_ref(), value.as_ref())
}

/// A body without text is no part where none is declared, else one empty part.
pub(super) fn count_parts(parts: &[Part], body: &str) -> usize {
    if parts.is_empty() && body.is_empty() { 0 } else { body.split(',').count() }
}

pub(super) fn check_arity(given: usize, expected: usize) -> Result<(), KeyError> {
    if given == expected { Ok(()) } else { Err(KeyError::WrongArity { given, expected }) }
}

/// Splits the text into what stands between `@` and `:`, and the rest.
pub(super) fn split_scope(text: &str) -> Result<(&str, &str), KeyError> {
    match text.strip_prefix('@') {
        None => Ok(("", text)),
        Some(rest) => rest.split_once(':').ok_or(KeyError::UnclosedScope),
    }
}

/// Names, decoded, and values, still encoded.
pub(super) fn scope_pairs(scope: &str) -> Result<Vec<(Cow<'_, str>, &str)>, KeyError> {
    let pieces = scope.split('&').filter(|piece| !piece.is_empty());
    pieces
        .map(|piece| piece.split_once('=').unwrap_or((piece, "")))
        .map(|(name, raw)| Ok((escape::decode(name)?, raw)))
        .collect()
}

#[inline]
pub(super) fn write_part(
    out: &mut Canonical,
    index: usize,
    part: &Part,
    write: impl FnOnce(&mut Canonical) -> Result<(), MalformedValue>,
) -> Result<(), KeyError> {
    if index > 0 {
        out.write_char(',').map_err(|_| TOO_LONG)?;
    }
    write(out).map_err(|why| refused(&part.name, why))
}

pub(super) fn write_parameters(out: &mut Canonical, pairs: &[(String, String)]) -> Result<(), KeyError> {
    let mut write = || {
        for (index, (name, value)) in pairs.iter().enumerate() {
            out.write_str(if index == 0 { "" } else { "&" })?;
            Escaped::new(out, Place::Body).write_str(name)?;
            out.write_char('=')?;
            Escaped::new(out, Place::Body).write_str(value)?;
        }
        Ok(())
    };
    write().map_err(|_: fmt::Error| TOO_LONG)
}

/// The parameters of a typed key as text; absent ones are skipped.
pub(super) fn typed_pairs<K: CacheKey + ?Sized>(key: &K) -> Result<Vec<(String, String)>, KeyError> {
    let mut pairs = Vec::new();
    let mut failed = None;
    key.parameters(&mut |name, value| {
        let text = match value {
            SqlValue::Null => return,
            SqlValue::Text(text) => text.to_owned(),
            value => {
                let mut text = String::new();
                if let Err(why) = ColumnForm::Opaque.canonical(value, &mut text) {
                    failed = Some(refused(name, why));
                }
                text
            }
        };
        pairs.push((name.to_owned(), text));
    });
    failed.map_or(Ok(pairs), Err)
}
