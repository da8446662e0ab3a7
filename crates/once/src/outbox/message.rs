//! Messages.

use bytes::Bytes;

use crate::{
    error::{OnceError, check_bytes, check_name},
    limits::PAYLOAD_BYTES_MAX,
};

/// A message to be sent.
#[derive(Clone, Copy)]
pub struct NewMessage<'a> {
    pub(super) aggregate: &'a str,
    pub(super) topic: &'a str,
    pub(super) business_id: &'a str,
    pub(super) payload: &'a [u8],
}

impl<'a> NewMessage<'a> {
    /// A message about `aggregate` (`wallet/7`: what messages keep their order for) of the kind `topic` (`wallet.debited`). `business_id` names what it tells
    /// of, the same however often it is sent: consumers recognise it by that.
    #[must_use]
    pub const fn new(aggregate: &'a str, topic: &'a str, business_id: &'a str, payload: &'a [u8]) -> Self {
        Self { aggregate, topic, business_id, payload }
    }

    pub(super) fn check(&self) -> Result<(), OnceError> {
        check_name("the aggregate of a message", self.aggregate)?;
        check_name("the topic of a message", self.topic)?;
        check_name("the business id of a message", self.business_id)?;
        check_bytes("the payload of a message", self.payload.len(), PAYLOAD_BYTES_MAX)
    }
}

impl std::fmt::Debug for NewMessage<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewMessage").field("topic", &self.topic).finish_non_exhaustive()
    }
}

/// A message on its way.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Its row.
    pub id: i64,
    /// What it is about; messages of one aggregate keep their order.
    pub aggregate: String,
    /// Its place among the aggregate's messages: 1, 2, 3, ... without gaps.
    pub sequence: i64,
    /// Its kind.
    pub topic: String,
    /// What it tells of.
    pub business_id: String,
    /// What it says.
    pub payload: Bytes,
    /// When it was written, in ms since 1970 by the database's clock.
    pub created_ms: i64,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message")
            .field("id", &self.id)
            .field("sequence", &self.sequence)
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}
