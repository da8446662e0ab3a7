//! Refunds: what T1 and T2 do to the books. Never more is given back than was charged, however many ask at once: the charge's row is
//! locked, and what is being given back counts from T1 on.

use axum::response::Response;
use once::{Held, StoredResponse, http::Admitted};
use trueup::engine::env::BoxFuture;

use super::{
    App, Undone, allowed,
    charge::{intend, plan, tell},
    declined,
    outside::{Begin, Plan, Start, operate},
    session_holds,
};
use crate::{
    domain::{AccountKind, Action, Id, Money, Permit, PostingKind, RefundState, Session},
    error::Failed,
    gateway::{Order, Outcome},
    http::{Kind, Problem, RefundView, created},
    store::{self, DatabaseTx, Effect, Locked, NewRefund, OwnLeg, PaymentOf, RefundOf, WalletOf},
};

/// A refund that is asked for.
#[derive(Clone, Debug)]
pub(crate) struct NewGivingBack {
    pub(crate) id: Id,
    pub(crate) payment: Id,
    pub(crate) money: Money,
}

/// Gives (a part of) a charge back.
///
/// Safe to repeat, as a charge is.
pub(crate) async fn refund(
    app: &App,
    session: &Session,
    admitted: &Admitted,
    new: &NewGivingBack,
) -> Response {
    operate(app, admitted, &GivingBack { session, new }).await
}

struct GivingBack<'r> {
    session: &'r Session,
    new: &'r NewGivingBack,
}

impl Begin for GivingBack<'_> {
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
    new: &NewGivingBack,
    tx: &DatabaseTx,
    held: &Held,
) -> Result<Start, Undone> {
    let locked = Locked::new(tx);
    session_holds(&locked, tx, session).await?;
    if !allowed(session, Action::Refund, None) {
        return Err(Problem::new(Kind::Forbidden, "your role gives nothing back").into());
    }
    let payment = locked.read(&PaymentOf { id: new.payment, tenant: session.tenant.as_str().into() }).await?;
    let Some(payment) = payment.value() else {
        return Ok(Start::Declined(Problem::new(Kind::UnknownPayment, "there is no such payment").stored()?));
    };
    if payment.currency != new.money.currency {
        return Ok(Start::Declined(
            Problem::new(Kind::Currency, "the payment is in another currency").stored()?,
        ));
    }
    if !payment.may_refund(new.money.minor()) {
        let problem = Problem::new(
            Kind::RefundExceedsPayment,
            "no more can be given back than was charged and not given back yet",
        );
        let problem = problem.member("charged", payment.minor).member("refunded", payment.refunded_minor);
        return Ok(Start::Declined(problem.stored()?));
    }
    let wallet =
        locked.read(&WalletOf { id: payment.account, tenant: session.tenant.as_str().into() }).await?;
    let permit = match Permit::hold(&wallet, new.money) {
        Ok(permit) => permit,
        Err(why) => return Ok(Start::Declined(declined(why).stored()?)),
    };
    let row = NewRefund {
        id: new.id,
        payment: payment.id,
        tenant: session.tenant.clone(),
        account: payment.account,
        money: new.money,
        key_id: held.id().0,
    };
    store::record_refund(tx, &row).await?;
    store::count_refund(tx, payment.id, new.money.minor()).await?;
    store::promise(tx, new.id, permit).await?;
    let plan = plan(app, tx, session, new.id, new.money, Order::Refund { of: payment.id }).await?;
    let held = intend(app, tx, held, &plan, "refund.intended").await?;
    Ok(Start::Intended(held, plan))
}

/// T2 of a refund: posts it, or releases what was held for it.
pub(crate) async fn settle_refund(
    app: &App,
    tx: &DatabaseTx,
    plan: &Plan,
    outcome: &Outcome,
) -> Result<StoredResponse, Failed> {
    let locked = Locked::new(tx);
    let Order::Refund { of } = &plan.order else {
        return Err(Failed::Broken("the plan of a refund is that of something else".to_owned()));
    };
    // The charge first, as in T1.
    let _charge = locked.read(&PaymentOf { id: *of, tenant: plan.tenant.as_str().into() }).await?;
    let refund = locked.read(&RefundOf { id: plan.id, tenant: plan.tenant.as_str().into() }).await?;
    let refund = refund.value().filter(|refund| !refund.is_finished()).cloned();
    let mut refund =
        refund.ok_or_else(|| Failed::Broken("a refund is finished, and its key is not".to_owned()))?;
    let wallet = locked.read(&WalletOf { id: refund.account, tenant: plan.tenant.as_str().into() }).await?;
    let money = plan.money()?;
    refund.version += 1;
    match outcome {
        Outcome::Done => {
            refund.state = RefundState::Refunded;
            let effect = Effect {
                kind: PostingKind::Refund,
                reference: plan.id.text(),
                currency: money.currency,
                permits: vec![Permit::capture(&wallet, money)?],
                own: vec![OwnLeg { kind: AccountKind::Clearing, minor: money.minor() }],
            };
            store::post(tx, &plan.tenant, plan.id, effect).await?;
            store::end_hold(tx, plan.id, true).await?;
        }
        Outcome::Declined { code } => {
            refund.state = RefundState::Declined;
            refund.decline_code = Some(code.clone());
            store::give_back(tx, plan.id, Permit::release(&wallet, money)?).await?;
            store::count_refund(tx, *of, -money.minor()).await?;
        }
    }
    store::end_refund(tx, plan.id, refund.state, refund.decline_code.as_deref()).await?;
    let body = RefundView::of(&refund).json()?;
    let topic = if refund.state == RefundState::Refunded { "refund.refunded" } else { "refund.declined" };
    tell(app, tx, plan, topic, &body).await?;
    Ok(match &refund.decline_code {
        None => created(&plan.location(), body)?,
        Some(code) => Problem::new(Kind::CardDeclined, "the gateway declined to give it back")
            .member("refund", plan.id.text())
            .member("code", code.as_str())
            .location(&plan.location())
            .stored()?,
    })
}
