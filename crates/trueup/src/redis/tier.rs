//! The remote tier as the engine sees it.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use compact_str::CompactString;
use redis::Value;
use tokio::sync::{Notify, watch};
use trueup_core::{
    env::{BoxFuture, Clock, Task},
    tier::{
        FillLocks, RemoteError, RemoteKey, RemoteOperation, RemotePlace, RemotePut, RemoteResult,
        RemoteServer, RemoteTier,
    },
};

use super::{
    batch::{Ask, Job, PutHow},
    connect::Connector,
    deadline::Deadline,
    fault::RedisError,
    keeper,
    lock::LockScripts,
    map::{Map, slot_of},
    memory,
    options::RedisOptions,
    script::PutScript,
    server::{Counts, Shared},
    servers::Servers,
};
use crate::plan::RemoteAddress;

/// Redis or Valkey as a store of envelopes. Made by [`super::Redis`].
#[derive(Debug)]
pub struct RedisTier {
    pub(super) servers: Arc<Servers>,
    keeper: Option<Task>,
    memory: Task,
}

/// What a tier has done, beyond what the engine counts of any tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RedisStats {
    /// Connections made.
    pub connects: u64,
    /// Commands that a cluster sent on to another server.
    pub redirects: u64,
    /// Writes that left a newer entry in place.
    pub newer_kept: u64,
    /// Times that a cluster's slots were learned.
    pub maps: u64,
}

impl Drop for RedisTier {
    fn drop(&mut self) {
        self.memory.stop();
        if let Some(keeper) = &self.keeper {
            keeper.stop();
        }
    }
}

impl RedisTier {
    /// Begins to connect, on the current tokio runtime, and returns at once.
    ///
    /// # Errors
    /// [`RedisError`] for what can't be right; a tier that can't be reached is none.
    pub(super) fn start(
        address: &RemoteAddress,
        options: RedisOptions,
        clock: Clock,
    ) -> Result<Self, RedisError> {
        let connector = Connector::new(address, &options.tls, options.connect_timeout)?;
        let shared = Arc::new(Shared {
            options,
            connector,
            clock,
            script: PutScript::new(),
            locks: LockScripts::new(),
            map_is_stale: Notify::new(),
            ready: watch::channel(false).0,
            counts: Counts::default(),
        });
        let servers = Arc::new(Servers::new(address, shared));
        let keeper = address.is_cluster.then(|| keeper::keep_map(&servers));
        let memory = memory::watch(&servers);
        Ok(Self { servers, keeper, memory })
    }

    /// Waits until a server is of use, for as long as one attempt to connect may take.
    ///
    /// # Errors
    /// [`RemoteError::Unavailable`] with what is wrong. Nothing has to be done about it: the tier is tried again by itself, and
    /// until then everything is a miss.
    pub async fn connected(&self) -> RemoteResult<()> {
        let within = self.servers.shared().options.connect_timeout;
        if tokio::time::timeout(within, self.servers.until_ready()).await.is_ok() {
            return Ok(());
        }
        let told = self.servers().into_iter().find_map(|server| server.left_alone);
        let reason =
            told.unwrap_or_else(|| CompactString::const_new("no server of the cluster has answered"));
        let endpoint = self.servers.name().clone();
        Err(RemoteError::Unavailable { operation: RemoteOperation::Get, endpoint, reason })
    }

    /// The tier's address, without credentials.
    #[must_use]
    pub fn address(&self) -> &str {
        self.servers.name()
    }

    /// What it has done.
    #[must_use]
    pub fn stats(&self) -> RedisStats {
        let counts = &self.servers.shared().counts;
        RedisStats {
            connects: counts.connects.load(Ordering::Relaxed),
            redirects: counts.redirects.load(Ordering::Relaxed),
            newer_kept: counts.newer_kept.load(Ordering::Relaxed),
            maps: counts.maps.load(Ordering::Relaxed),
        }
    }

    pub(super) fn deadline(&self, operation: RemoteOperation) -> Deadline {
        let shared = self.servers.shared();
        let within = match operation {
            RemoteOperation::Get | RemoteOperation::Lock => shared.options.get_timeout,
            RemoteOperation::Put | RemoteOperation::Delete => shared.options.put_timeout,
        };
        Deadline::begin(&shared.clock, within)
    }

    /// The server that a key's answer came from, for errors.
    fn endpoint(&self, map: &Map, slot: u16) -> CompactString {
        map.owner(slot).map_or_else(|| self.servers.name().clone(), |server| server.endpoint.clone())
    }

    async fn ask_one(&self, key: &RemoteKey) -> RemoteResult<Option<Bytes>> {
        let (operation, deadline) = (RemoteOperation::Get, self.deadline(RemoteOperation::Get));
        let job = self.job(0, key, Ask::Get);
        let slot = job.slot;
        self.envelope(self.servers.run_one(job, operation, &deadline).await?, slot)
    }

    async fn ask(&self, keys: &[RemoteKey]) -> Vec<RemoteResult<Option<Bytes>>> {
        let deadline = self.deadline(RemoteOperation::Get);
        let jobs: Vec<Job<'_>> = keys.iter().enumerate().map(|(i, key)| self.job(i, key, Ask::Get)).collect();
        let slots: Vec<u16> = jobs.iter().map(|job| job.slot).collect();
        let answers = self.servers.run(jobs, RemoteOperation::Get, &deadline).await;
        answers.into_iter().zip(slots).map(|(answer, slot)| self.envelope(answer?, slot)).collect()
    }

    fn envelope(&self, answer: Value, slot: u16) -> RemoteResult<Option<Bytes>> {
        let (operation, limit_bytes) =
            (RemoteOperation::Get, self.servers.shared().options.envelope_bytes_max);
        match answer {
            Value::Nil => Ok(None),
            Value::BulkString(bytes) if bytes.len() <= limit_bytes => Ok(Some(bytes.into())),
            Value::BulkString(bytes) => {
                let endpoint = self.endpoint(&self.servers.map(), slot);
                Err(RemoteError::TooLarge { operation, endpoint, bytes: bytes.len(), limit_bytes })
            }
            other => Err(self.nonsense(operation, &other, slot)),
        }
    }

    pub(super) fn nonsense(&self, operation: RemoteOperation, answer: &Value, slot: u16) -> RemoteError {
        let kind = match answer {
            Value::Int(_) => "a number",
            Value::Array(_) | Value::Set(_) => "a list",
            Value::Map(_) => "a map",
            Value::BulkString(_) => "a string",
            Value::SimpleString(_) | Value::Okay => "a status",
            Value::Nil => "nothing",
            _ => "something else",
        };
        let reason = CompactString::const_new(kind);
        let map = self.servers.map();
        if let Some(server) = map.owner(slot) {
            server.talks_nonsense(&reason);
        }
        RemoteError::Protocol { operation, endpoint: self.endpoint(&map, slot), reason }
    }

    fn job<'a>(&self, index: usize, key: &RemoteKey, ask: Ask<'a>) -> Job<'a> {
        let name = key.name();
        let slot = if self.servers.is_cluster { slot_of(&name) } else { 0 };
        Job { index, name, slot, ask }
    }

    async fn write_one(&self, put: &RemotePut) -> RemoteResult<()> {
        let (operation, deadline) = (RemoteOperation::Put, self.deadline(RemoteOperation::Put));
        self.fits(put)?;
        let job = self.job(0, &put.key, self.how(put));
        let slot = job.slot;
        self.written(self.servers.run_one(job, operation, &deadline).await?, slot)
    }

    async fn write(&self, puts: &[RemotePut]) -> Vec<RemoteResult<()>> {
        let (operation, deadline) = (RemoteOperation::Put, self.deadline(RemoteOperation::Put));
        let mut jobs = Vec::with_capacity(puts.len());
        for (index, put) in puts.iter().filter(|put| self.fits(put).is_ok()).enumerate() {
            jobs.push(self.job(index, &put.key, self.how(put)));
        }
        let slots: Vec<u16> = jobs.iter().map(|job| job.slot).collect();
        let mut answers = self.servers.run(jobs, operation, &deadline).await.into_iter().zip(slots);
        let outcome = |put| {
            self.fits(put)?;
            match answers.next() {
                Some((answer, slot)) => self.written(answer?, slot),
                // One answer per envelope that was sent.
                None => Err(self.nonsense(operation, &Value::Nil, 0)),
            }
        };
        puts.iter().map(outcome).collect()
    }

    fn how<'a>(&self, put: &'a RemotePut) -> Ask<'a> {
        let is_late = put.age > self.servers.shared().options.late_from;
        let how = if is_late { PutHow::Digest } else { PutHow::Plain };
        Ask::Put { envelope: &put.envelope, life: put.life, how }
    }

    fn fits(&self, put: &RemotePut) -> RemoteResult<()> {
        let limit_bytes = self.servers.shared().options.envelope_bytes_max;
        let (operation, bytes) = (RemoteOperation::Put, put.envelope.len());
        if bytes <= limit_bytes {
            return Ok(());
        }
        Err(RemoteError::TooLarge { operation, endpoint: self.servers.name().clone(), bytes, limit_bytes })
    }

    fn written(&self, answer: Value, slot: u16) -> RemoteResult<()> {
        match answer {
            Value::Okay => Ok(()),
            Value::Int(0) => {
                self.servers.shared().counts.newer_kept.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            other => Err(self.nonsense(RemoteOperation::Put, &other, slot)),
        }
    }

    async fn remove(&self, key: &RemoteKey) -> RemoteResult<()> {
        let (operation, deadline) = (RemoteOperation::Delete, self.deadline(RemoteOperation::Delete));
        let job = self.job(0, key, Ask::Delete);
        let slot = job.slot;
        match self.servers.run_one(job, operation, &deadline).await? {
            Value::Int(_) => Ok(()),
            other => Err(self.nonsense(operation, &other, slot)),
        }
    }
}

impl RemoteTier for RedisTier {
    fn get<'a>(&'a self, key: &'a RemoteKey) -> BoxFuture<'a, RemoteResult<Option<Bytes>>> {
        Box::pin(self.ask_one(key))
    }

    fn get_many<'a>(&'a self, keys: &'a [RemoteKey]) -> BoxFuture<'a, Vec<RemoteResult<Option<Bytes>>>> {
        Box::pin(self.ask(keys))
    }

    fn put(&self, put: RemotePut) -> BoxFuture<'_, RemoteResult<()>> {
        Box::pin(async move { self.write_one(&put).await })
    }

    fn put_many(&self, puts: Vec<RemotePut>) -> BoxFuture<'_, Vec<RemoteResult<()>>> {
        Box::pin(async move { self.write(&puts).await })
    }

    fn delete<'a>(&'a self, key: &'a RemoteKey) -> BoxFuture<'a, RemoteResult<()>> {
        Box::pin(self.remove(key))
    }

    fn locks(&self) -> Option<&dyn FillLocks> {
        Some(self)
    }

    fn servers(&self) -> Vec<RemoteServer> {
        self.servers.map().servers.iter().map(|server| server.told()).collect()
    }

    fn place(&self, key: &RemoteKey) -> RemotePlace {
        let map = self.servers.map();
        let slot = map.slot(key);
        let owner = map.owner(slot.unwrap_or_default());
        RemotePlace { slot, endpoint: owner.map(|server| server.endpoint.clone()) }
    }
}
