//! The proof: pure, synchronous, without I/O.
//!
//! A node follows the source's feed and knows, for everything an entry depends on, the last position at which it
//! changed. An entry is served only if it was proven later than that. `docs/guarantees.md` states the promises;
//! [`Ledger`] keeps them.

mod asks;
mod book;
mod buckets;
mod check;
mod entry_proof;
mod filter;
mod floor;
mod ledger;
mod listener;
mod position;
mod recent;
mod saved;
mod saved_filter;
mod snapshot;
mod tag;
mod token;

pub use asks::{Ask, Asks, Known};
pub use book::{Book, Hold, Refused, Rejected, Transaction};
pub use buckets::Buckets;
pub use check::{Doubt, Need, Proven, Unproven};
pub use entry_proof::{Epochs, Proof, Standing};
pub use filter::{RowFilter, TableTags, Voided, filter_bytes, filter_hashes};
pub use floor::{Barrier, Floor};
pub use ledger::{Carrier, Ledger, Load, Message, Seen, Status};
pub use listener::{Beginning, Listener, Listening};
pub use position::{Position, Xid};
pub use recent::{Full, Recent};
pub use saved::{BadSave, SavedLedger};
pub use saved_filter::{BadFilter, EVIDENCE_BYTES_MAX, FilterHead, SavedPlace, read_filter, write_filter};
pub use snapshot::{BadSnapshot, Change, Snapshot, XidSnapshot};
pub use tag::{Tag, Tags};
pub use token::{BadToken, Token};
