//! News from the gateway: through the inbox, and through the same T2 as its replies.

use once::{
    KeyId,
    inbox::{Delivery, Received},
    store::{Owned as _, Store as _},
};

use super::{
    App,
    outside::{Plan, settle_in},
};
use crate::{domain::Id, error::Failed, gateway::Outcome, store};

/// The consumer's name in the inbox.
const CONSUMER: &str = "gateway";

/// What came of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// It was taken in, now or before.
    Taken,
    /// We know of no such operation, not yet at least: to be told again.
    Unknown,
}

/// Takes in that the gateway says `outcome` of `reference`, in the message `event`.
///
/// Safe to repeat: the event is in the inbox once, and the operation is finished once, whoever brings the news.
pub(crate) async fn take_in(app: &App, event: Id, reference: Id, outcome: &Outcome) -> Result<Told, Failed> {
    let tx = app.database().begin().await?;
    let received = app.once.inbox().receive(&tx, &Delivery::new(CONSUMER, &event.text())).await?;
    if received != Received::First {
        return Ok(Told::Taken);
    }
    let Some((_, key_id, _)) = store::of_reference(&tx, reference).await? else {
        return Ok(Told::Unknown);
    };
    if let Some(held) = app.once.lock(&tx, KeyId(key_id)).await? {
        let plan = Plan::read(&held)?;
        if plan.id == reference {
            settle_in(app, &tx, &held, &plan, outcome).await?;
        }
    }
    tx.commit().await?;
    Ok(Told::Taken)
}
