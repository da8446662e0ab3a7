//! Reads: memory, the proof, and whoever has to be asked when those have no answer.

mod class;
mod hit;
mod inspect;
mod load;
mod many;
mod miss;
mod refresh;
mod spread;
mod turn;
mod verify;

pub use class::{Class, Read, ReadMany};
pub(crate) use class::{ClassCore, ClassParts};
pub use inspect::{Inspected, InspectedRemote, RemoteEntry, RemoteFinding};
pub use spread::ExpirySpread;
