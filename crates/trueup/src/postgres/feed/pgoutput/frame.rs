//! What stands around each message on a replication connection.

use super::read::{Malformed, Reader};

/// One unit of a replication connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A message of the plugin, for [`decode`](super::decode).
    Data(&'a [u8]),
    /// The server is alive.
    Keepalive {
        /// Everything that ends at or below this has been decoded, and sent if it concerned us.
        wal_end: u64,
        /// The server wants an answer now, or will hang up.
        wants_reply: bool,
    },
}

impl<'a> Frame<'a> {
    /// Decodes one unit.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        match reader.u8("kind of a frame")? {
            b'w' => {
                // Start and end of the data repeat what the commit says, and are not told for changes in between.
                reader.u64("start of the data")?;
                reader.u64("end of the data")?;
                reader.i64("time of sending")?;
                Ok(Self::Data(reader.take_rest()))
            }
            b'k' => {
                let wal_end = reader.u64("end of the log")?;
                reader.i64("time of sending")?;
                let wants_reply = reader.u8("wish for a reply")? == 1;
                reader.end()?;
                Ok(Self::Keepalive { wal_end, wants_reply })
            }
            other => Err(Malformed::Unknown(other)),
        }
    }
}
