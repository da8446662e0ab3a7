//! What the database answers: to loads, to questions about its position, and to whoever asks for its keys.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    sync::{Arc, atomic::Ordering},
};

use trueup_core::{
    apply::Feed,
    env::BoxFuture,
    key::OwnedSqlValue,
    proof::{Position, Seen, Snapshot, TableTags, Tag, Tags, Token, Xid, XidSnapshot},
    source::{Catalogue, KeyPage, KeySet, LoadError, Loaded, LoadedMany, Loader, PageEnd, Source},
    write::LockingRead,
};

use super::{Act, Database, FIRST_XID, Kind, START, State, epoch_id, row_tag, wide_tag};

impl State {
    pub(super) fn token(&self) -> Token {
        Token { epoch: epoch_id(self.epoch), position: self.end }
    }

    pub(super) fn snapshot(&self, kind: Kind) -> Snapshot {
        match kind {
            Kind::Sequence => Snapshot::Sequence(self.end),
            Kind::Xids => {
                let next = Xid(FIRST_XID + self.commits.len() as u64);
                let running: Box<[Xid]> = self.hidden.iter().copied().map(Xid).collect();
                let xmin = running.first().copied().unwrap_or(next);
                Snapshot::Xids(XidSnapshot { xmin, xmax: next, running })
            }
        }
    }

    pub(super) fn read(&self, kind: Kind, keys: &[i64]) -> LoadedMany<String> {
        let seen = Seen { snapshot: self.snapshot(kind), upper: self.end, epoch: epoch_id(self.epoch) };
        let values = keys.iter().map(|key| (self.value(*key), self.tags(*key))).collect();
        LoadedMany { values, seen }
    }

    /// What a standby shows: whatever it has replayed.
    pub(super) fn read_replayed(&self, replayed: usize, key: i64) -> Loaded<String> {
        let commits = &self.commits[..replayed];
        let through = commits.last().map_or(Position(START), |commit| commit.end);
        let write = commits.iter().flat_map(|commit| &commit.writes).rfind(|(written, _)| *written == key);
        Loaded {
            value: write.and_then(|(_, value)| value.clone()),
            tags: self.tags(key),
            seen: Seen {
                snapshot: Snapshot::Replayed(through),
                upper: self.end,
                epoch: epoch_id(self.epoch),
            },
        }
    }

    pub(super) fn tags(&self, key: i64) -> Tags {
        [row_tag(key), wide_tag()].into_iter().chain(self.labels.get(&key).copied()).collect()
    }

    pub(super) fn value(&self, key: i64) -> Option<String> {
        let visible = self.commits.iter().filter(|commit| !self.hidden.contains(&commit.xid.0));
        let write = visible.flat_map(|commit| &commit.writes).rfind(|(written, _)| *written == key);
        write.and_then(|(_, value)| value.clone())
    }
}

impl Loader<i64, String> for Database {
    fn load<'a>(&'a self, key: &'a i64) -> BoxFuture<'a, Result<Loaded<String>, LoadError>> {
        Box::pin(async move {
            let LoadedMany { mut values, seen } = self.query(std::slice::from_ref(key)).await?;
            let (value, tags) = values.remove(0);
            Ok(Loaded { value, tags, seen })
        })
    }

    fn load_on_standby<'a>(
        &'a self,
        key: &'a i64,
    ) -> Option<BoxFuture<'a, Result<Loaded<String>, LoadError>>> {
        let mut state = self.state.lock();
        let answer = state.read_replayed(state.replayed?, *key);
        let act = state.standby_acts.pop_front();
        self.standby_loads.fetch_add(1, Ordering::SeqCst);
        Some(Box::pin(async move {
            match act {
                Some(Act::Fail(error)) => Err(error),
                Some(Act::Hang) => std::future::pending().await,
                _ => Ok(answer),
            }
        }))
    }

    fn statements_at_once(&self) -> Option<NonZeroUsize> {
        self.statements_at_once.get().copied()
    }

    fn catalogue(&self) -> Arc<Catalogue> {
        Arc::clone(&self.catalogue)
    }

    fn key_set(&self) -> Result<Arc<dyn KeySet<i64>>, std::borrow::Cow<'static, str>> {
        let this = self.itself.upgrade().ok_or("the database is gone")?;
        Ok(Arc::new(AllKeys(this)))
    }

    fn load_many<'a>(&'a self, keys: &'a [i64]) -> BoxFuture<'a, Result<LoadedMany<String>, LoadError>> {
        self.batches.fetch_add(1, Ordering::SeqCst);
        Box::pin(self.query(keys))
    }
}

impl Source for Database {
    fn describe(&self) -> String {
        "a database in memory".into()
    }

    fn follow(self: Arc<Self>, feed: Feed) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let (epoch, start) = (self.epoch(), self.state.lock().delivered_end);
            feed.begin_epoch(epoch, start, None);
            self.feeds.lock().push(feed.clone());
            self.pump();
            feed.until_stopped().await;
        })
    }

    fn token(&self) -> BoxFuture<'_, Result<Token, LoadError>> {
        Box::pin(async {
            let state = self.state.lock();
            if state.down {
                Err(LoadError::Unavailable("the database is down".into()))
            } else {
                Ok(state.token())
            }
        })
    }

    fn invalidate<'a>(&'a self, tags: &'a [Tag]) -> BoxFuture<'a, Result<Token, LoadError>> {
        Box::pin(async { Ok(self.append(&[], false, tags.to_vec())) })
    }
}

/// Reads as a locking transaction would: the newest committed state.
impl LockingRead<i64, String> for Database {
    fn read_locked<'a>(&'a self, key: &'a i64) -> BoxFuture<'a, Result<Option<String>, LoadError>> {
        Box::pin(async { Ok(self.state.lock().value(*key)) })
    }
}

/// The keys of all rows there are, in their order.
struct AllKeys(Arc<Database>);

impl KeySet<i64> for AllKeys {
    fn tag(&self, key: &i64) -> Option<Tag> {
        Some(row_tag(*key))
    }

    fn table(&self) -> TableTags {
        TableTags { any: Tag::any("item"), wide: wide_tag() }
    }

    fn page<'a>(
        &'a self,
        after: Option<&'a PageEnd>,
        rows_max: usize,
    ) -> BoxFuture<'a, Result<KeyPage, LoadError>> {
        Box::pin(async move {
            self.0.pages.fetch_add(1, Ordering::SeqCst);
            let first = match after.map(|end| &end.0[0]) {
                Some(OwnedSqlValue::Int(last)) => last + 1,
                _ => i64::MIN,
            };
            let (page, down) = {
                let state = self.0.state.lock();
                let mut rows: BTreeMap<i64, bool> = BTreeMap::new();
                let visible = state.commits.iter().filter(|commit| !state.hidden.contains(&commit.xid.0));
                for (key, value) in visible.flat_map(|commit| &commit.writes) {
                    rows.insert(*key, value.is_some());
                }
                let mut keys: Vec<i64> =
                    rows.range(first..).filter(|(_, is_there)| **is_there).map(|(key, _)| *key).collect();
                keys.truncate(rows_max);
                let end =
                    (keys.len() == rows_max).then(|| PageEnd(vec![OwnedSqlValue::Int(keys[rows_max - 1])]));
                let tags = keys.iter().map(|key| row_tag(*key)).collect();
                (KeyPage { tags, end, upper: state.end, epoch: epoch_id(state.epoch) }, state.down)
            };
            self.0.pass_gate().await;
            if down { Err(LoadError::Unavailable("the database is down".into())) } else { Ok(page) }
        })
    }
}
