//! The consumer of the outbox: what people are told, once for each message, however often it is delivered. Straight from the relay, or
//! from a stream that the relay feeds.

use std::error::Error;

use once::{
    Once,
    inbox::{Delivery, Received, redis::Consume},
    outbox::{Message, PublishError, Sink},
    store::{Owned as _, Store as _, Transaction as _},
};

use crate::{
    crash,
    error::Failed,
    store::{Database, DatabaseTx},
};

/// The consumer's name in the inbox.
pub(crate) const CONSUMER: &str = "notices";

/// Writes a notice for each message, in one transaction with its row in the inbox.
#[derive(Clone, Debug)]
pub struct Notices {
    once: Once<Database>,
}

impl Notices {
    /// Into the database of `once`.
    #[must_use]
    pub const fn new(once: Once<Database>) -> Self {
        Self { once }
    }

    /// Safe to repeat: the message's business id is in the inbox once.
    async fn take(&self, message: &Message) -> Result<bool, Failed> {
        let tx = self.once.store().begin().await?;
        let delivery =
            Delivery::new(CONSUMER, &message.business_id).next(&message.aggregate, message.sequence);
        match self.once.inbox().receive(&tx, &delivery).await? {
            Received::First => {}
            Received::Repeated | Received::Outdated => return Ok(true),
            Received::Early => return Ok(false),
        }
        record(&tx, message).await?;
        tx.commit().await?;
        crash::reach("consumer-committed");
        Ok(true)
    }
}

async fn record(tx: &DatabaseTx, message: &Message) -> Result<(), Failed> {
    let sql = "INSERT INTO notice (business_id, topic, aggregate, payload, created_ms) VALUES ($1, $2, $3, $4, {now})";
    let payload: &[u8] = &message.payload;
    let params =
        [(&message.business_id).into(), (&message.topic).into(), (&message.aggregate).into(), payload.into()];
    tx.execute(sql, &params).await?;
    Ok(())
}

impl Consume<Database> for Notices {
    async fn consume(
        &self,
        _: &Once<Database>,
        tx: &DatabaseTx,
        message: &Message,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(record(tx, message).await?)
    }
}

impl Sink for Notices {
    async fn publish(&self, _fence: i64, messages: &[Message]) -> Result<(), PublishError> {
        for (accepted, message) in messages.iter().enumerate() {
            let refused = |why| PublishError { accepted, fenced: false, why };
            match self.take(message).await {
                Ok(true) => {}
                Ok(false) => return Err(refused("an earlier message of its aggregate is missing".into())),
                Err(error) => return Err(refused(error.into())),
            }
        }
        crash::reach("published");
        Ok(())
    }
}
