//! What the tests of the feed share.

pub(crate) mod mapper;
