//! SQLite as the engine's source.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use trueup_core::{
    apply::Feed,
    entry::EpochId,
    env::BoxFuture,
    proof::{Position, Tag, Token},
    source::{LoadError, Source},
};

use super::{
    feed::follow,
    handle::{READ_LOCK_WAIT, Sqlite},
    names::{LOG, NOW_MS, kind},
    write::{SqliteTx, WriteError},
};

impl Source for Sqlite {
    fn describe(&self) -> String {
        format!("sqlite:{}", self.path().display())
    }

    fn follow(self: Arc<Self>, feed: Feed) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let abandoned = Arc::new(AtomicBool::new(false));
            // The thread outlives this future only until its next look.
            let _guard = SetOnDrop(Arc::clone(&abandoned));
            let runtime = tokio::runtime::Handle::current();
            let shared = Arc::clone(&self.shared);
            let thread = tokio::task::spawn_blocking(move || follow(&shared, &feed, &abandoned, &runtime));
            if let Err(error) = thread.await
                && error.is_panic()
            {
                tracing::error!(
                    "the thread that follows the log panicked; nothing is proven until a restart"
                );
            }
        })
    }

    fn place<'a>(&'a self, epoch: EpochId, position: Position) -> BoxFuture<'a, Option<Box<[u8]>>> {
        Box::pin(std::future::ready(self.evidence(epoch, position)))
    }

    fn token(&self) -> BoxFuture<'_, Result<Token, LoadError>> {
        Box::pin(async move {
            let ((), seen) = self.load(READ_LOCK_WAIT, |_| Ok(()))?;
            Ok(Token { epoch: seen.epoch, position: seen.upper })
        })
    }

    fn invalidate<'a>(&'a self, tags: &'a [Tag]) -> BoxFuture<'a, Result<Token, LoadError>> {
        Box::pin(async move {
            let sql = format!(
                "INSERT INTO {LOG}(nonce, at_ms, tbl, kind, v0) VALUES (random(), {NOW_MS}, 0, {}, ?1)",
                kind::TAG
            );
            let log = async |tx: &SqliteTx<'_>| {
                tags.iter().try_for_each(|tag| tx.execute(&sql, [tag.0.cast_signed()]).map(drop))
            };
            match self.write(log).await {
                Ok(((), token)) => Ok(token),
                Err(WriteError::Source(error)) => Err(error.to_load_error()),
                Err(WriteError::Work(error)) => {
                    Err(self.shared.at("invalidating").error(error).to_load_error())
                }
            }
        })
    }
}

struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}
