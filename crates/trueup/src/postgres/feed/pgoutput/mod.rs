//! The messages of PostgreSQL's `pgoutput` plugin, protocol version 2 with streaming, in text format.
//!
//! [`decode`] borrows from the bytes it is given, allocates for relations alone, and refuses whatever is not a message: it
//! never panics and never reads beyond its input.

mod event;
mod frame;
mod read;
mod row;
#[cfg(test)]
pub(crate) mod tests;

pub use self::{
    event::{Event, Relation, RelationColumn, ReplicaIdentity},
    frame::Frame,
    read::Malformed,
    row::{Row, Value},
};

use self::read::Reader;

/// Decodes one message. `in_stream` says whether it stands between [`Event::StreamStart`] and [`Event::StreamStop`]:
/// there, messages about changes begin with the (sub)transaction's id.
///
/// # Errors
/// [`Malformed`], naming the part that is missing or unknown.
pub fn decode(bytes: &[u8], in_stream: bool) -> Result<Event<'_>, Malformed> {
    let mut reader = Reader::new(bytes);
    let kind = reader.u8("message type")?;
    let event = match kind {
        b'B' => {
            let final_lsn = reader.u64("position of the commit")?;
            let committed_at = reader.i64("commit time")?;
            Event::Begin { final_lsn, committed_at, xid: reader.u32("transaction id")? }
        }
        b'C' => {
            reader.u8("flags")?;
            reader.u64("position of the commit")?;
            let end = reader.u64("end of the commit")?;
            Event::Commit { end, committed_at: reader.i64("commit time")? }
        }
        b'O' => {
            reader.u64("position at the origin")?;
            reader.text("name of the origin")?;
            Event::Origin
        }
        b'S' => {
            let xid = reader.u32("transaction id")?;
            Event::StreamStart { xid, is_first: reader.u8("first segment")? == 1 }
        }
        b'E' => Event::StreamStop,
        b'c' => {
            let xid = reader.u32("transaction id")?;
            reader.u8("flags")?;
            reader.u64("position of the commit")?;
            let end = reader.u64("end of the commit")?;
            Event::StreamCommit { xid, end, committed_at: reader.i64("commit time")? }
        }
        b'A' => {
            let xid = reader.u32("transaction id")?;
            Event::StreamAbort { xid, subxid: reader.u32("subtransaction id")? }
        }
        _ => {
            let xid = if in_stream { reader.u32("transaction id")? } else { 0 };
            event::decode_change(kind, &mut reader, xid)?
        }
    };
    reader.end()?;
    Ok(event)
}
