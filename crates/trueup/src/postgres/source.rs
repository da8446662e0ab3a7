//! PostgreSQL as the engine's source.

use std::sync::Arc;

use trueup_core::{
    apply::Feed,
    env::BoxFuture,
    proof::{Tag, Token},
    source::{LoadError, Source},
};

use super::{
    feed,
    handle::Postgres,
    names::TAGS_PREFIX,
    write::{PgTx, WriteError},
};

impl Source for Postgres {
    fn describe(&self) -> String {
        format!("postgres://{}", self.place())
    }

    fn follow(self: Arc<Self>, feed: Feed) -> BoxFuture<'static, ()> {
        Box::pin(async move { feed::follow(&self.shared, &feed).await })
    }

    fn token(&self) -> BoxFuture<'_, Result<Token, LoadError>> {
        Box::pin(async move { Ok(self.shared.token().await?) })
    }

    fn invalidate<'a>(&'a self, tags: &'a [Tag]) -> BoxFuture<'a, Result<Token, LoadError>> {
        Box::pin(async move {
            let content: Vec<u8> = tags.iter().flat_map(|tag| tag.0.to_le_bytes()).collect();
            let log = async |tx: &PgTx| {
                tx.execute("SELECT pg_logical_emit_message(true, $1, $2::bytea)", &[&TAGS_PREFIX, &content])
                    .await
            };
            match self.write(log).await {
                Ok((_, token)) => Ok(token),
                Err(WriteError::Source(error)) => Err(error.to_load_error()),
                Err(WriteError::Work(error)) => {
                    Err(self.shared.at("invalidating").error(&error).to_load_error())
                }
            }
        })
    }
}
