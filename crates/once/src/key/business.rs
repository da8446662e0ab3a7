//! The client's own name for what it wants done.

use crate::error::{OnceError, check_name};

/// What is to happen once for ever, by the name that the client gave it: an order number, a transfer reference.
///
/// A key is kept for a while; this is never forgotten. It must come from the client: one that the server draws anew with each
/// request names the request, not what is wanted.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct BusinessId {
    namespace: Box<str>,
    id: Box<str>,
    reference: Box<str>,
}

impl BusinessId {
    /// `id` within `namespace` (what it names and whose: `payment/tenant-7`). `reference` is where the outcome can be found,
    /// given back to whoever comes with the same id later: a path, or the id of a row.
    ///
    /// # Errors
    /// [`OnceError::Invalid`] where one of them is empty, too long or holds control characters.
    pub fn new(namespace: &str, id: &str, reference: &str) -> Result<Self, OnceError> {
        check_name("the namespace of a business id", namespace)?;
        check_name("the business id", id)?;
        check_name("the reference of a business id", reference)?;
        Ok(Self { namespace: namespace.into(), id: id.into(), reference: reference.into() })
    }

    /// What it names, and whose.
    #[must_use]
    pub const fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The client's name.
    #[must_use]
    pub const fn id(&self) -> &str {
        &self.id
    }

    /// Where the outcome can be found.
    #[must_use]
    pub const fn reference(&self) -> &str {
        &self.reference
    }
}

impl std::fmt::Debug for BusinessId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BusinessId").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}
