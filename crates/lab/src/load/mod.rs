//! The load: writers that know nothing of a cache, readers that believe what they are told and write it down.

mod answer;
mod http;
mod keys;
mod mishaps;
mod naive;
pub(crate) mod open;
mod ops;
mod own;
mod reader;
mod session;
mod writer;
mod zipf;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use trueup_core::env::{Nanos, Task, spawn};

pub(crate) use self::{keys::Keys, mishaps::Mishaps};
use self::{
    naive::{Look, NaiveReader},
    own::OwnReader,
    reader::Reader,
    session::SessionReader,
    writer::Writer,
};
use crate::{
    history::{Read, Together},
    world::World,
};

/// Programs that write.
const WRITERS: u32 = 3;
/// Programs that read over RESP.
const READERS: u32 = 4;
/// Sessions that read over HTTP, each one read at a time.
const SESSIONS: u32 = 3;
/// Programs that write and a moment later read what they have written.
const OWN_READERS: u32 = 4;
/// Programs that read the wrong way, where that is asked for.
const NAIVE_READERS: u32 = 2;

/// How much is read and written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    /// Reads a second over RESP, all readers together.
    pub(crate) reads: u32,
    /// Transactions a second, all writers together.
    pub(crate) writes: u32,
}

/// A read without an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    /// When it was given up.
    pub(crate) end: Nanos,
    /// How many reads it stands for.
    pub(crate) reads: u32,
    /// The node that was asked.
    pub(crate) node: u8,
}

/// A read with the token of a write that had been acknowledged for a while.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aged {
    pub(crate) end: Nanos,
    /// It was sent to the database because of the token alone.
    pub(crate) bypassed: bool,
}

/// What readers have written down.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) reads: Vec<Read>,
    pub(crate) together: Vec<Together>,
    pub(crate) failures: Vec<Failure>,
    pub(crate) aged: Vec<Aged>,
}

/// A log that several readers write.
#[derive(Debug, Default)]
pub(crate) struct SharedLog {
    log: Mutex<Log>,
    count: AtomicU64,
}

impl SharedLog {
    fn add(&self, reads: Vec<Read>) {
        self.count.fetch_add(reads.len() as u64, Ordering::Relaxed);
        self.log.lock().reads.extend(reads);
    }

    fn add_together(&self, together: Together) {
        self.count.fetch_add(together.reads.len() as u64, Ordering::Relaxed);
        self.log.lock().together.push(together);
    }

    fn add_aged(&self, read: Read, bypassed: bool) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let mut log = self.log.lock();
        log.aged.push(Aged { end: read.end, bypassed });
        log.reads.push(read);
    }

    fn fail(&self, end: Nanos, reads: u32, node: usize) {
        self.log.lock().failures.push(Failure { end, reads, node: node as u8 });
    }

    /// How many answers there are.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn take(&self) -> Log {
        std::mem::take(&mut *self.log.lock())
    }
}

/// Tells everybody to stop.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(crate) fn tell(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_told(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// A load at work.
pub(crate) struct Load {
    stop: Stop,
    tasks: Vec<Task>,
    /// Of those who read through Trueup.
    pub(crate) log: Arc<SharedLog>,
    /// Of those who read the wrong way.
    pub(crate) naive: Option<Arc<SharedLog>>,
}

impl Load {
    /// Starts everybody; `naive` starts those too who read the wrong way.
    pub(crate) fn start(world: &Arc<World>, rates: Rates, naive: bool) -> Self {
        let (stop, log) = (Stop::default(), Arc::new(SharedLog::default()));
        let mut tasks = Vec::new();
        let seed =
            |role: u64, number: u32| world.seed.wrapping_mul(31).wrapping_add(role << 32 | u64::from(number));
        let pause = each(WRITERS, rates.writes);
        for number in 0..WRITERS {
            let writer = Writer::new(world, number, WRITERS, pause, seed(1, number));
            tasks.push(spawn("lab writer", writer.run(stop.clone())));
        }
        if world.nodes.is_empty() {
            for number in 0..READERS {
                let reader = NaiveReader::new(world, &log, Look::Nowhere, number, seed(5, number));
                tasks.push(spawn("lab direct reader", reader.run(stop.clone())));
            }
        } else {
            let pace = reader::Pace::new(rates.reads, READERS);
            for number in 0..READERS {
                let reader = Reader::new(world, &log, pace, seed(2, number));
                tasks.push(spawn("lab reader", reader.run(stop.clone())));
            }
            for number in 0..SESSIONS {
                let session = SessionReader::new(world, &log, number, seed(3, number));
                tasks.push(spawn("lab session", session.run(stop.clone())));
            }
            for number in 0..OWN_READERS {
                let reader = OwnReader::new(world, &log, seed(6, number));
                tasks.push(spawn("lab own reader", reader.run(stop.clone())));
            }
        }
        let naive = naive.then(|| Arc::new(SharedLog::default()));
        if let Some(log) = &naive {
            let caches = naive::Caches::new(world.nodes.len().max(2));
            for number in 0..NAIVE_READERS {
                let reader =
                    NaiveReader::new(world, log, Look::Maps(Arc::clone(&caches)), number, seed(4, number));
                tasks.push(spawn("lab naive reader", reader.run(stop.clone())));
            }
        }
        Self { stop, tasks, log, naive }
    }

    /// Stops everybody and waits until they have.
    pub(crate) async fn stop(&mut self) {
        self.stop.tell();
        for task in self.tasks.drain(..) {
            task.ended().await;
        }
    }
}

/// The pause between two turns of each of `count`, so that all together have `rate` turns a second.
fn each(count: u32, rate: u32) -> Duration {
    Duration::from_secs(1) * count / rate.max(1)
}
