//! Card charges and their refunds.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use once::{http::Keyed, store::Store as _};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Kind, PaymentView, Problem, RefundView,
    auth::Who,
    body::{At, Body},
    common::{Names, Problems, Wanted, look_up, payment_state, refund_state},
    receipt::with_token,
};
use crate::{
    domain::{Action, Amount, Currency, Id, Money},
    error::Failed,
    service::{App, NewCharge, NewGivingBack, allowed, charge, failure, refund},
    store,
};

/// Longest name of a card, in bytes.
const CARD_BYTES_MAX: usize = 64;

/// A card is to be charged in favour of a wallet.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreatePayment {
    /// The client's own id of this payment: the same id is never charged twice, whatever becomes of its key.
    #[schema(value_type = String, format = "uuid")]
    id: Id,
    /// The wallet to be credited.
    #[schema(value_type = String, format = "uuid")]
    account: Id,
    /// Whole minor units (cents).
    #[schema(value_type = i64, minimum = 1, maximum = 1_000_000_000_000_000i64)]
    amount: Amount,
    /// ISO 4217.
    #[schema(value_type = String, example = "EUR", min_length = 3, max_length = 3)]
    currency: Currency,
    /// The gateway's name for the card (`tok_...`); numbers and check codes of cards are not taken.
    #[schema(example = "tok_visa", pattern = "^tok_[A-Za-z0-9_]{1,60}$")]
    card: String,
}

/// A charge is to be given back, or a part of it.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateRefund {
    /// The client's own id of this refund.
    #[schema(value_type = String, format = "uuid")]
    id: Id,
    /// Whole minor units (cents).
    #[schema(value_type = i64, minimum = 1, maximum = 1_000_000_000_000_000i64)]
    amount: Amount,
    /// ISO 4217.
    #[schema(value_type = String, example = "EUR", min_length = 3, max_length = 3)]
    currency: Currency,
}

impl Names for CreatePayment {
    fn id(&self) -> Option<Id> {
        Some(self.id)
    }
}

impl Names for CreateRefund {
    fn id(&self) -> Option<Id> {
        Some(self.id)
    }
}

fn is_card(card: &str) -> bool {
    let name = card.strip_prefix("tok_").unwrap_or_default();
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    !name.is_empty() && card.len() <= CARD_BYTES_MAX && name.bytes().all(allowed)
}

/// Charges a card in favour of a wallet. 202 where the gateway gave no clear answer yet: look at the location.
#[utoipa::path(post, path = "/payments", tag = "payments", security(("bearer" = [])),
    params(("Idempotency-Key" = String, Header, description = "Drawn anew for each payment, repeated in each retry; kept for 30 days")),
    request_body = CreatePayment,
    responses((status = 201, body = PaymentView), (status = 202, body = PaymentView, description = "The outcome is not known yet"),
        (status = 200, body = PaymentView, description = "Was asked for before; this is how it stands"),
        (status = 402, description = "Declined", content_type = "application/problem+json"), Problems))]
pub(super) async fn create(
    State(app): State<App>,
    Who(session): Who,
    keyed: Keyed,
    Body(body): Body<CreatePayment>,
) -> Response {
    if !is_card(&body.card) {
        return Problem::new(Kind::BadBody, "`card` is the gateway's name for a card, `tok_...`")
            .into_response();
    }
    if !session.role.may(Action::Pay, true) {
        return Problem::new(Kind::Forbidden, "your role moves no money").into_response();
    }
    let wanted = Wanted {
        kind: "payment",
        method: "POST",
        route: "/payments",
        parameter: None,
        location: format!("/payments/{}", body.id),
        tenant: &session.tenant,
        body: &body,
    };
    let admitted = match look_up(&app, keyed, wanted).await {
        Ok(admitted) => admitted,
        Err(answer) => return answer,
    };
    let money = Money { amount: body.amount, currency: body.currency };
    let new = NewCharge { id: body.id, account: body.account, money, card: body.card };
    let response = charge(&app, &session, &admitted, &new).await;
    with_token(&app, response).await
}

/// How a payment stands, by the database: no cache keeps it.
#[utoipa::path(get, path = "/payments/{id}", tag = "payments", security(("bearer" = [])),
    params(("id" = String, Path, format = "uuid")),
    responses((status = 200, body = PaymentView), Problems))]
pub(super) async fn get(State(app): State<App>, Who(session): Who, At(id): At<Id>) -> Response {
    let found = async {
        let tx = app.database().begin_read().await?;
        let Some(row) = store::see_payment(&tx, &session.tenant, id).await? else { return Ok(None) };
        let account = store::see_account(&tx, &session.tenant, row.account).await?;
        let seen = account.is_some_and(|account| allowed(&session, Action::See, account.owner));
        Ok::<_, Failed>(seen.then_some(row))
    };
    match found.await {
        Ok(Some(row)) => payment_state(&row, StatusCode::OK),
        Ok(None) => Problem::new(Kind::UnknownPayment, "there is no such payment").into_response(),
        Err(error) => failure(&app, error),
    }
}

/// Gives a charge back, or a part of it: never more than was charged.
#[utoipa::path(post, path = "/payments/{id}/refunds", tag = "payments", security(("bearer" = [])),
    params(("id" = String, Path, format = "uuid"),
        ("Idempotency-Key" = String, Header, description = "Drawn anew for each refund, repeated in each retry; kept for 30 days")),
    request_body = CreateRefund,
    responses((status = 201, body = RefundView), (status = 202, body = RefundView, description = "The outcome is not known yet"),
        (status = 200, body = RefundView, description = "Was asked for before; this is how it stands"),
        (status = 402, description = "Declined", content_type = "application/problem+json"), Problems))]
pub(super) async fn give_back(
    State(app): State<App>,
    who: Who,
    keyed: Keyed,
    At(payment): At<Id>,
    Body(body): Body<CreateRefund>,
) -> Response {
    if let Err(problem) = who.may(Action::Refund) {
        return problem.into_response();
    }
    let Who(session) = who;
    let wanted = Wanted {
        kind: "refund",
        method: "POST",
        route: "/payments/{id}/refunds",
        parameter: Some(("id", payment.text())),
        location: format!("/refunds/{}", body.id),
        tenant: &session.tenant,
        body: &body,
    };
    let admitted = match look_up(&app, keyed, wanted).await {
        Ok(admitted) => admitted,
        Err(answer) => return answer,
    };
    let money = Money { amount: body.amount, currency: body.currency };
    let new = NewGivingBack { id: body.id, payment, money };
    let response = refund(&app, &session, &admitted, &new).await;
    with_token(&app, response).await
}

/// How a refund stands, by the database: no cache keeps it.
#[utoipa::path(get, path = "/refunds/{id}", tag = "payments", security(("bearer" = [])),
    params(("id" = String, Path, format = "uuid")),
    responses((status = 200, body = RefundView), Problems))]
pub(super) async fn get_refund(State(app): State<App>, Who(session): Who, At(id): At<Id>) -> Response {
    let found = async {
        let tx = app.database().begin_read().await?;
        let Some(row) = store::see_refund(&tx, &session.tenant, id).await? else { return Ok(None) };
        let account = store::see_account(&tx, &session.tenant, row.account).await?;
        let seen = account.is_some_and(|account| allowed(&session, Action::See, account.owner));
        Ok::<_, Failed>(seen.then_some(row))
    };
    match found.await {
        Ok(Some(row)) => refund_state(&row, StatusCode::OK),
        Ok(None) => Problem::new(Kind::NotFound, "there is no such refund").into_response(),
        Err(error) => failure(&app, error),
    }
}

#[cfg(test)]
mod tests {
    use super::is_card;

    #[test]
    fn only_the_gateways_names_are_cards() {
        assert!(is_card("tok_visa") && is_card("tok_declined"));
        for card in
            ["", "tok_", "4111111111111111", "tok_a b", "TOK_visa", &format!("tok_{}", "a".repeat(61))]
        {
            assert!(!is_card(card), "{card}");
        }
    }
}
