//! The service over HTTP.

mod accounts;
mod auth;
mod body;
mod challenges;
mod common;
mod fees;
mod health;
mod payments;
mod people;
mod problem;
mod receipt;
mod router;
mod server;
mod sessions;
mod standing;
mod transfers;
mod views;
mod webhook;

pub(crate) use self::{
    common::{created, state_of},
    sessions::bearer_of,
    views::{
        AccountView, ChallengeView, ExecutionsView, FeeView, KycView, PaymentView, PersonView, RefundView,
        SessionView, StandingOrderView, StatementLineView, StatementView, TransferView,
    },
};
pub use self::{
    problem::{Kind, Problem},
    router::{document, router},
    server::{Limits, serve},
};
