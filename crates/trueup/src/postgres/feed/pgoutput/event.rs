//! What the log tells.

use super::{
    read::{Malformed, Reader},
    row::Row,
};

/// Which columns of an old row are told when a row is updated or deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaIdentity {
    /// The primary key.
    Default,
    /// None: updates and deletes fail while the table is published.
    Nothing,
    /// All.
    Full,
    /// Those of a unique index.
    Index,
}

/// A column of a relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationColumn {
    /// Its name.
    pub name: String,
    /// Oid of its type.
    pub type_oid: u32,
    /// Whether it belongs to the replica identity.
    pub is_key: bool,
}

/// A table as the changes after it are to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// Its oid.
    pub oid: u32,
    /// Its schema.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What old rows hold.
    pub identity: ReplicaIdentity,
    /// The columns that rows hold, in their order.
    pub columns: Vec<RelationColumn>,
}

/// One message.
///
/// `xid` is the changing (sub)transaction's id inside of a stream and zero elsewhere; times are microseconds since 2000 by
/// the database's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A transaction begins; it has committed.
    Begin {
        /// Where its commit record starts.
        final_lsn: u64,
        /// When it committed.
        committed_at: i64,
        /// Its top-level id.
        xid: u32,
    },
    /// The transaction ends.
    Commit {
        /// Where its commit record ends.
        end: u64,
        /// When it committed.
        committed_at: i64,
    },
    /// The transaction came from another server.
    Origin,
    /// How the rows of a relation are to be read from here on.
    Relation {
        /// See [`Event`].
        xid: u32,
        /// The relation.
        relation: Relation,
    },
    /// A type that is not built in; only its name.
    Type,
    /// A row was inserted.
    Insert {
        /// See [`Event`].
        xid: u32,
        /// Oid of the relation.
        relation: u32,
        /// The row.
        new: Row<'a>,
    },
    /// A row was updated.
    Update {
        /// See [`Event`].
        xid: u32,
        /// Oid of the relation.
        relation: u32,
        /// The identity, or the whole, of the row as it was; none where the identity has not changed.
        old: Option<Row<'a>>,
        /// The row as it is.
        new: Row<'a>,
    },
    /// A row was deleted.
    Delete {
        /// See [`Event`].
        xid: u32,
        /// Oid of the relation.
        relation: u32,
        /// The identity, or the whole, of the row.
        old: Row<'a>,
    },
    /// Tables were emptied.
    Truncate {
        /// See [`Event`].
        xid: u32,
        /// Oids of the relations.
        relations: Vec<u32>,
    },
    /// A message that a session put into the log.
    Message {
        /// The transaction's id inside of a stream, else zero.
        xid: u32,
        /// Whether it belongs to the transaction; else it counts whatever becomes of that.
        is_transactional: bool,
        /// Whose it is.
        prefix: &'a str,
        /// What it says.
        content: &'a [u8],
    },
    /// A part of a large transaction follows, which may still be rolled back.
    StreamStart {
        /// The top-level id.
        xid: u32,
        /// Whether it is the transaction's first part.
        is_first: bool,
    },
    /// The part ends.
    StreamStop,
    /// A streamed transaction has committed.
    StreamCommit {
        /// The top-level id.
        xid: u32,
        /// Where its commit record ends.
        end: u64,
        /// When it committed.
        committed_at: i64,
    },
    /// A streamed transaction, or a part of it, was rolled back.
    StreamAbort {
        /// The top-level id.
        xid: u32,
        /// The id that was rolled back; the top-level one for the whole.
        subxid: u32,
    },
}

/// Decodes the messages that a stream prefixes with the transaction's id.
pub(super) fn decode_change<'a>(kind: u8, reader: &mut Reader<'a>, xid: u32) -> Result<Event<'a>, Malformed> {
    match kind {
        b'R' => Ok(Event::Relation { xid, relation: decode_relation(reader)? }),
        b'Y' => {
            reader.u32("oid of a type")?;
            reader.text("schema of a type")?;
            reader.text("name of a type")?;
            Ok(Event::Type)
        }
        b'I' => {
            let relation = reader.u32("oid of a relation")?;
            Ok(Event::Insert { xid, relation, new: new_row(reader)? })
        }
        b'U' => {
            let relation = reader.u32("oid of a relation")?;
            let old = match reader.rest().first() {
                Some(b'K' | b'O') => Some(old_row(reader)?),
                _ => None,
            };
            Ok(Event::Update { xid, relation, old, new: new_row(reader)? })
        }
        b'D' => {
            let relation = reader.u32("oid of a relation")?;
            Ok(Event::Delete { xid, relation, old: old_row(reader)? })
        }
        b'T' => {
            let count = reader.u32("number of relations")?;
            reader.u8("flags")?;
            // Not allocated by what the message claims: it ends before a claim that is too large is believed.
            let relations = (0..count).map(|_| reader.u32("oid of a relation")).collect::<Result<_, _>>()?;
            Ok(Event::Truncate { xid, relations })
        }
        b'M' => {
            let is_transactional = reader.u8("flags")? & 1 == 1;
            reader.u64("position of the message")?;
            let prefix = reader.text("prefix")?;
            let length = reader.u32("length of the content")?;
            Ok(Event::Message { xid, is_transactional, prefix, content: reader.bytes(length, "content")? })
        }
        other => Err(Malformed::Unknown(other)),
    }
}

fn new_row<'a>(reader: &mut Reader<'a>) -> Result<Row<'a>, Malformed> {
    match reader.u8("kind of a row")? {
        b'N' => Row::decode(reader),
        _ => Err(Malformed::Impossible("kind of a row")),
    }
}

fn old_row<'a>(reader: &mut Reader<'a>) -> Result<Row<'a>, Malformed> {
    match reader.u8("kind of a row")? {
        b'K' | b'O' => Row::decode(reader),
        _ => Err(Malformed::Impossible("kind of a row")),
    }
}

fn decode_relation(reader: &mut Reader<'_>) -> Result<Relation, Malformed> {
    let oid = reader.u32("oid of a relation")?;
    let namespace = reader.text("schema of a relation")?;
    let name = reader.text("name of a relation")?.to_owned();
    let identity = match reader.u8("replica identity")? {
        b'd' => ReplicaIdentity::Default,
        b'n' => ReplicaIdentity::Nothing,
        b'f' => ReplicaIdentity::Full,
        b'i' => ReplicaIdentity::Index,
        _ => return Err(Malformed::Impossible("replica identity")),
    };
    let count = reader.u16("number of columns")?;
    let mut columns = Vec::new();
    for _ in 0..count {
        let is_key = reader.u8("flags of a column")? & 1 == 1;
        let name = reader.text("name of a column")?.to_owned();
        let type_oid = reader.u32("type of a column")?;
        reader.u32("type modifier of a column")?;
        columns.push(RelationColumn { name, type_oid, is_key });
    }
    // The empty name is short for the catalogue's own schema.
    let namespace = if namespace.is_empty() { "pg_catalog" } else { namespace }.to_owned();
    Ok(Relation { oid, namespace, name, identity, columns })
}
