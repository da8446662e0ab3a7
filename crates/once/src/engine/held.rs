//! A key in a worker's hands.

use std::borrow::Cow;

use crate::{
    error::{OnceError, check_bytes},
    limits::POINT_BYTES_MAX,
};

/// A key's row. Store it beside what the key began (in the payment's row), so that news of it from outside finds the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub i64);

/// How far the work on a key has come: a name that the service chooses, and from which it can go on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Point(Cow<'static, str>);

impl Point {
    /// Claimed, and nothing else.
    pub const STARTED: Self = Self(Cow::Borrowed("STARTED"));
    /// Answered for good. Reached by [`Once::finish`](crate::Once::finish) alone.
    pub const FINISHED: Self = Self(Cow::Borrowed("FINISHED"));

    /// A point of this name, such as `INTENT`: for constants.
    ///
    /// A name that is empty, too long, or `FINISHED` is refused where it is used.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }

    pub(super) fn stored(name: &str) -> Self {
        Self(Cow::Owned(name.to_owned()))
    }

    pub(super) fn check_target(&self) -> Result<(), OnceError> {
        if self.0.is_empty() {
            return Err(OnceError::invalid("the recovery point", "has no name"));
        }
        if *self == Self::FINISHED {
            return Err(OnceError::invalid(
                "the recovery point",
                "is FINISHED, which only `finish` reaches, with a response",
            ));
        }
        check_bytes("the recovery point", self.0.len(), POINT_BYTES_MAX)
    }
}

/// The right to work on a key, as of a fence: good for the next step unless somebody else has taken the key over meanwhile.
///
/// It holds no lock. Each step is made by comparing (row, fence, recovery point) with the database's, so that a worker who was paused past
/// its lease changes nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Held {
    pub(super) id: KeyId,
    pub(super) fence: i64,
    pub(super) point: Point,
    pub(super) principal: String,
    pub(super) attempts: u32,
    pub(super) location: Option<String>,
    pub(super) asynchronous: bool,
    pub(super) data: Option<Vec<u8>>,
    pub(super) created_ms: i64,
}

impl Held {
    /// The key's row.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// How often the key has been given to a worker, starting from 1. It only grows: whoever has a smaller one is refused.
    #[must_use]
    pub const fn fence(&self) -> i64 {
        self.fence
    }

    /// From where to go on.
    #[must_use]
    pub const fn point(&self) -> &Point {
        &self.point
    }

    /// Whose key it is.
    #[must_use]
    pub fn principal(&self) -> &str {
        &self.principal
    }

    /// How often it has been taken over.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Where the outcome can be found, once that is known.
    #[must_use]
    pub fn location(&self) -> Option<&str> {
        self.location.as_deref()
    }

    /// Whether the client was told 202 and looks at the location.
    #[must_use]
    pub const fn is_asynchronous(&self) -> bool {
        self.asynchronous
    }

    /// What the last step left for whoever goes on.
    #[must_use]
    pub fn data(&self) -> Option<&[u8]> {
        self.data.as_deref()
    }

    /// When the key was claimed first, in ms since 1970 by the database's clock.
    #[must_use]
    pub const fn created_ms(&self) -> i64 {
        self.created_ms
    }

    pub(super) fn discarded(&self) -> OnceError {
        OnceError::Discarded { id: self.id.0, fence: self.fence, point: self.point.name().to_owned() }
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held")
            .field("id", &self.id.0)
            .field("fence", &self.fence)
            .field("point", &self.point.name())
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}
