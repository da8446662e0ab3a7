//! From decoded messages to the engine's transactions: pure, without I/O.
//!
//! Subtransactions fold into their top-level transaction, tags are told once each, a transaction with very many becomes a
//! change of its tables as a whole, and what was rolled back is forgotten.

mod open;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

use trueup_core::proof::{Position, Tag, Transaction, Xid};

use self::open::Open;
use super::{
    mapper::Mapper,
    pgoutput::{Event, Relation},
};
use crate::postgres::names::TAGS_PREFIX;

pub(super) use self::open::AssembleError;

/// Prefix of heartbeats: their content is the counter of `trueup.feed`, as text.
pub(super) const BEAT_PREFIX: &str = "trueup.beat";
/// From 1970 to 2000, where the database's clock begins, in microseconds.
const DATABASE_EPOCH_US: i64 = 946_684_800_000_000;

/// What can be applied: whole transactions, and how far they go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    /// Where the batch before this one ended.
    pub(super) previous: Position,
    /// Every change at or below this is in this batch or an earlier one. Always the end of a record of the log.
    pub(super) end: Position,
    /// Those that changed something.
    pub(super) transactions: Vec<Transaction>,
    /// When each was committed by the database's clock, in microseconds since 1970; zero for tags outside of transactions.
    pub(super) committed_at_us: Vec<u64>,
    /// The counter of the last heartbeat in the batch.
    pub(super) beat: Option<u64>,
}

/// Assembles what one connection to the source tells.
pub(super) struct Assembler {
    relations: HashMap<u32, Arc<Relation>>,
    /// The transaction that is being told, between its begin and its commit.
    open: Option<Open>,
    /// Large transactions that are told in parts and have not ended, by top-level id.
    streamed: HashMap<u32, Open>,
    in_stream: Option<u32>,
    /// An id near those that the log tells in 32 bits.
    near: Xid,
    /// Tags of messages outside of transactions: raised at the next position.
    loose: Vec<Tag>,
    batch: Batch,
}

impl Assembler {
    /// Assembles from `start`, the end of a record; `near` is a transaction id of these days.
    pub(super) fn new(start: Position, near: Xid) -> Self {
        Self {
            relations: HashMap::new(),
            open: None,
            streamed: HashMap::new(),
            in_stream: None,
            near,
            loose: Vec::new(),
            batch: Batch { previous: start, end: start, ..Batch::default() },
        }
    }

    /// Learns a later transaction id.
    pub(super) fn near(&mut self, xid: Xid) {
        self.near = self.near.max(xid);
    }

    /// Changes become other tags from here on. Transactions that are under way were mapped in part as before: their tables
    /// are told as a whole.
    pub(super) fn remapped(&mut self) {
        self.open.iter_mut().chain(self.streamed.values_mut()).for_each(Open::tell_as_whole);
    }

    /// Whether the next message stands within a stream: see [`decode`](super::pgoutput::decode).
    pub(super) const fn in_stream(&self) -> bool {
        self.in_stream.is_some()
    }

    /// The server has decoded everything up to `wal_end`: without a transaction under way, so are we.
    pub(super) fn keepalive(&mut self, wal_end: Position) {
        if self.open.is_none() {
            self.reach(wal_end);
        }
    }

    /// What has become complete since the last call.
    pub(super) fn take_batch(&mut self) -> Option<Batch> {
        if self.batch.end == self.batch.previous {
            return None;
        }
        let next = Batch { previous: self.batch.end, end: self.batch.end, ..Batch::default() };
        Some(std::mem::replace(&mut self.batch, next))
    }

    /// Takes one message.
    ///
    /// # Errors
    /// [`AssembleError`]: the connection tells what cannot be, so nothing it tells can be relied on.
    pub(super) fn take(&mut self, event: Event<'_>, mapper: &dyn Mapper) -> Result<(), AssembleError> {
        match event {
            Event::Begin { xid, .. } => {
                if self.open.is_some() || self.in_stream.is_some() {
                    return Err(AssembleError::Order("a transaction begins within another"));
                }
                self.open = Some(Open::new(xid));
            }
            Event::Commit { end, committed_at } => {
                let open = self.open.take().ok_or(AssembleError::Order("a commit without a begin"))?;
                self.complete(open, end, committed_at, mapper)?;
            }
            Event::StreamStart { xid, .. } => {
                if self.open.is_some() || self.in_stream.replace(xid).is_some() {
                    return Err(AssembleError::Order("a stream starts within another"));
                }
                self.streamed.entry(xid).or_insert_with(|| Open::new(xid));
            }
            Event::StreamStop => {
                self.in_stream.take().ok_or(AssembleError::Order("a stream stops that has not started"))?;
            }
            Event::StreamCommit { xid, end, committed_at } => {
                let open = self.streamed.remove(&xid);
                let mut open =
                    open.ok_or(AssembleError::Order("a streamed commit of an unknown transaction"))?;
                // From here on the server does not tell these again.
                self.relations.extend(open.take_relations());
                self.complete(open, end, committed_at, mapper)?;
            }
            Event::StreamAbort { xid, subxid } => {
                if xid == subxid {
                    self.streamed.remove(&xid);
                } else if let Some(open) = self.streamed.get_mut(&xid) {
                    open.forget(subxid);
                }
            }
            Event::Relation { relation, .. } => {
                let relation = Arc::new(relation);
                match self.in_stream.and_then(|xid| self.streamed.get_mut(&xid)) {
                    Some(open) => open.learn(relation),
                    None => drop(self.relations.insert(relation.oid, relation)),
                }
            }
            Event::Origin | Event::Type => {}
            Event::Insert { xid, relation, new } => {
                let (open, relation) = self.target(relation)?;
                open.row(xid, &relation, None, Some(new), mapper)?;
            }
            Event::Update { xid, relation, old, new } => {
                let (open, relation) = self.target(relation)?;
                open.row(xid, &relation, old, Some(new), mapper)?;
            }
            Event::Delete { xid, relation, old } => {
                let (open, relation) = self.target(relation)?;
                open.row(xid, &relation, Some(old), None, mapper)?;
            }
            Event::Truncate { xid, relations } => {
                for oid in relations {
                    let (open, relation) = self.target(oid)?;
                    open.whole(xid, &relation, mapper);
                }
            }
            Event::Message { xid, is_transactional, prefix, content } => {
                self.message(xid, is_transactional, prefix, content)?;
            }
        }
        Ok(())
    }

    /// The transaction that a change belongs to, and the relation as that transaction sees it.
    fn target(&mut self, oid: u32) -> Result<(&mut Open, Arc<Relation>), AssembleError> {
        let open = match self.in_stream {
            Some(xid) => self.streamed.get_mut(&xid),
            None => self.open.as_mut(),
        };
        let open = open.ok_or(AssembleError::Order("a change outside of a transaction"))?;
        let relation = open.relation(oid).or_else(|| self.relations.get(&oid)).cloned();
        Ok((open, relation.ok_or(AssembleError::Relation(oid))?))
    }

    fn message(
        &mut self,
        xid: u32,
        is_transactional: bool,
        prefix: &str,
        content: &[u8],
    ) -> Result<(), AssembleError> {
        match prefix {
            TAGS_PREFIX => {
                // Whole ones only.
                let (tags, _) = content.as_chunks::<8>();
                let tags = tags.iter().map(|tag| Tag(u64::from_le_bytes(*tag)));
                let open = match self.in_stream {
                    Some(xid) => self.streamed.get_mut(&xid),
                    None => self.open.as_mut(),
                };
                match open.filter(|_| is_transactional) {
                    Some(open) => open.name(xid, tags)?,
                    None => self.loose.extend(tags),
                }
            }
            BEAT_PREFIX => {
                let counter = std::str::from_utf8(content).ok().and_then(|text| text.parse::<u64>().ok());
                self.batch.beat = self.batch.beat.max(counter);
            }
            _ => {}
        }
        Ok(())
    }

    fn complete(
        &mut self,
        open: Open,
        end: u64,
        committed_at: i64,
        mapper: &dyn Mapper,
    ) -> Result<(), AssembleError> {
        let end = Position(end);
        if end <= self.batch.end {
            return Err(AssembleError::Order("a commit ends where everything was told already"));
        }
        let xid = Xid::widen(open.xid(), self.near);
        let tags = open.into_tags(mapper);
        self.reach(end);
        if !tags.is_empty() {
            self.batch.transactions.push(Transaction { xid, end, tags });
            let unix_us = committed_at.saturating_add(DATABASE_EPOCH_US).max(0);
            self.batch.committed_at_us.push(unix_us.cast_unsigned());
        }
        Ok(())
    }

    fn reach(&mut self, end: Position) {
        if end <= self.batch.end {
            return;
        }
        self.batch.end = end;
        if !self.loose.is_empty() {
            // No transaction stands behind them: their id is visible to everyone.
            let tags = std::mem::take(&mut self.loose);
            self.batch.transactions.push(Transaction { xid: Xid(0), end, tags });
            self.batch.committed_at_us.push(0);
        }
    }
}
