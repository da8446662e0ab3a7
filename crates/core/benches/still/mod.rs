//! A source for benches of the engine alone.

use std::{borrow::Cow, sync::Arc};

use trueup_core::{
    apply::Feed,
    entry::{EpochId, Raw},
    env::BoxFuture,
    proof::{Ask, Message, Position, Seen, Snapshot, TableTags, Tag, Token},
    source::{KeyPage, KeySet, LoadError, Loaded, LoadedMany, Loader, PageEnd, Source},
};

/// Rows of its table, by integers from zero.
pub(crate) const KEYS: u64 = 1_000_000;
/// Bytes of each.
pub(crate) const VALUE_BYTES: usize = 100;
const EPOCH: EpochId = EpochId::from_bytes([7; 16]);

/// A database that never changes, and answers at once.
pub(crate) struct Still;

impl Source for Still {
    fn describe(&self) -> String {
        "still".into()
    }

    fn follow(self: Arc<Self>, feed: Feed) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            feed.begin_epoch(EPOCH, Position(1), None);
            let message = Message {
                epoch: EPOCH,
                connection: 1,
                previous: Position(1),
                end: Position(2),
                transactions: Vec::new(),
            };
            feed.apply(&message, []).unwrap();
            feed.answered(
                EPOCH,
                Ask { at: feed.clock().now(), position: Position(2), discards: feed.discards() },
                None,
            );
            feed.until_stopped().await;
        })
    }

    fn token(&self) -> BoxFuture<'_, Result<Token, LoadError>> {
        Box::pin(async { Ok(Token { epoch: EPOCH, position: Position(2) }) })
    }

    fn invalidate<'a>(&'a self, _tags: &'a [Tag]) -> BoxFuture<'a, Result<Token, LoadError>> {
        self.token()
    }
}

impl Loader<i64, Raw> for Still {
    fn load<'a>(&'a self, key: &'a i64) -> BoxFuture<'a, Result<Loaded<Raw>, LoadError>> {
        Box::pin(async move {
            let tags = [row_tag(*key), Tag::wide("item")].into_iter().collect();
            let seen = Seen { snapshot: Snapshot::Sequence(Position(2)), upper: Position(2), epoch: EPOCH };
            Ok(Loaded { value: Some(Raw(vec![b'x'; VALUE_BYTES].into())), tags, seen })
        })
    }

    fn load_many<'a>(&'a self, _keys: &'a [i64]) -> BoxFuture<'a, Result<LoadedMany<Raw>, LoadError>> {
        Box::pin(async { Err(LoadError::Refused("not needed here".into())) })
    }

    fn key_set(&self) -> Result<Arc<dyn KeySet<i64>>, Cow<'static, str>> {
        Ok(Arc::new(Still))
    }
}

impl KeySet<i64> for Still {
    fn tag(&self, key: &i64) -> Option<Tag> {
        Some(row_tag(*key))
    }

    fn table(&self) -> TableTags {
        TableTags::of("item")
    }

    fn page<'a>(
        &'a self,
        _after: Option<&'a PageEnd>,
        _rows_max: usize,
    ) -> BoxFuture<'a, Result<KeyPage, LoadError>> {
        let tags = (0..KEYS as i64).map(row_tag).collect();
        Box::pin(async { Ok(KeyPage { tags, end: None, upper: Position(2), epoch: EPOCH }) })
    }
}

fn row_tag(key: i64) -> Tag {
    Tag::row("item", [key.to_string().as_str()])
}
