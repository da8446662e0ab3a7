//! Jobs that can be killed and started again at any point, and change nothing the second time.
//!
//! - A run is named by job and business date. A second instance walks away; a finished run is not begun again.
//! - The work is cut into chunks. A chunk's effects and the checkpoint behind it are one transaction, under the lease's fence.
//! - Effects are upserts on natural keys, or are named by [`id`], which is the same on every run.
//! - Outside systems are asked once per item: the answer is kept and used again.

mod chunk;
mod date;
mod id;
mod run;

pub use self::{
    chunk::Chunk,
    date::BusinessDate,
    id::id,
    run::{JobRun, Jobs, Started},
};
