//! The journal, the batches and what readers see, against a source in memory.

use std::{collections::BTreeMap, path::PathBuf};

use super::*;
use crate::{
    change::Row,
    entry::EpochId,
    env::BoxFuture,
    proof::{Ledger, Position, Token},
};

/// A source that remembers each change it was brought.
#[derive(Default)]
struct Double {
    state: Mutex<DoubleState>,
}

#[derive(Default)]
struct DoubleState {
    through: u64,
    log: Vec<(String, u64)>,
    rows: BTreeMap<String, String>,
    failures: u32,
    /// Batches whose commit succeeds, and is answered with an error.
    unheard: u32,
    poison: Option<String>,
}

impl Sink for Double {
    fn prepare<'a>(&'a self, _: &'a JournalId) -> BoxFuture<'a, Result<u64, LoadError>> {
        Box::pin(async { Ok(self.state.lock().through) })
    }

    fn apply<'a>(&'a self, _: &'a JournalId, batch: &'a Batch) -> BoxFuture<'a, Result<Applied, ApplyError>> {
        Box::pin(async {
            let mut state = self.state.lock();
            if state.failures > 0 {
                state.failures -= 1;
                return Err(LoadError::Unavailable("down".into()).into());
            }
            let token = Token { epoch: EpochId::from_bytes([1; 16]), position: Position(batch.through) };
            let mut done = Applied { token, refused: Vec::new() };
            if state.through == batch.through {
                return Ok(done);
            }
            if state.through > batch.after {
                return Err(ApplyError::Moved(state.through));
            }
            for (place, change) in batch.changes.iter().enumerate() {
                if state.poison.as_ref() == Some(&change.key) {
                    done.refused.push(place);
                    continue;
                }
                state.log.push((change.key.clone(), change.sequence));
                let before = state.rows.remove(&change.key);
                if let Some(row) = change.change.over(before.as_deref().map(str::as_bytes)).unwrap() {
                    state.rows.insert(change.key.clone(), String::from_utf8(row.to_vec()).unwrap());
                }
            }
            state.through = batch.through;
            if state.unheard > 0 {
                state.unheard -= 1;
                return Err(LoadError::Lost.into());
            }
            Ok(done)
        })
    }
}

struct World {
    folder: PathBuf,
    source: Arc<Double>,
    class: ClassName,
}

impl World {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("trueup-behind-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        Self { folder, source: Arc::default(), class: ClassName::new("count").unwrap() }
    }

    fn config(&self) -> BehindConfig {
        BehindConfig { flush_every: Duration::from_millis(5), ..BehindConfig::new(&self.folder) }
    }

    async fn open(&self) -> WriteBehind {
        WriteBehind::open(self.config(), Arc::clone(&self.source) as _).await.unwrap()
    }

    async fn put(&self, behind: &WriteBehind, key: &str, n: u64) -> Result<u64, AcceptError> {
        let row = Row::parse(format!("{{\"n\":{n}}}").as_bytes()).unwrap();
        behind.accept(&self.class, key, RowChange::Put(row), true).await
    }

    fn rows(&self) -> BTreeMap<String, String> {
        self.source.state.lock().rows.clone()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn what_is_accepted_reaches_the_source_once_and_coalesced() {
    let world = World::new("coalesced");
    world.source.state.lock().failures = 3;
    let behind = world.open().await;
    for n in 0..50 {
        world.put(&behind, ["a", "b"][n as usize % 2], n).await.unwrap();
    }
    assert_eq!(behind.shut_down(LONG).await, 0);
    assert_eq!(world.rows()["a"], "{\"n\":48}");
    assert_eq!(world.rows()["b"], "{\"n\":49}");
    let counts = behind.counts();
    assert_eq!((counts.accepted, counts.applied + counts.coalesced), (50, 50));
    assert!(counts.coalesced > 0 && counts.failures > 0, "{counts:?}");
    let log = world.source.state.lock().log.clone();
    assert!(log.windows(2).all(|pair| pair[0].0 != pair[1].0 || pair[0].1 < pair[1].1), "{log:?}");
    let refused = world.put(&behind, "a", 1).await.unwrap_err();
    assert!(matches!(refused, AcceptError::Stopping { .. }));
}

#[tokio::test]
async fn a_commit_that_was_not_heard_of_is_not_made_twice() {
    let world = World::new("unheard");
    world.source.state.lock().unheard = 1;
    let behind = world.open().await;
    world.put(&behind, "a", 1).await.unwrap();
    assert_eq!(behind.shut_down(LONG).await, 0);
    assert_eq!(world.source.state.lock().log, [("a".to_owned(), 1)]);
}

#[tokio::test]
async fn what_a_dead_process_has_accepted_is_applied_before_anything_is_served() {
    let world = World::new("replay");
    world.source.state.lock().failures = u32::MAX;
    let behind = world.open().await;
    for n in 0..5 {
        world.put(&behind, "a", n).await.unwrap();
    }
    assert!(behind.counts().oldest_s >= 0.0 && behind.counts().pending == 5);
    // As a kill leaves it: nothing is flushed, the journal's lock is free.
    let journal = std::fs::read_dir(&world.folder).unwrap().map(|entry| entry.unwrap().path());
    let copies: Vec<(PathBuf, Vec<u8>)> = journal
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    drop(behind);
    let other = world.folder.join("copy");
    std::fs::create_dir_all(&other).unwrap();
    for (path, bytes) in copies {
        std::fs::write(other.join(path.file_name().unwrap()), bytes).unwrap();
    }
    let config = BehindConfig { folder: other, ..world.config() };
    let refused = WriteBehind::open(config.clone(), Arc::clone(&world.source) as _).await.err().unwrap();
    assert!(refused.to_string().contains("5 accepted writes"), "{refused}");
    // A database of its own: what is left of the first process here must not get through to it meanwhile.
    let world = World::new("replayed");
    let behind = WriteBehind::open(config, Arc::clone(&world.source) as _).await.unwrap();
    assert_eq!(world.rows()["a"], "{\"n\":4}");
    assert_eq!(behind.counts().replayed, 5);
    world.put(&behind, "a", 9).await.unwrap();
    assert_eq!(behind.shut_down(LONG).await, 0);
    assert_eq!(world.source.state.lock().log, [("a".to_owned(), 5), ("a".to_owned(), 6)]);
}

#[tokio::test]
async fn a_full_journal_refuses_and_says_when_to_come_back() {
    let world = World::new("full");
    world.source.state.lock().failures = u32::MAX;
    let config = BehindConfig { bytes_max: 4_096, ..world.config() };
    let behind = WriteBehind::open(config, Arc::clone(&world.source) as _).await.unwrap();
    let mut accepted = 0;
    let refused = loop {
        match world.put(&behind, &format!("k{accepted}"), accepted).await {
            Ok(_) => accepted += 1,
            Err(why) => break why,
        }
    };
    assert!(matches!(refused, AcceptError::Full { retry_after_ms: 1.. }), "{refused}");
    let counts = behind.counts();
    assert!(counts.journal_bytes <= 4_096 && counts.pending == accepted, "{counts:?}");
    assert_eq!(counts.refused[0], ("full", 1));
}

#[tokio::test]
async fn what_the_source_refuses_for_what_it_holds_keeps_no_other_back() {
    let world = World::new("poison");
    world.source.state.lock().poison = Some("bad".to_owned());
    let behind = world.open().await;
    let overlay = behind.overlay(&world.class);
    for key in ["good", "bad"] {
        world.put(&behind, key, 1).await.unwrap();
    }
    assert_eq!(behind.shut_down(LONG).await, 0);
    assert_eq!(world.rows().into_keys().collect::<Vec<_>>(), ["good"]);
    assert_eq!(behind.counts().rejected, 1);
    assert!(!overlay.holds("bad") && overlay.holds("good"), "what is not in the source is not shown");
}

#[tokio::test]
async fn what_was_applied_is_shown_until_the_feed_has_told_it() {
    let world = World::new("overlay");
    let ledger = Ledger::new(16, 16);
    ledger.begin_epoch(EpochId::from_bytes([1; 16]), Position(0), None);
    let behind = world.open().await;
    let overlay = behind.overlay(&world.class);
    let sequence = world.put(&behind, "a", 1).await.unwrap();
    assert_eq!(behind.shut_down(LONG).await, 0);
    let now = Clock::system().now();
    let shown = |now| overlay.get("a", &ledger, now, LONG).is_some();
    assert!(shown(now), "memory may hold the row as it was");
    assert!(!shown(now.after(LONG * 2)), "nothing holds it for longer than its life");
    overlay.lay("b", RowChange::Delete, true, sequence + 1, now);
    overlay.purge(&ledger, now.after(LONG * 2), LONG);
    assert!(overlay.holds("b") && !overlay.holds("a"), "what is not applied stays");
}
