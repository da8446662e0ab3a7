//! Card charges: what T1 and T2 do to the books.

use axum::response::Response;
use once::{Held, Step, StoredResponse, http::Admitted, outbox::NewMessage};
use trueup::engine::env::BoxFuture;

use super::{
    App, Undone, allowed, declined, identity_is_known,
    outside::{Begin, INTENT, Plan, Start, operate},
    session_holds,
};
use crate::{
    crash,
    domain::{AccountKind, Action, Id, Money, PaymentState, Permit, PostingKind, Session},
    error::Failed,
    gateway::{Order, Outcome},
    http::{Kind, PaymentView, Problem, created},
    store::{self, DatabaseTx, Effect, FeeOf, Locked, NewPayment, OwnLeg, PaymentOf, WalletOf},
};

/// The line of the fee table for charges.
pub(crate) const CHARGE_FEE: &str = "charge";

/// A charge that is asked for.
#[derive(Clone, Debug)]
pub(crate) struct NewCharge {
    pub(crate) id: Id,
    pub(crate) account: Id,
    pub(crate) money: Money,
    pub(crate) card: String,
}

/// Charges a card in favour of a wallet.
///
/// Safe to repeat: under its key it is done once, under another key its id is known, and at the gateway each attempt has a key.
pub(crate) async fn charge(app: &App, session: &Session, admitted: &Admitted, new: &NewCharge) -> Response {
    operate(app, admitted, &Charging { session, new }).await
}

struct Charging<'r> {
    session: &'r Session,
    new: &'r NewCharge,
}

impl Begin for Charging<'_> {
    fn begin<'a>(
        &'a self,
        app: &'a App,
        tx: &'a DatabaseTx,
        held: &'a Held,
    ) -> BoxFuture<'a, Result<Start, Undone>> {
        Box::pin(begin(app, self.session, self.new, tx, held))
    }
}

async fn begin(
    app: &App,
    session: &Session,
    new: &NewCharge,
    tx: &DatabaseTx,
    held: &Held,
) -> Result<Start, Undone> {
    let locked = Locked::new(tx);
    session_holds(&locked, tx, session).await?;
    if let Err(problem) = identity_is_known(&locked, session).await? {
        return Ok(Start::Declined(problem.stored()?));
    }
    let wallet = locked.read(&WalletOf { id: new.account, tenant: session.tenant.as_str().into() }).await?;
    let unknown = || Problem::new(Kind::UnknownAccount, "there is no such wallet");
    let row = wallet
        .value()
        .filter(|row| row.kind == AccountKind::Wallet && allowed(session, Action::Pay, row.owner));
    if row.is_none() {
        return Ok(Start::Declined(unknown().stored()?));
    }
    // Whether it may be credited is decided before a card is charged for it; the permit itself is for T2 to get.
    if let Err(why) = Permit::credit(&wallet, new.money) {
        return Ok(Start::Declined(declined(why).stored()?));
    }
    let key =
        FeeOf { tenant: session.tenant.as_str().into(), kind: CHARGE_FEE, currency: new.money.currency };
    let fee_minor = locked.read(&key).await?.value().map_or(0, |fee| fee.of(new.money));
    let payment = NewPayment {
        id: new.id,
        tenant: session.tenant.clone(),
        account: new.account,
        money: new.money,
        fee_minor,
        key_id: held.id().0,
    };
    store::record_payment(tx, &payment).await?;
    store::expect(tx, &session.tenant, new.id, new.money).await?;
    let order = Order::Charge { card: new.card.clone() };
    let plan = plan(app, tx, session, new.id, new.money, order).await?;
    let held = intend(app, tx, held, &plan, "payment.intended").await?;
    Ok(Start::Intended(held, plan))
}

/// The plan of an operation that begins now.
pub(super) async fn plan(
    app: &App,
    tx: &DatabaseTx,
    session: &Session,
    id: Id,
    money: Money,
    order: Order,
) -> Result<Plan, Failed> {
    let window_ms = i64::try_from(app.gateway.terms().key_window.as_millis()).unwrap_or(i64::MAX / 4);
    let key_until_ms = store::now_ms(tx).await?.saturating_add(window_ms);
    let (tenant, minor, currency) = (session.tenant.clone(), money.minor(), money.currency);
    Ok(Plan { id, tenant, minor, currency, order, attempt: 1, key_until_ms })
}

/// Moves the key to INTENT, and tells of it.
pub(super) async fn intend(
    app: &App,
    tx: &DatabaseTx,
    held: &Held,
    plan: &Plan,
    topic: &str,
) -> Result<Held, Failed> {
    let step = Step::to(INTENT).location(plan.location()).data(plan.written()?);
    let held = app.once.advance(tx, held, step).await?;
    tell(app, tx, plan, topic, b"{}").await?;
    Ok(held)
}

/// Puts a message about an operation into the outbox.
pub(super) async fn tell(
    app: &App,
    tx: &DatabaseTx,
    plan: &Plan,
    topic: &str,
    body: &[u8],
) -> Result<(), Failed> {
    let aggregate = plan.location();
    let id = format!("{}/{topic}", plan.id);
    app.once.outbox().put(tx, &NewMessage::new(aggregate.trim_start_matches('/'), topic, &id, body)).await?;
    Ok(())
}

/// T2 of a charge: posts it, or ends its hold.
pub(crate) async fn settle_charge(
    app: &App,
    tx: &DatabaseTx,
    plan: &Plan,
    outcome: &Outcome,
) -> Result<StoredResponse, Failed> {
    let locked = Locked::new(tx);
    let payment = locked.read(&PaymentOf { id: plan.id, tenant: plan.tenant.as_str().into() }).await?;
    let payment = payment.value().filter(|payment| !payment.is_finished()).cloned();
    let mut payment =
        payment.ok_or_else(|| Failed::Broken("a charge is finished, and its key is not".to_owned()))?;
    let money = plan.money()?;
    payment.version += 1;
    match outcome {
        Outcome::Done => {
            payment.state = PaymentState::Charged;
            let wallet =
                locked.read(&WalletOf { id: payment.account, tenant: plan.tenant.as_str().into() }).await?;
            let wrong = |_| Failed::Broken("the fee of a charge is as large as the charge".to_owned());
            let net = Money::new(money.minor() - payment.fee_minor, money.currency).map_err(wrong)?;
            let effect = Effect {
                kind: PostingKind::Charge,
                reference: plan.id.text(),
                currency: money.currency,
                permits: vec![Permit::arrive(&wallet, net)?],
                own: vec![
                    OwnLeg { kind: AccountKind::Clearing, minor: -money.minor() },
                    OwnLeg { kind: AccountKind::Fees, minor: payment.fee_minor },
                ],
            };
            store::post(tx, &plan.tenant, plan.id, effect).await?;
        }
        Outcome::Declined { code } => {
            payment.state = PaymentState::Declined;
            payment.decline_code = Some(code.clone());
        }
    }
    store::end_hold(tx, plan.id, payment.state == PaymentState::Charged).await?;
    store::end_payment(tx, plan.id, payment.state, payment.decline_code.as_deref()).await?;
    crash::reach("between-effects");
    let view = PaymentView::of(&payment);
    let body = view.json()?;
    let topic = if payment.state == PaymentState::Charged { "payment.charged" } else { "payment.declined" };
    tell(app, tx, plan, topic, &body).await?;
    Ok(match &payment.decline_code {
        None => created(&plan.location(), body)?,
        Some(code) => Problem::new(Kind::CardDeclined, "the card was declined")
            .member("payment", plan.id.text())
            .member("code", code.as_str())
            .location(&plan.location())
            .stored()?,
    })
}
