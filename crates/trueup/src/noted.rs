//! Rows that a transaction has noted, to be published once it has committed.

use trueup_core::{
    env::BoxFuture,
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

/// The row that a transaction of its own writes.
pub(crate) struct OneRow<'a, L> {
    pub(crate) load: L,
    pub(crate) then: &'a dyn AfterCommit<trueup_core::entry::Raw>,
}

impl<L> Noted for OneRow<'_, L>
where
    L: for<'l> Fn(After<'l>, Outcome) -> BoxFuture<'l, Result<Loaded<trueup_core::entry::Raw>, LoadError>>
        + Send
        + Sync,
{
    fn publish<'a>(&'a self, after: After<'a>, outcome: Outcome) -> BoxFuture<'a, Option<Publication>> {
        let load = (self.load)(after, outcome.clone());
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
