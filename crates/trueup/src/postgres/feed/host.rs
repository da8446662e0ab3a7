//! What following needs of the source's handle.

use std::sync::Arc;

use trueup_core::{
    env::{BoxFuture, Clock},
};

use super::{error::FeedError, mapper::Mapper, options::FeedOptions, status::FeedStatus};
use crate::postgres::{ask::Answer, identity::Identity};

/// The source's handle, as the feed sees it.
pub(super) trait Host: Send + Sync + 'static {
    /// How to connect for replication, in the form `key='value' ...`.
    fn conninfo(&self) -> Result<String, FeedError>;

    /// A plain connection of the feed's own.
    fn open(&self) -> BoxFuture<'_, Result<tokio_postgres::Client, FeedError>>;

    /// How far is the source, what is visible, and has the catalogue moved?
    fn ask(&self) -> BoxFuture<'_, Result<Answer, FeedError>>;

    /// The catalogue has moved: relations are read again, classes whose relations moved are told.
    fn catalogue_moved(&self) -> BoxFuture<'_, Result<(), FeedError>>;

    /// The node has entered the epoch of `identity`, or left it.
    fn set_identity(&self, identity: Option<Identity>);

    /// The relations in use, as they are now.
    fn mapper(&self) -> Arc<dyn Mapper>;

    /// How to follow.
    fn options(&self) -> &FeedOptions;

    /// Where to say what is being done.
    fn status(&self) -> &FeedStatus;

    /// The clock.
    fn clock(&self) -> &Clock;
}
