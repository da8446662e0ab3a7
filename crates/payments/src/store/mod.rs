//! The books, as SQL on either database. Each function works in a transaction that its caller opened, and that also holds what
//! `once` records: effect and record are committed together or not at all.

mod accounts;
mod challenges;
mod database;
mod journal;
mod locking;
mod payments;
mod people;
mod refunds;
mod schema;
mod settings;
mod standing;
mod transfers;

pub(crate) use self::{
    accounts::*, challenges::*, journal::*, payments::*, people::*, refunds::*, settings::*, standing::*,
    transfers::*,
};
pub use self::{
    accounts::{NewAccount, StatementLine},
    database::{Database, DatabaseTx},
    journal::{Effect, OwnLeg},
    locking::{FeeOf, KycOf, Locked, OtpOf, PaymentOf, RefundOf, SessionOf, StandingOf, WalletOf},
    payments::NewPayment,
    people::NewPerson,
    refunds::NewRefund,
    schema::migrate,
    standing::Execution,
    transfers::Transfer,
};
