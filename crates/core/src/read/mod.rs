//! Reads: memory, the proof, and whoever has to be asked when those have no answer.

mod absent;
mod aside;
mod class;
mod double_delete;
mod fallback;
mod floor;
mod hit;
mod inspect;
mod load;
mod many;
mod miss;
mod pending;
mod publish;
mod put;
mod refresh;
mod request;
mod spread;
mod together;
mod turn;
mod verify;
mod warm;

pub use aside::{Lease, Leased, tags_of_filled};
pub use class::Class;
pub(crate) use class::{ClassCore, ClassParts};
pub(crate) use fallback::StandIns;
pub use inspect::{Inspected, InspectedRemote, RemoteEntry, RemoteFinding};
pub use request::{Read, ReadMany};
pub use spread::ExpirySpread;
pub use warm::{WARM_BATCH, WARM_LOADS_DEFAULT, WarmRules};
