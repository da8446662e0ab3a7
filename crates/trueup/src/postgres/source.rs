//! PostgreSQL as the engine's source.

use std::sync::Arc;

use trueup_core::{
    apply::Feed,
    entry::EpochId,
    env::BoxFuture,
    proof::{Position, Tag, Token},
    source::{LoadError, Source},
};

use super::{
    feed::{self, Role},
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

    fn following(&self) -> Vec<(&'static str, String)> {
        let state = self.feed_state();
        let role = match &state.role {
            Role::None => "not at all yet".to_owned(),
            Role::Single => "by a slot of its own".to_owned(),
            Role::Holder => "by the fleet's slot, which it holds".to_owned(),
            Role::Follower { of } => format!("from the node at {of}"),
        };
        let mut facts = vec![("follows", role)];
        facts.extend(state.slot.map(|slot| ("slot", slot)));
        facts.extend(state.connection.map(|number| ("connection", number.to_string())));
        facts.push(("connections made", state.connections.to_string()));
        facts
    }

    /// A node of a fleet keeps where it is itself, and finds out by that whether the log goes on. One with a slot of its own begins
    /// anew each time: nobody tells it what happened in between.
    fn place<'a>(&'a self, _: EpochId, _: Position) -> BoxFuture<'a, Option<Box<[u8]>>> {
        let fleet = self.shared.options.feed.fleet.as_ref();
        let is_kept = fleet.is_some_and(|fleet| fleet.state_dir.is_some());
        Box::pin(std::future::ready(is_kept.then(Box::default)))
    }

    fn waiting_for(&self) -> Option<String> {
        self.feed_state().waiting_for
    }

    fn token(&self) -> BoxFuture<'_, Result<Token, LoadError>> {
        Box::pin(async move { Ok(self.shared.token().await?) })
    }

    fn invalidate<'a>(&'a self, tags: &'a [Tag]) -> BoxFuture<'a, Result<Token, LoadError>> {
        Box::pin(async move {
            // Said to be raised by name, for those who keep the rows there are.
            let tags = tags.iter().copied().chain([Tag::by_name()]);
            let content: Vec<u8> = tags.flat_map(|tag| tag.0.to_le_bytes()).collect();
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
