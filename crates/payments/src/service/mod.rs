//! What the service does: each operation in the transactions that its page in the guide names.

mod audit;
mod challenge;
mod charge;
mod completer;
mod deliver;
mod notices;
mod outside;
mod refund;
mod settlement;
mod standing;
mod sync;
mod transfer;
mod webhook;

use std::{sync::Arc, time::Duration};

use once::{
    Once,
    http::{Docs, Gate},
};

pub use self::{
    audit::{Audit, audit},
    completer::Completion,
    deliver::{Deliver, FileDelivery},
    notices::Notices,
    settlement::{JOB as SETTLEMENT_JOB, Settled, settle},
    standing::{Executed, JOB as STANDING_ORDERS_JOB, execute},
    transfer::{NewTransfer, OtpAnswer},
};
pub(crate) use self::{
    challenge::*,
    charge::{NewCharge, charge, settle_charge},
    notices::CONSUMER as NOTICES,
    refund::{NewGivingBack, refund, settle_refund},
    standing::order,
    sync::*,
    transfer::{declined, transfer},
    webhook::*,
};
use crate::{
    cache::Shown,
    domain::OtpKey,
    gateway::{Gateway, WebhookKey},
    http::state_of,
    secret::Secret,
    store::Database,
};

/// Where the contract is written down.
pub const DOCS: &str = "/docs/problems";
/// Longest life of a session that is asked for.
pub const SESSION_LIFE_MAX: Duration = Duration::from_secs(30 * 60);
/// How long a code holds.
pub const CODE_LIFE: Duration = Duration::from_secs(5 * 60);

/// Everything an operation needs.
#[derive(Clone)]
pub struct App {
    pub(crate) once: Once<Database>,
    pub(crate) gate: Gate<Database>,
    pub(crate) shown: Arc<Shown>,
    pub(crate) gateway: Arc<dyn Gateway>,
    pub(crate) delivery: Arc<dyn Deliver>,
    pub(crate) otp_key: OtpKey,
    pub(crate) webhook_key: WebhookKey,
    pub(crate) secret: Secret,
}

impl App {
    /// The service on `once`'s database, which is also the one that `shown` stands in front of.
    #[must_use]
    pub fn new(
        once: Once<Database>,
        shown: Shown,
        gateway: Arc<dyn Gateway>,
        delivery: Arc<dyn Deliver>,
        secret: Secret,
    ) -> Self {
        let database = once.store().clone();
        let gate = Gate::new(once.clone(), Docs::at(DOCS)).present(move |principal, place| {
            let database = database.clone();
            // A principal is a tenant and a person.
            let tenant = principal.split_once('/').map_or(principal, |(tenant, _)| tenant);
            Box::pin(async move { Ok(state_of(&database, tenant, place).await?) })
        });
        let otp_key = OtpKey::new(secret.derive("one-time passwords"));
        let webhook_key = WebhookKey::new(secret.derive("webhooks"));
        Self { once, gate, shown: Arc::new(shown), gateway, delivery, otp_key, webhook_key, secret }
    }

    /// The engine of once-only effects.
    #[must_use]
    pub const fn once(&self) -> &Once<Database> {
        &self.once
    }

    /// What is shown.
    #[must_use]
    pub fn shown(&self) -> &Shown {
        &self.shown
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> &Database {
        self.once.store()
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("shown", &self.shown).finish_non_exhaustive()
    }
}
