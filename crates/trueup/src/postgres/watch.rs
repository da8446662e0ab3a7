//! Following the shape of what open classes read.
//!
//! Nothing in the change log tells that a table was altered. The digest of each ask does; then the registry is read anew,
//! every class whose relations moved looks again at what it reads, and what it loaded before is unproven from then on.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicBool, Ordering},
};

use parking_lot::Mutex;
use trueup_core::{env::BoxFuture, source::Catalogue};

use super::{
    digest::{Shapes, Uses},
    error::PostgresError,
    handle::Shared,
    registry::Registry,
};

/// Attempts to see one shape twice, while DDL is going on.
const ATTEMPTS_MAX: usize = 5;

/// An open class, as far as the shape of what it reads is concerned.
pub(super) trait Watcher: Send + Sync {
    /// Looks at what it reads, and notes it. What is wrong with it (a table that is gone) is noted too, and said at the next
    /// load.
    fn look<'a>(&'a self, shared: &'a Shared) -> BoxFuture<'a, Result<Uses, PostgresError>>;

    /// What the last look found.
    fn uses(&self) -> Uses;

    /// Loads from now on read what the last look found, in the shape of `registry`.
    fn adopt(&self, registry: &Arc<Registry>);

    /// Where the engine learns that the shape moved.
    fn catalogue(&self) -> &Arc<Catalogue>;
}

/// Who is to be told.
#[derive(Default)]
pub(super) struct Watch {
    watchers: Mutex<Vec<Weak<dyn Watcher>>>,
    /// One at a time reads the registry and tells the others.
    turn: tokio::sync::Mutex<()>,
    /// The shape moved and the feed has not been told yet.
    moved: AtomicBool,
}

impl Watch {
    fn live(&self) -> Vec<Arc<dyn Watcher>> {
        let mut watchers = self.watchers.lock();
        watchers.retain(|watcher| watcher.strong_count() > 0);
        watchers.iter().filter_map(Weak::upgrade).collect()
    }

    pub(super) fn moved(&self) -> bool {
        self.moved.load(Ordering::Acquire)
    }
}

impl Shared {
    /// Opens a class: from here on it is told when what it reads moves.
    pub(super) async fn open(&self, watcher: Arc<dyn Watcher>) -> Result<(), PostgresError> {
        let _turn = self.watch.turn.lock().await;
        self.settle(Some(&watcher)).await?;
        self.watch.watchers.lock().push(Arc::downgrade(&watcher));
        Ok(())
    }

    /// Reads the registry anew.
    pub(super) async fn reread(&self) -> Result<(), PostgresError> {
        let _turn = self.watch.turn.lock().await;
        self.settle(None).await
    }

    /// The digest of an ask has moved: every class whose relations moved is told, before another ask counts.
    ///
    /// # Errors
    /// [`PostgresError`]; some or all may not have been told, and asks go on to say that the digest moved.
    pub(super) async fn catalogue_moved(&self) -> Result<(), PostgresError> {
        let _turn = self.watch.turn.lock().await;
        self.settle(None).await?;
        // Whatever moved until here is told; a move after this is a new one.
        self.watch.moved.store(false, Ordering::Release);
        Ok(())
    }

    /// Brings registry and classes to one shape, seen before and after everyone has looked.
    async fn settle(&self, opening: Option<&Arc<dyn Watcher>>) -> Result<(), PostgresError> {
        let before = self.registry.load_full();
        for _ in 0..ATTEMPTS_MAX {
            let watchers: Vec<_> = self.watch.live().into_iter().chain(opening.cloned()).collect();
            let first = Registry::read(self, &joined(&watchers)).await?;
            let is_moved = |watcher: &Arc<dyn Watcher>| {
                opening.is_some_and(|opening| Arc::ptr_eq(opening, watcher))
                    || first.shapes.of(&watcher.uses()) != watcher.catalogue().digest()
            };
            let moved: Vec<_> = watchers.iter().filter(|watcher| is_moved(watcher)).cloned().collect();
            let found = self.look(&moved).await?;
            let registry = Registry::read(self, &joined(&watchers)).await?;
            if self.look(&moved).await? != found || self.shapes(&registry).await? != registry.shapes {
                continue;
            }
            // What nobody has opened yet may move as it likes.
            if before.shapes.of(&before.uses) != registry.shapes.of(&before.uses) {
                self.watch.moved.store(true, Ordering::Release);
            }
            let registry = Arc::new(registry);
            self.registry.store(Arc::clone(&registry));
            for watcher in &moved {
                watcher.adopt(&registry);
                let digest = registry.shapes.of(&watcher.uses());
                if watcher.catalogue().digest() != digest {
                    watcher.catalogue().altered(digest);
                }
            }
            return Ok(());
        }
        let reason = "could not be looked at: the schema changes all the time; try again later";
        Err(PostgresError::Query { reason: reason.to_owned() })
    }

    async fn look(&self, watchers: &[Arc<dyn Watcher>]) -> Result<Vec<Uses>, PostgresError> {
        let mut found = Vec::with_capacity(watchers.len());
        for watcher in watchers {
            found.push(watcher.look(self).await?);
        }
        Ok(found)
    }

    /// The shapes as they are now of what `registry` covers.
    async fn shapes(&self, registry: &Registry) -> Result<Shapes, PostgresError> {
        let at = self.at("looking at the catalogue");
        let client = self.asker(at).await?;
        Shapes::read(&client, registry.catalogues, &registry.uses).await.map_err(|e| at.error(&e))
    }
}

/// What all of them read.
fn joined(watchers: &[Arc<dyn Watcher>]) -> Uses {
    let mut uses = Uses::default();
    watchers.iter().for_each(|watcher| uses.join(&watcher.uses()));
    uses
}
