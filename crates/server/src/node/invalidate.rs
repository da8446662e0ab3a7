//! Explicit invalidation: always by way of the source, so that every node hears of it.

use std::{sync::Arc, time::Duration};

use trueup::catalog::CatalogClass;
use trueup_core::{
    key::Key,
    proof::{Tags, Token},
    source::LoadError,
};

use super::{AskError, Node, find};

/// Longest wait for the feed to bring an invalidation back.
const HEARD_WAIT_MAX: Duration = Duration::from_secs(1);

/// What is to be invalidated.
#[derive(Clone, Debug)]
pub enum Target {
    /// `class:key`: whatever carries the narrowest tag of that value.
    Key(Arc<CatalogClass>, Key),
    /// `class`: every entry of the class.
    Class(Arc<CatalogClass>),
}

/// Nothing was invalidated.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvalidateError {
    /// The words name nothing.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The class's values have nothing in common that could be raised.
    #[error(
        "class `{class}` cannot be invalidated as a whole: nothing is known that all its values depend on"
    )]
    NotAsAWhole {
        /// The class.
        class: String,
    },
    /// The class is never cached.
    #[error("class `{class}` is never cached, so there is nothing to invalidate")]
    NeverCached {
        /// The class.
        class: String,
    },
}

impl From<LoadError> for InvalidateError {
    fn from(error: LoadError) -> Self {
        Self::Ask(error.into())
    }
}

impl Target {
    /// Reads `class:key`, `class@scope:key` or `class`.
    ///
    /// # Errors
    /// [`AskError`] when no class, or no key of it, is meant.
    pub fn parse(node: &Node, text: &[u8]) -> Result<Self, AskError> {
        let whole = std::str::from_utf8(text).ok().and_then(|name| node.catalog().get(name));
        match whole {
            Some(class) => Ok(Self::Class(Arc::clone(class))),
            None => find(node, text).map(|(class, key)| Self::Key(Arc::clone(class), key)),
        }
    }

    fn class(&self) -> &CatalogClass {
        match self {
            Self::Key(class, _) | Self::Class(class) => class,
        }
    }

    /// The tags to raise.
    async fn tags(&self) -> Result<Tags, InvalidateError> {
        let class = || self.class().name().to_string();
        if self.class().cached().is_none() {
            return Err(InvalidateError::NeverCached { class: class() });
        }
        match self {
            Self::Key(class, key) => Ok(class.tags_of(key).await?.into_iter().take(1).collect()),
            Self::Class(class) if !class.whole().is_empty() => Ok(class.whole().clone()),
            Self::Class(_) => Err(InvalidateError::NotAsAWhole { class: class() }),
        }
    }
}

impl Node {
    /// Invalidates all of `targets` at once. A read with the token that comes back does not see what was cached before.
    ///
    /// # Errors
    /// [`InvalidateError`]; nothing was invalidated then.
    pub async fn invalidate(&self, targets: &[Target]) -> Result<Token, InvalidateError> {
        let mut tags = Tags::new();
        for target in targets {
            tags.extend(target.tags().await?);
        }
        tags.sort_unstable();
        tags.dedup();
        Ok(self.catalog().invalidate(&tags).await?)
    }

    /// Invalidates, and returns once this node has heard of it from the feed: a client that deletes and then reads here
    /// does not get the old value, without a token. Other nodes follow within the feed's delay.
    ///
    /// # Errors
    /// [`InvalidateError`]; nothing was invalidated then.
    pub async fn invalidate_here(&self, targets: &[Target]) -> Result<Token, InvalidateError> {
        let token = self.invalidate(targets).await?;
        let feed = self.catalog().cache().feed();
        if feed.epoch() == Some(token.epoch) {
            // A feed that stalls keeps nobody waiting: by then it proves nothing either.
            let _ = tokio::time::timeout(HEARD_WAIT_MAX, feed.until_applied(token.position)).await;
        }
        Ok(token)
    }
}
