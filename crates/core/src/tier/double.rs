//! A remote tier in memory that misbehaves on request.

mod locks;

use std::{
    collections::{HashMap, VecDeque},
    hash::BuildHasher,
    time::Duration,
};

use bytes::Bytes;
use foldhash::quality::FixedState;
use parking_lot::Mutex;
use tokio::sync::watch;

use self::locks::Held;
use super::{
    FillLocks, LockKey,
    remote::{RemoteError, RemoteKey, RemoteOperation, RemotePut, RemoteResult, RemoteTier},
};
use crate::env::{BoxFuture, Clock, Nanos};

/// Versions of an envelope kept per key, for [`Fault::Older`].
const VERSIONS_MAX: usize = 8;
/// What [`FaultRates`] are shares of.
const PER_MILLE: u64 = 1000;
/// The double's name in errors.
const ENDPOINT: &str = "double";

/// One way to misbehave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// A get finds nothing; a put is acknowledged and forgotten.
    Lose,
    /// A get answers with the version before the newest one, or with nothing if there is none; a put is acknowledged and
    /// slipped in below the newest version. As after a failover to a replica that lagged.
    Older,
    /// One bit of the envelope is flipped: in the answer of a get, in what a put stores.
    Corrupt,
    /// A get answers with another key's envelope, if there is one; a put stores under another held key as well.
    Misplace,
    /// The operation fails at once and has no effect.
    Unavailable,
    /// The operation happens, and its caller is told that it timed out.
    TimeOut,
}

impl Fault {
    const ALL: [Self; 6] =
        [Self::Lose, Self::Older, Self::Corrupt, Self::Misplace, Self::Unavailable, Self::TimeOut];
}

/// How often each [`Fault`] happens, per thousand operations on a key. Their sum must not exceed 1000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is the rate of the fault of its name")]
pub struct FaultRates {
    pub lose: u16,
    pub older: u16,
    pub corrupt: u16,
    pub misplace: u16,
    pub unavailable: u16,
    pub time_out: u16,
}

impl FaultRates {
    /// The fault of a draw from `0..1000`.
    fn pick(&self, mut draw: u64) -> Option<Fault> {
        let rates = [self.lose, self.older, self.corrupt, self.misplace, self.unavailable, self.time_out];
        for (fault, rate) in Fault::ALL.into_iter().zip(rates) {
            match draw.checked_sub(u64::from(rate)) {
                Some(rest) => draw = rest,
                None => return Some(fault),
            }
        }
        None
    }
}

/// A [`RemoteTier`] in memory, for tests and demonstrations.
///
/// The same seed and the same order of calls give the same faults. Operations on a key draw in turn: first from the
/// script, then by the rates. While the gate is closed, operations wait in it: a get has already taken its answer (which
/// grows old while it waits), a put has not yet been applied (it lands late, over whatever came meanwhile).
#[derive(Debug)]
pub struct RemoteDouble {
    clock: Clock,
    seed: u64,
    state: Mutex<State>,
    gate: watch::Sender<Gate>,
    has_locks: bool,
}

#[derive(Debug, Default)]
struct State {
    held: HashMap<RemoteKey, VecDeque<Version>>,
    /// Keys in the order of their first put: which "other key" is taken must not depend on a hash table's order.
    order: Vec<RemoteKey>,
    rates: FaultRates,
    script: VecDeque<Option<Fault>>,
    draws: u64,
    injected: u64,
    locks: HashMap<LockKey, Held>,
    planted_locks: HashMap<RemoteKey, Held>,
}

/// Newest first in a key's list.
#[derive(Clone, Debug)]
struct Version {
    envelope: Bytes,
    dead_at: Nanos,
}

#[derive(Debug, Default)]
struct Gate {
    closed: bool,
    /// Operations that have come to the closed gate so far.
    arrived: u64,
    /// Operations that have been let through it so far, in the order they came.
    released: u64,
}

impl RemoteDouble {
    /// An empty store without faults. Lives end by `clock`.
    pub fn new(clock: Clock, seed: u64) -> Self {
        Self { clock, seed, state: Mutex::default(), gate: watch::Sender::default(), has_locks: false }
    }

    /// From now on faults happen at these rates, once the script is used up.
    pub fn set_rates(&self, rates: FaultRates) {
        self.state.lock().rates = rates;
    }

    /// The next operations on a key take these faults, one each; `None` is an operation that works.
    pub fn script(&self, faults: impl IntoIterator<Item = Option<Fault>>) {
        self.state.lock().script.extend(faults);
    }

    /// Faults that have happened so far.
    pub fn injected(&self) -> u64 {
        self.state.lock().injected
    }

    /// Keys under which something is held, the dead included.
    pub fn len(&self) -> usize {
        self.state.lock().held.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The newest envelope under `key`, whatever its life, without faults, gate or draw.
    pub fn held(&self, key: &RemoteKey) -> Option<Bytes> {
        self.state.lock().held.get(key)?.front().map(|version| version.envelope.clone())
    }

    /// Puts `envelope` under `key`, without faults, gate or draw, never to die: a foreign writer.
    pub fn plant(&self, key: &RemoteKey, envelope: Bytes) {
        self.state.lock().store(key, Version { envelope, dead_at: Nanos(u64::MAX) });
    }

    /// Loses everything, as a flush or a failover to an empty replica does.
    pub fn lose_all(&self) {
        let mut state = self.state.lock();
        state.held.clear();
        state.order.clear();
    }

    /// Operations that come from now on wait until released.
    pub fn close_gate(&self) {
        self.gate.send_modify(|gate| gate.closed = true);
    }

    /// Lets all waiting operations go, and later ones through at once.
    pub fn open_gate(&self) {
        self.gate.send_modify(|gate| {
            gate.closed = false;
            gate.released = gate.arrived;
        });
    }

    /// Lets the longest-waiting `count` operations go, abandoned ones included; the gate stays closed.
    pub fn release(&self, count: u64) {
        self.gate.send_modify(|gate| gate.released = (gate.released + count).min(gate.arrived));
    }

    /// Ends once `count` operations wait in the gate.
    pub async fn wait_until_waiting(&self, count: u64) {
        // The sender lives in `self`: it can't be gone.
        let _ = self.gate.subscribe().wait_for(|gate| gate.arrived - gate.released >= count).await;
    }

    async fn pass_gate(&self) {
        let mut ticket = None;
        self.gate.send_if_modified(|gate| {
            if gate.closed {
                ticket = Some(gate.arrived);
                gate.arrived += 1;
            }
            gate.closed
        });
        if let Some(ticket) = ticket {
            let _ = self.gate.subscribe().wait_for(|gate| gate.released > ticket).await;
        }
    }

    fn read(&self, key: &RemoteKey) -> RemoteResult<Option<Bytes>> {
        let now = self.clock.now();
        let mut state = self.state.lock();
        let (fault, draw) = state.draw(self.seed);
        let newest = state.version(key, 0, now);
        match fault {
            None => Ok(newest),
            Some(Fault::Lose) => Ok(None),
            Some(Fault::Older) => Ok(state.version(key, 1, now)),
            Some(Fault::Corrupt) => Ok(newest.map(|envelope| flip_bit(&envelope, draw))),
            Some(Fault::Misplace) => match state.other(key, draw) {
                Some(other) => Ok(state.version(&other, 0, now)),
                None => Ok(newest),
            },
            Some(Fault::Unavailable) => Err(unavailable(RemoteOperation::Get)),
            Some(Fault::TimeOut) => Err(timed_out(RemoteOperation::Get)),
        }
    }

    fn write(&self, put: RemotePut) -> RemoteResult<()> {
        let dead_at = self.clock.now().after(put.life);
        let mut state = self.state.lock();
        let (fault, draw) = state.draw(self.seed);
        let version = Version { envelope: put.envelope, dead_at };
        match fault {
            None => state.store(&put.key, version),
            Some(Fault::Lose) => {}
            Some(Fault::Older) => state.store_below(&put.key, version),
            Some(Fault::Corrupt) => {
                let envelope = flip_bit(&version.envelope, draw);
                state.store(&put.key, Version { envelope, dead_at });
            }
            Some(Fault::Misplace) => {
                if let Some(other) = state.other(&put.key, draw) {
                    state.store(&other, version.clone());
                }
                state.store(&put.key, version);
            }
            Some(Fault::Unavailable) => return Err(unavailable(RemoteOperation::Put)),
            Some(Fault::TimeOut) => {
                state.store(&put.key, version);
                return Err(timed_out(RemoteOperation::Put));
            }
        }
        Ok(())
    }

    fn forget(&self, key: &RemoteKey) -> RemoteResult<()> {
        let mut state = self.state.lock();
        let (fault, _) = state.draw(self.seed);
        if fault == Some(Fault::Unavailable) {
            return Err(unavailable(RemoteOperation::Delete));
        }
        if fault != Some(Fault::Lose) {
            state.held.remove(key);
            state.order.retain(|held| held != key);
        }
        if fault == Some(Fault::TimeOut) { Err(timed_out(RemoteOperation::Delete)) } else { Ok(()) }
    }
}

impl State {
    /// The fault of the next operation, and a number to settle its details by.
    fn draw(&mut self, seed: u64) -> (Option<Fault>, u64) {
        let random = FixedState::with_seed(seed).hash_one(self.draws);
        self.draws += 1;
        let fault = match self.script.pop_front() {
            Some(scripted) => scripted,
            None => self.rates.pick(random % PER_MILLE),
        };
        self.injected += u64::from(fault.is_some());
        (fault, random / PER_MILLE)
    }

    fn version(&self, key: &RemoteKey, age: usize, now: Nanos) -> Option<Bytes> {
        let version = self.held.get(key)?.get(age)?;
        (now < version.dead_at).then(|| version.envelope.clone())
    }

    fn other(&self, key: &RemoteKey, draw: u64) -> Option<RemoteKey> {
        let others = self.order.iter().filter(|held| *held != key);
        let count = others.clone().count() as u64;
        let index = draw.checked_rem(count)?;
        others.clone().nth(index as usize).cloned()
    }

    fn store(&mut self, key: &RemoteKey, version: Version) {
        let versions = self.versions(key);
        versions.push_front(version);
        versions.truncate(VERSIONS_MAX);
    }

    fn store_below(&mut self, key: &RemoteKey, version: Version) {
        let versions = self.versions(key);
        versions.insert(versions.len().min(1), version);
        versions.truncate(VERSIONS_MAX);
    }

    fn versions(&mut self, key: &RemoteKey) -> &mut VecDeque<Version> {
        if !self.held.contains_key(key) {
            self.order.push(key.clone());
        }
        self.held.entry(key.clone()).or_default()
    }
}

impl RemoteTier for RemoteDouble {
    fn locks(&self) -> Option<&dyn FillLocks> {
        self.has_locks.then_some(self as &dyn FillLocks)
    }

    fn get<'a>(&'a self, key: &'a RemoteKey) -> BoxFuture<'a, RemoteResult<Option<Bytes>>> {
        Box::pin(async move {
            let answer = self.read(key);
            self.pass_gate().await;
            answer
        })
    }

    fn get_many<'a>(&'a self, keys: &'a [RemoteKey]) -> BoxFuture<'a, Vec<RemoteResult<Option<Bytes>>>> {
        Box::pin(async move {
            let answers = keys.iter().map(|key| self.read(key)).collect();
            self.pass_gate().await;
            answers
        })
    }

    fn put(&self, put: RemotePut) -> BoxFuture<'_, RemoteResult<()>> {
        Box::pin(async move {
            self.pass_gate().await;
            self.write(put)
        })
    }

    fn put_many(&self, puts: Vec<RemotePut>) -> BoxFuture<'_, Vec<RemoteResult<()>>> {
        Box::pin(async move {
            self.pass_gate().await;
            puts.into_iter().map(|put| self.write(put)).collect()
        })
    }

    fn delete<'a>(&'a self, key: &'a RemoteKey) -> BoxFuture<'a, RemoteResult<()>> {
        Box::pin(async move {
            self.pass_gate().await;
            self.forget(key)
        })
    }
}

/// `envelope` with one bit flipped; an empty one gains a byte.
fn flip_bit(envelope: &Bytes, draw: u64) -> Bytes {
    let mut bytes = envelope.to_vec();
    match draw.checked_rem(bytes.len() as u64 * 8) {
        Some(bit) => bytes[(bit / 8) as usize] ^= 1 << (bit % 8),
        None => bytes.push(0),
    }
    Bytes::from(bytes)
}

fn unavailable(operation: RemoteOperation) -> RemoteError {
    RemoteError::Unavailable { operation, endpoint: ENDPOINT.into(), reason: "a fault was asked for".into() }
}

fn timed_out(operation: RemoteOperation) -> RemoteError {
    RemoteError::Timeout { operation, endpoint: ENDPOINT.into(), after: Duration::ZERO }
}

#[cfg(test)]
mod tests;
