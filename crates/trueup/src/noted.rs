//! Rows that a transaction has noted, to be published once it has committed.

use trueup_core::{
    entry::Raw,
    env::BoxFuture,
    key::Key,
    proof::Token,
    source::{AfterCommit, LoadError, Loaded, Outcome},
    write::Publication,
};

/// Where a row can be loaded after a commit.
#[derive(Clone, Copy)]
pub(crate) enum After<'a> {
    /// Anywhere: whoever reads later sees it.
    #[cfg(feature = "sqlite")]
    Sqlite,
    /// On the connection that commits, behind the COMMIT.
    #[cfg(feature = "postgres")]
    Postgres(&'a deadpool_postgres::Object),
    #[cfg(not(feature = "postgres"))]
    #[allow(dead_code, reason = "so that the lifetime stands for something")]
    Nowhere(&'a ()),
}

/// A row to be published.
pub(crate) trait Noted: Send + Sync {
    /// Loads it `after` the commit and publishes it, if `outcome` says that there was one.
    fn publish<'a>(&'a self, after: After<'a>, outcome: Outcome) -> BoxFuture<'a, Option<Publication>>;
}

/// Loads the row under a key as it is after a commit.
pub(crate) trait LoadAfter: Send + Sync {
    /// Loads it where `after` says.
    fn load_after<'a>(
        &'a self,
        after: After<'a>,
        key: &'a Key,
        outcome: Outcome,
    ) -> BoxFuture<'a, Result<Loaded<Raw>, LoadError>>;
}

/// The row that a transaction of its own writes.
pub(crate) struct OneRow<'r> {
    pub(crate) loader: &'r dyn LoadAfter,
    pub(crate) key: &'r Key,
    pub(crate) then: &'r dyn AfterCommit<Raw>,
}

impl Noted for OneRow<'_> {
    fn publish<'a>(&'a self, after: After<'a>, outcome: Outcome) -> BoxFuture<'a, Option<Publication>> {
        let load = self.loader.load_after(after, self.key, outcome.clone());
        let published = self.then.publish(load, outcome);
        Box::pin(async move {
            published.await;
            None
        })
    }
}

/// A write that has been committed.
#[derive(Clone, Debug, PartialEq)]
pub struct Committed<T> {
    /// What the work returned.
    pub value: T,
    /// A read that carries it reflects the write, on any node.
    pub token: Token,
    /// What became of the rows that the work has noted to be published.
    pub published: Vec<Publication>,
}
