//! A message as one node tells it to another. `docs/format.md` describes the bytes.

use bytes::Bytes;
use trueup_core::{
    entry::EpochId,
    proof::{Message, Position, Tag, Transaction, Xid},
};
use xxhash_rust::xxh3::xxh3_64;

/// Version of the format.
const VERSION: u8 = 2;
/// Version, epoch, connection, previous, end, mapping, heartbeat, time taken, number of transactions.
const HEADER_BYTES: usize = 1 + 16 + 8 + 8 + 8 + 16 + 8 + 8 + 4;
/// Id, end, commit time, number of tags.
const TRANSACTION_BYTES: usize = 8 + 8 + 8 + 4;
const TAG_BYTES: usize = 8;
/// Checksum over everything before it.
const SUM_BYTES: usize = 8;
/// The length in front of each message.
pub(super) const LENGTH_BYTES: usize = 4;
/// Longest message, in bytes.
pub(super) const MESSAGE_BYTES_MAX: usize = 128 << 20;

/// A message of the feed with what goes along with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// What is applied.
    pub message: Message,
    /// When each transaction was committed by the database's clock, in microseconds since 1970; zero where that is unknown.
    pub committed_at_us: Vec<u64>,
    /// Digest of how changes become tags: whoever maps otherwise cannot use the message.
    pub mapping: [u8; 16],
    /// The counter of the last heartbeat that was seen in the log.
    pub beat: u64,
    /// When the node that holds the slot took it from the log, in microseconds since 1970 by that node's clock. For metrics.
    pub taken_at_us: u64,
}

/// Bytes that are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message is damaged, or of another version")]
pub struct BadMessage;

impl Told {
    /// The bytes, with their length in front; none for a message longer than 128 MiB.
    #[must_use]
    pub fn encode(&self) -> Option<Bytes> {
        let tags = self.message.transactions.iter().map(|t| TRANSACTION_BYTES + t.tags.len() * TAG_BYTES);
        let length = HEADER_BYTES + tags.sum::<usize>() + SUM_BYTES;
        if length > MESSAGE_BYTES_MAX {
            return None;
        }
        let mut bytes = Vec::with_capacity(LENGTH_BYTES + length);
        bytes.extend_from_slice(&(length as u32).to_le_bytes());
        bytes.push(VERSION);
        bytes.extend_from_slice(self.message.epoch.as_bytes());
        for number in [self.message.connection, self.message.previous.0, self.message.end.0] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.mapping);
        bytes.extend_from_slice(&self.beat.to_le_bytes());
        bytes.extend_from_slice(&self.taken_at_us.to_le_bytes());
        bytes.extend_from_slice(&(self.message.transactions.len() as u32).to_le_bytes());
        let committed = self.committed_at_us.iter().copied().chain(std::iter::repeat(0));
        for (transaction, committed_at_us) in self.message.transactions.iter().zip(committed) {
            for number in [transaction.xid.0, transaction.end.0, committed_at_us] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
            bytes.extend_from_slice(&(transaction.tags.len() as u32).to_le_bytes());
            transaction.tags.iter().for_each(|tag| bytes.extend_from_slice(&tag.0.to_le_bytes()));
        }
        let sum = xxh3_64(&bytes[LENGTH_BYTES..]);
        bytes.extend_from_slice(&sum.to_le_bytes());
        Some(bytes.into())
    }

    /// Reads what [`Told::encode`] wrote, without the length in front.
    ///
    /// # Errors
    /// [`BadMessage`] for anything else; reads no more than `bytes` and allocates no more than they hold.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadMessage> {
        let (body, sum) = bytes.split_last_chunk::<SUM_BYTES>().ok_or(BadMessage)?;
        if xxh3_64(body) != u64::from_le_bytes(*sum) {
            return Err(BadMessage);
        }
        let mut rest = body;
        if take::<1>(&mut rest)? != [VERSION] {
            return Err(BadMessage);
        }
        let epoch = EpochId::from_bytes(take(&mut rest)?);
        let (connection, previous, end) = (number(&mut rest)?, number(&mut rest)?, number(&mut rest)?);
        let mapping = take(&mut rest)?;
        let (beat, taken_at_us) = (number(&mut rest)?, number(&mut rest)?);
        let count = u32::from_le_bytes(take(&mut rest)?) as usize;
        if count > rest.len() / TRANSACTION_BYTES {
            return Err(BadMessage);
        }
        let (mut transactions, mut committed_at_us) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for _ in 0..count {
            let (xid, end) = (Xid(number(&mut rest)?), Position(number(&mut rest)?));
            committed_at_us.push(number(&mut rest)?);
            let tags = u32::from_le_bytes(take(&mut rest)?) as usize;
            let (told, left) = rest.split_at_checked(tags.saturating_mul(TAG_BYTES)).ok_or(BadMessage)?;
            rest = left;
            let (told, _) = told.as_chunks::<TAG_BYTES>();
            let tags = told.iter().map(|tag| Tag(u64::from_le_bytes(*tag))).collect();
            transactions.push(Transaction { xid, end, tags });
        }
        if !rest.is_empty() {
            return Err(BadMessage);
        }
        let (previous, end) = (Position(previous), Position(end));
        let message = Message { epoch, connection, previous, end, transactions };
        Ok(Self { message, committed_at_us, mapping, beat, taken_at_us })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], BadMessage> {
    let (taken, left) = rest.split_first_chunk::<N>().ok_or(BadMessage)?;
    *rest = left;
    Ok(*taken)
}

fn number(rest: &mut &[u8]) -> Result<u64, BadMessage> {
    take(rest).map(u64::from_le_bytes)
}
