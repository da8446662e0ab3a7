//! What the lab itself knows of the run: the last state of each object, and the history that the judge gets.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use trueup_core::env::{Clock, Nanos};

use super::schema::Layout;
use crate::history::{Object, Rewind, Write};

/// Versions after a rewind begin at a multiple of this, far above whatever was taken back.
pub(crate) const ERA_VERSIONS: u64 = 1_000_000;
/// How many of the objects written last are remembered, for readers who want to look where it moves.
const RECENT: usize = 64;

/// A state of an object that a transaction is to make.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effect {
    pub(crate) object: Object,
    pub(crate) present: bool,
}

/// One attempt to write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    pub(crate) start: Nanos,
    pub(crate) end: Nanos,
    pub(crate) succeeded: bool,
}

/// How much of what writers do is out of the ordinary, in percent.
#[derive(Debug, Default)]
pub(crate) struct Mix {
    /// Rows that push another row out by a secondary unique key (`REPLACE`, SQLite only).
    pub(crate) replace: AtomicU32,
    /// Rows whose primary key changes.
    pub(crate) rekey: AtomicU32,
}

/// What is known, and what has happened.
#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) clock: Clock,
    pub(crate) layout: Layout,
    pub(crate) mix: Mix,
    /// Moves when the database has gone back: whoever holds a connection opens another.
    era: AtomicU64,
    versions: Vec<AtomicU64>,
    present: Vec<AtomicBool>,
    recent: Vec<AtomicU32>,
    written: AtomicUsize,
    /// Numbers for a unique column; never used twice, also not after a rewind.
    slots: AtomicI64,
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    writes: Vec<Write>,
    rewinds: Vec<Rewind>,
    attempts: Vec<Attempt>,
}

impl Book {
    /// The book of a run whose objects have just been made, each present at version 1.
    pub(crate) fn new(clock: Clock, layout: Layout) -> Self {
        let objects = layout.objects();
        let seed = |object| Write {
            object,
            version: 1,
            present: true,
            start: Nanos::ZERO,
            acked: Some(Nanos::ZERO),
        };
        Self {
            clock,
            layout,
            mix: Mix::default(),
            era: AtomicU64::new(0),
            versions: (0..objects).map(|_| AtomicU64::new(1)).collect(),
            present: (0..objects).map(|_| AtomicBool::new(true)).collect(),
            recent: (0..RECENT).map(|_| AtomicU32::new(0)).collect(),
            written: AtomicUsize::new(0),
            slots: AtomicI64::new(i64::from(layout.objects()) + 1),
            pages: Mutex::new(Pages { writes: (0..objects).map(seed).collect(), ..Pages::default() }),
        }
    }

    pub(crate) fn era(&self) -> u64 {
        self.era.load(Ordering::SeqCst)
    }

    /// The last version of the object that its writer knows of.
    pub(crate) fn version(&self, object: Object) -> u64 {
        self.versions.get(object as usize).map_or(0, |version| version.load(Ordering::SeqCst))
    }

    pub(crate) fn is_present(&self, object: Object) -> bool {
        self.present.get(object as usize).is_some_and(|present| present.load(Ordering::SeqCst))
    }

    pub(crate) fn slot(&self) -> i64 {
        self.slots.fetch_add(1, Ordering::Relaxed)
    }

    /// One of the objects written last; the lot decides which.
    pub(crate) fn recent(&self, lot: usize) -> Object {
        self.recent[lot % RECENT].load(Ordering::Relaxed)
    }

    /// How many transactions were acknowledged.
    pub(crate) fn written(&self) -> usize {
        self.written.load(Ordering::Relaxed)
    }

    pub(crate) fn attempt(&self, start: Nanos, succeeded: bool) {
        let end = self.clock.now();
        self.pages.lock().attempts.push(Attempt { start, end, succeeded });
    }

    /// Each effect is committed, at the version after the one known.
    pub(crate) fn committed(&self, effects: &[Effect], start: Nanos) {
        let acked = Some(self.clock.now());
        let count = self.written.fetch_add(1, Ordering::Relaxed);
        for effect in effects {
            let version = self.version(effect.object) + 1;
            self.know(effect.object, version, effect.present);
            self.recent[count % RECENT].store(effect.object, Ordering::Relaxed);
            self.write(effect, version, start, acked);
        }
    }

    /// Nobody will ever know whether the effects were committed.
    pub(crate) fn may_have_happened(&self, effects: &[Effect], versions: &[u64], start: Nanos) {
        for (effect, version) in effects.iter().zip(versions) {
            self.write(effect, version + 1, start, None);
        }
    }

    fn write(&self, effect: &Effect, version: u64, start: Nanos, acked: Option<Nanos>) {
        let write = Write { object: effect.object, version, present: effect.present, start, acked };
        self.pages.lock().writes.push(write);
    }

    fn know(&self, object: Object, version: u64, present: bool) {
        if let (Some(known), Some(row)) =
            (self.versions.get(object as usize), self.present.get(object as usize))
        {
            known.store(version, Ordering::SeqCst);
            row.store(present, Ordering::SeqCst);
        }
    }

    /// The number from which versions go on after the next rewind.
    pub(crate) fn next_era_version(&self) -> u64 {
        (self.era() + 1) * ERA_VERSIONS
    }

    /// The database has gone back to `survivors`, with rows of those `present`; versions go on from
    /// [`Book::next_era_version`]. Call it while nobody writes.
    pub(crate) fn rewound(&self, start: Nanos, survivors: Vec<u64>, present: &HashSet<Object>) {
        let base = self.next_era_version();
        for object in 0..self.layout.objects() {
            self.know(object, base, self.layout.is_pair(object) || present.contains(&object));
        }
        self.pages.lock().rewinds.push(Rewind { start, end: self.clock.now(), survivors });
        self.era.fetch_add(1, Ordering::SeqCst);
    }

    /// How many acknowledged writes the database has taken back.
    pub(crate) fn taken_back(&self) -> u64 {
        let pages = self.pages.lock();
        let lost = |write: &&Write| {
            write.acked.is_some()
                && pages.rewinds.iter().any(|rewind| {
                    write.start < rewind.end
                        && rewind
                            .survivors
                            .get(write.object as usize)
                            .is_some_and(|last| write.version > *last)
                })
        };
        pages.writes.iter().filter(lost).count() as u64
    }

    /// Everything written so far, and when the database went back.
    pub(crate) fn so_far(&self) -> (Vec<Write>, Vec<Rewind>) {
        let pages = self.pages.lock();
        (pages.writes.clone(), pages.rewinds.clone())
    }

    /// Every attempt to write.
    pub(crate) fn attempts(&self) -> Vec<Attempt> {
        self.pages.lock().attempts.clone()
    }

    /// The span since `earlier`.
    pub(crate) fn since(&self, earlier: Nanos) -> Duration {
        self.clock.now().since(earlier)
    }
}
