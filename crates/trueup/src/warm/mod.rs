//! Hot keys over a restart, and out of access logs: what is read before anybody asks for it.
//!
//! [`saved`] keeps what a node has recorded; [`Tally`] reads access logs and lists of keys; [`Routes`] say which URLs are
//! keys of which class; [`each_line`] and [`read_line`] are for whatever else a log is read for. See `docs/guide/warm.md`.

mod clock;
mod line;
mod patterns;
mod routes;
pub mod saved;
mod tally;

pub use self::{
    clock::{BadTimeOfDay, TimeOfDay},
    line::{Asked, Line, read_line},
    routes::{BadRoute, Route, Routes},
    tally::{KEYS_MAX_DEFAULT, TalliedClass, Tally, each_line},
};
