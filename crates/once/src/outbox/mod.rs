//! Messages that leave if and only if the transaction that wrote them was committed: at least once, and in order for each aggregate.
//!
//! A message is a row, written in the transaction of the effect that it tells of. A [`Relay`] reads the rows and hands them to a
//! [`Sink`]; a message whose acknowledgement was lost is handed over again. Its consumer tells by the
//! [inbox](crate::inbox), and by the sequence, which has no gaps within an aggregate.

mod message;
mod put;
#[cfg(feature = "redis")]
pub mod redis;
mod relay;
mod sink;

pub use self::{
    message::{Message, NewMessage},
    put::Outbox,
    relay::{Relay, RelayReport},
    sink::{PublishError, Sink},
};
