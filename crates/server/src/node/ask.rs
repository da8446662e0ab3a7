//! From a client's words to a class and a key.

use std::sync::Arc;

use trueup::catalog::{CatalogClass, UnknownClass};
use trueup_core::{
    error::ReadError,
    key::{Key, KeyError, split_class},
    proof::{BadToken, Token},
    source::LoadError,
};

use super::Node;

/// Most keys of one request.
pub const KEYS_PER_READ_MAX: usize = 10_000;

/// A request that cannot be answered. Its text names classes, parts and limits, never what the client sent.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AskError {
    /// Bytes that are no text.
    #[error("the key is not UTF-8: percent-encode other bytes, or write them as `!xHEX`")]
    NotText,
    /// No class in front of the key.
    #[error("the key names no class: write CLASS:KEY, such as `user:42`")]
    NoClass,
    /// No such class.
    #[error(transparent)]
    UnknownClass(#[from] UnknownClass),
    /// The key is not one of its class.
    #[error("class `{class}`: {why}")]
    Key {
        /// The class.
        class: String,
        /// What is wrong with the key.
        why: KeyError,
    },
    /// Too many keys at once.
    #[error("{given} keys at once, at most {KEYS_PER_READ_MAX}: ask for them in several requests")]
    TooManyKeys {
        /// How many were given.
        given: usize,
    },
    /// The token is none.
    #[error(transparent)]
    Token(#[from] BadToken),
    /// The read failed.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<LoadError> for AskError {
    fn from(error: LoadError) -> Self {
        Self::Read(error.into())
    }
}

impl AskError {
    /// The error of a key of `class`.
    #[must_use]
    pub fn key(class: &CatalogClass, why: KeyError) -> Self {
        Self::Key { class: class.name().to_string(), why }
    }

    /// The failed load behind it, if that is what it is.
    #[must_use]
    pub const fn load(&self) -> Option<&LoadError> {
        match self {
            Self::Read(ReadError::Load(error)) => Some(error),
            _ => None,
        }
    }
}

/// The class and key that `class:key` or `class@scope:key` names. Allocates nothing for a usual key of columns.
///
/// # Errors
/// [`AskError`] saying what is wrong and how to write it.
#[inline]
pub fn find<'n>(node: &'n Node, text: &[u8]) -> Result<(&'n Arc<CatalogClass>, Key), AskError> {
    let text = std::str::from_utf8(text).map_err(|_| AskError::NotText)?;
    let (name, rest) = split_class(text).ok_or(AskError::NoClass)?;
    let class = node.catalog().class(name)?;
    let key = class.form().parse(rest).map_err(|why| AskError::key(class, why))?;
    Ok((class, key))
}

/// The key text of `key` within `scope`, both as their clients write them.
#[must_use]
pub fn fold_scope(scope: Option<&str>, key: &str) -> String {
    match scope {
        // The colon ends a scope; inside a value it has to be escaped, and a header need not know that.
        Some(scope) => format!("@{}:{key}", scope.replace(':', "%3A")),
        None => key.to_owned(),
    }
}

/// The token that `text` is.
///
/// # Errors
/// [`BadToken`].
pub fn parse_token(text: &[u8]) -> Result<Token, BadToken> {
    std::str::from_utf8(text).map_err(|_| BadToken)?.parse()
}

/// Whether so many keys may be asked for at once.
///
/// # Errors
/// [`AskError::TooManyKeys`].
pub const fn check_count(given: usize) -> Result<(), AskError> {
    if given > KEYS_PER_READ_MAX { Err(AskError::TooManyKeys { given }) } else { Ok(()) }
}
