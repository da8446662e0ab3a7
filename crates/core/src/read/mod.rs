//! Reads: memory, the proof, and whoever has to be asked when those have no answer.

mod class;
mod fallback;
mod floor;
mod hit;
mod inspect;
mod load;
mod many;
mod miss;
mod verify;

pub use class::{Class, Read, ReadMany};
pub(crate) use class::{ClassCore, ClassParts};
pub(crate) use fallback::StandIns;
pub use inspect::{Inspected, InspectedRemote, RemoteEntry, RemoteFinding};
