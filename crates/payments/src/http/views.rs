//! What is answered, as JSON.

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    cache::Person,
    domain::{Account, Fee, Id, Kyc, Payment, Refund, StandingOrder},
    error::Failed,
    store::{Execution, StatementLine, Transfer},
};

macro_rules! views {
    ($($(#[$doc:meta])* $view:ident { $($(#[$field_doc:meta])* $field:ident: $of:ty),+ $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Serialize, ToSchema)]
        pub(crate) struct $view { $($(#[$field_doc])* pub(crate) $field: $of),+ }

        impl $view {
            /// As it is sent.
            #[allow(dead_code, reason = "some are only parts of others")]
            pub(crate) fn json(&self) -> Result<Vec<u8>, Failed> {
                serde_json::to_vec(self).map_err(|why| Failed::Broken(why.to_string()))
            }
        }
    )+};
}

views! {
    /// A transfer that was made.
    TransferView {
        /// Its id.
        id: String,
        /// The account that paid.
        from: String,
        /// The account that was paid.
        to: String,
        /// Minor units.
        amount: i64,
        /// ISO 4217.
        currency: String,
        /// What the payer wrote.
        note: Option<String>,
        /// When, in ms since 1970.
        created_ms: i64,
    }
    /// A standing order.
    StandingOrderView {
        /// Its id.
        id: String,
        /// The account that pays.
        from: String,
        /// The account that is paid.
        to: String,
        /// Minor units.
        amount: i64,
        /// ISO 4217.
        currency: String,
        /// What the payer wrote.
        note: Option<String>,
        /// The day of each month; in a shorter month its last.
        day: u8,
        /// From which month on.
        first_month: String,
        /// `active` or `ended`.
        status: String,
        /// Counts changes; the entity tag is made of it.
        version: i64,
    }
    /// What a standing order came to in a month.
    ExecutionView {
        /// The month.
        month: String,
        /// `executed` or `declined`.
        state: String,
        /// The posting, where there is one.
        posting: Option<String>,
        /// Why it was declined: the name of a type of problem.
        decline_code: Option<String>,
        /// When, in ms since 1970.
        executed_ms: i64,
    }
    /// What a standing order came to, the latest month first.
    ExecutionsView {
        /// The standing order.
        standing_order: String,
        /// A line for each month, the last 120 of them.
        executions: Vec<ExecutionView>,
    }
    /// A card charge.
    PaymentView {
        /// Its id.
        id: String,
        /// The wallet that is credited.
        account: String,
        /// Minor units.
        amount: i64,
        /// What the tenant keeps of it, in minor units.
        fee: i64,
        /// ISO 4217.
        currency: String,
        /// `intent` until the outcome is known, then `charged` or `declined`.
        state: String,
        /// Why it was declined.
        decline_code: Option<String>,
        /// What was given back and what is being given back, in minor units.
        refunded: i64,
        /// Counts changes; the entity tag is made of it.
        version: i64,
    }
    /// A refund of a card charge.
    RefundView {
        /// Its id.
        id: String,
        /// The charge.
        payment: String,
        /// Minor units.
        amount: i64,
        /// ISO 4217.
        currency: String,
        /// `intent` until the outcome is known, then `refunded` or `declined`.
        state: String,
        /// Why it was declined.
        decline_code: Option<String>,
        /// Counts changes; the entity tag is made of it.
        version: i64,
    }
    /// An account, for display: nothing is decided on it.
    AccountView {
        /// Its id.
        id: String,
        /// Whose it is; none for the tenant's own.
        owner: Option<String>,
        /// `wallet`, `clearing`, `fees` or `outside`.
        kind: String,
        /// ISO 4217.
        currency: String,
        /// What was posted, in minor units.
        balance: i64,
        /// What is promised to refunds under way, in minor units.
        held: i64,
        /// What may be spent, in minor units.
        available: i64,
        /// How far below zero it may go, in minor units.
        overdraft: i64,
        /// `open`, `frozen` or `closed`.
        status: String,
        /// Counts changes; the entity tag is made of it.
        version: i64,
    }
    /// One line of a statement.
    StatementLineView {
        /// The posting.
        posting: String,
        /// Why: `transfer`, `charge`, `refund`, `settlement`.
        kind: String,
        /// The operation that it belongs to.
        reference: String,
        /// What the account gained or lost, in minor units.
        amount: i64,
        /// The balance afterwards, in minor units; none for the tenant's own accounts.
        balance_after: Option<i64>,
        /// When, in ms since 1970.
        posted_ms: i64,
    }
    /// A page of a statement, the latest line first.
    StatementView {
        /// The account.
        account: String,
        /// The lines.
        lines: Vec<StatementLineView>,
        /// What to give as `before` for the next page; none at the end.
        next_before: Option<i64>,
    }
    /// Whether a person's identity is known.
    KycView {
        /// The person.
        person: String,
        /// `pending`, `verified` or `rejected`.
        status: String,
        /// Counts changes; the entity tag is made of it.
        version: i64,
    }
    /// A line of the fee table.
    FeeView {
        /// What it is for.
        kind: String,
        /// ISO 4217.
        currency: String,
        /// The fixed part, in minor units.
        fixed: i64,
        /// The part that grows with the amount, in millionths of it.
        rate_ppm: i64,
        /// Counts changes; the entity tag is made of it.
        version: i64,
    }
    /// A person.
    PersonView {
        /// The id.
        id: String,
        /// The name.
        name: String,
        /// The address, for the person and for officers.
        email: Option<String>,
        /// Counts changes; the entity tag is made of it.
        version: i64,
    }
    /// A session.
    SessionView {
        /// Its id.
        id: String,
        /// The tenant.
        tenant: String,
        /// The person.
        person: String,
        /// `customer`, `operator`, `officer` or `admin`.
        role: String,
        /// When it ends, in ms since 1970.
        expires_ms: i64,
    }
    /// A one-time password was sent.
    ChallengeView {
        /// Its id, to be sent with the code.
        id: String,
        /// For how long the code holds, in seconds.
        valid_s: u64,
    }
}

impl TransferView {
    pub(crate) fn of(row: &Transfer) -> Self {
        Self {
            id: row.id.text(),
            from: row.from.text(),
            to: row.to.text(),
            amount: row.minor,
            currency: row.currency.to_string(),
            note: row.note.clone(),
            created_ms: row.created_ms,
        }
    }
}

impl StandingOrderView {
    pub(crate) fn of(row: &StandingOrder) -> Self {
        Self {
            id: row.id.text(),
            from: row.from.text(),
            to: row.to.text(),
            amount: row.minor,
            currency: row.currency.to_string(),
            note: row.note.clone(),
            day: row.day,
            first_month: row.first_month.to_string(),
            status: row.status.as_str().to_owned(),
            version: row.version,
        }
    }
}

impl ExecutionsView {
    pub(crate) fn of(standing_order: Id, rows: &[Execution]) -> Self {
        let execution = |row: &Execution| ExecutionView {
            month: row.month.to_string(),
            state: if row.posting.is_some() { "executed" } else { "declined" }.to_owned(),
            posting: row.posting.map(Id::text),
            decline_code: row.decline_code.clone(),
            executed_ms: row.executed_ms,
        };
        Self { standing_order: standing_order.text(), executions: rows.iter().map(execution).collect() }
    }
}

impl PaymentView {
    pub(crate) fn of(row: &Payment) -> Self {
        Self {
            id: row.id.text(),
            account: row.account.text(),
            amount: row.minor,
            fee: row.fee_minor,
            currency: row.currency.to_string(),
            state: row.state.as_str().to_owned(),
            decline_code: row.decline_code.clone(),
            refunded: row.refunded_minor,
            version: row.version,
        }
    }
}

impl RefundView {
    pub(crate) fn of(row: &Refund) -> Self {
        Self {
            id: row.id.text(),
            payment: row.payment.text(),
            amount: row.minor,
            currency: row.currency.to_string(),
            state: row.state.as_str().to_owned(),
            decline_code: row.decline_code.clone(),
            version: row.version,
        }
    }
}

impl AccountView {
    pub(crate) fn of(row: &Account) -> Self {
        let available = row.available().clamp(i64::MIN.into(), i64::MAX.into());
        Self {
            id: row.id.text(),
            owner: row.owner.map(Id::text),
            kind: row.kind.as_str().to_owned(),
            currency: row.currency.to_string(),
            balance: row.balance,
            held: row.held,
            available: i64::try_from(available).unwrap_or_default(),
            overdraft: row.overdraft,
            status: row.status.as_str().to_owned(),
            version: row.version,
        }
    }
}

impl StatementLineView {
    pub(crate) fn of(row: &StatementLine) -> Self {
        Self {
            posting: row.posting.text(),
            kind: row.kind.clone(),
            reference: row.reference.clone(),
            amount: row.minor,
            balance_after: row.balance_after,
            posted_ms: row.posted_ms,
        }
    }
}

impl KycView {
    pub(crate) fn of(row: &Kyc) -> Self {
        Self { person: row.person.text(), status: row.status.as_str().to_owned(), version: row.version }
    }
}

impl FeeView {
    pub(crate) fn of(row: &Fee) -> Self {
        Self {
            kind: row.kind.clone(),
            currency: row.currency.to_string(),
            fixed: row.fixed_minor,
            rate_ppm: row.rate_ppm,
            version: row.version,
        }
    }
}

impl PersonView {
    pub(crate) fn of(row: &Person) -> Self {
        Self { id: row.id.text(), name: row.name.clone(), email: row.email.clone(), version: row.version }
    }
}

impl ChallengeView {
    pub(crate) fn of(id: Id, life: Duration) -> Self {
        Self { id: id.text(), valid_s: life.as_secs() }
    }
}
