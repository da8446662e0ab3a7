//! Operations that ask the gateway: T1, the call, T2; and what is done when no answer came.

use axum::response::{IntoResponse as _, Response};
use once::{
    Held, OnceError, Point, Step, StoredResponse,
    http::{Admitted, Begun, respond},
    store::{Owned as _, Store as _},
};
use serde::{Deserialize, Serialize};
use trueup::engine::env::{BoxFuture, Clock, Nanos};

use super::{App, Undone, failure};
use crate::{
    crash,
    domain::{Currency, Id, Money, attempt_key},
    error::Failed,
    gateway::{Attempt, Order, Outcome},
    http::{Kind, Problem, state_of},
    store::{self, DatabaseTx},
};

/// The gateway was or will be asked.
pub(crate) const INTENT: Point = Point::new("INTENT");
/// After how long the completer looks at an operation that got no answer.
const LOOK_AFTER: std::time::Duration = std::time::Duration::from_secs(1);
/// Attempts at a transaction that others are in the way of.
const ATTEMPTS_MAX: u32 = 4;

/// What whoever goes on needs to know; it is kept with the key until the operation is finished.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The operation.
    pub(crate) id: Id,
    pub(crate) tenant: String,
    pub(crate) minor: i64,
    pub(crate) currency: Currency,
    pub(crate) order: Order,
    /// Counts attempts, from 1.
    pub(crate) attempt: u32,
    /// Until when the attempt's key means this attempt, in ms since 1970 by the database's clock.
    pub(crate) key_until_ms: i64,
}

impl Plan {
    pub(crate) fn read(held: &Held) -> Result<Self, Failed> {
        let data = held.data().ok_or_else(|| Failed::Broken("an operation has left no plan".to_owned()))?;
        serde_json::from_slice(data)
            .map_err(|_| Failed::Broken("the plan of an operation cannot be read".to_owned()))
    }

    pub(crate) fn written(&self) -> Result<Vec<u8>, Failed> {
        serde_json::to_vec(self).map_err(|why| Failed::Broken(why.to_string()))
    }

    pub(crate) fn money(&self) -> Result<Money, Failed> {
        let wrong = |_| Failed::Broken("the plan of an operation has no amount".to_owned());
        Money::new(self.minor, self.currency).map_err(wrong)
    }

    /// Where its state can be seen.
    pub(crate) fn location(&self) -> String {
        match self.order {
            Order::Charge { .. } => format!("/payments/{}", self.id),
            Order::Refund { .. } => format!("/refunds/{}", self.id),
        }
    }

    fn attempt(&self) -> Result<Attempt, Failed> {
        let key = attempt_key(self.id, self.attempt);
        Ok(Attempt { key, reference: self.id, money: self.money()?, order: self.order.clone() })
    }
}

/// What T1 came to.
pub(crate) enum Start {
    /// The intent is recorded, if the transaction is committed.
    Intended(Held, Plan),
    /// Declined before anybody was asked: the answer is kept.
    Declined(StoredResponse),
}

/// T1 of an operation, in a transaction that has claimed its key.
pub(crate) trait Begin: Send + Sync {
    fn begin<'a>(
        &'a self,
        app: &'a App,
        tx: &'a DatabaseTx,
        held: &'a Held,
    ) -> BoxFuture<'a, Result<Start, Undone>>;
}

/// Makes an operation: T1, the call, T2. A client that waits gets the outcome, or a 202 where none is known.
pub(crate) async fn operate(app: &App, admitted: &Admitted, begin: &dyn Begin) -> Response {
    crash::reach("before-t1");
    let started = Clock::system().now();
    let mut attempt = 1;
    let response = loop {
        match first(app, admitted, begin).await {
            Ok(First::Answer(response)) => break response,
            Ok(First::Go(held, plan)) => {
                crash::reach("after-t1");
                break go_on(app, admitted, held, plan, started).await;
            }
            Err(Undone::Told(problem)) => break problem.into_response(),
            Err(Undone::Failed(error)) if error.is_transient() && attempt < ATTEMPTS_MAX => attempt += 1,
            Err(Undone::Failed(error)) => break failure(app, error),
        }
    };
    crash::reach("before-response");
    response
}

enum First {
    Go(Held, Plan),
    Answer(Response),
}

async fn first(app: &App, admitted: &Admitted, begin: &dyn Begin) -> Result<First, Undone> {
    let tx = app.database().begin().await?;
    let held = match app.gate.claim(&tx, admitted).await {
        Ok(Begun::New(held)) => held,
        // A worker that is gone left it: go on from where it stood.
        Ok(Begun::Resume(held)) => {
            let plan = Plan::read(&held)?;
            tx.commit().await?;
            return Ok(First::Go(held, plan));
        }
        Err(answer) => {
            drop(tx);
            return Ok(First::Answer(app.gate.tell(admitted.request().scope().principal(), answer).await));
        }
    };
    match begin.begin(app, &tx, &held).await? {
        Start::Intended(held, plan) => {
            tx.commit().await?;
            Ok(First::Go(held, plan))
        }
        Start::Declined(response) => {
            app.once.finish(&tx, &held, &response).await?;
            tx.commit().await?;
            Ok(First::Answer(respond(&response)))
        }
    }
}

async fn go_on(app: &App, admitted: &Admitted, held: Held, plan: Plan, started: Nanos) -> Response {
    let terms = app.gateway.terms();
    let usable = terms.key_window.saturating_sub(terms.margin);
    // A worker that was paused for so long must not use the key any more: the gateway may have forgotten it.
    let may_send = held.attempts() == 0 && Clock::system().now().since(started) < usable;
    let outcome = match (may_send, plan.attempt()) {
        (true, Ok(attempt)) => app.gateway.send(&attempt).await.ok(),
        _ => None,
    };
    let Some(outcome) = outcome else {
        crash::reach("after-unanswered");
        return accept(app, admitted, &held, &plan).await;
    };
    crash::reach("before-t2");
    match settle(app, &held, &plan, &outcome).await {
        Ok(response) => {
            crash::reach("after-t2");
            respond(&response)
        }
        Err(error) => after_all(app, admitted, error).await,
    }
}

/// No answer came: the client is told to look, and the completer is told to.
async fn accept(app: &App, admitted: &Admitted, held: &Held, plan: &Plan) -> Response {
    let accepted = async {
        let tx = app.database().begin().await?;
        let step = Step::to(INTENT).location(plan.location()).asynchronous().lease(LOOK_AFTER);
        app.once.advance(&tx, held, step).await?;
        tx.commit().await?;
        Ok::<_, Failed>(())
    };
    if let Err(error) = accepted.await {
        return after_all(app, admitted, error).await;
    }
    match state_of(app.database(), &plan.tenant, &plan.location()).await {
        Ok(Some(response)) => response,
        Ok(None) => {
            Problem::new(Kind::Broken, "the operation is recorded and cannot be seen").into_response()
        }
        Err(error) => failure(app, error),
    }
}

/// Somebody else finished it meanwhile, or it is not known whether we did: look.
pub(crate) async fn after_all(app: &App, admitted: &Admitted, error: Failed) -> Response {
    if !error.is_discarded() && !error.is_unknown() {
        return failure(app, error);
    }
    match app.gate.look_up(admitted.request().clone()).await {
        Err(answer) => app.gate.tell(admitted.request().scope().principal(), answer).await,
        Ok(_) => Problem::new(Kind::Busy, "it is not known yet what came of this; ask again").into_response(),
    }
}

/// T2 under the fence of `held`; the answer that is kept.
///
/// Safe to repeat: the key's row is locked, and finished once.
pub(crate) async fn settle(
    app: &App,
    held: &Held,
    plan: &Plan,
    outcome: &Outcome,
) -> Result<StoredResponse, Failed> {
    let mut attempt = 1;
    loop {
        match try_settle(app, held, plan, outcome).await {
            Err(error) if error.is_transient() && attempt < ATTEMPTS_MAX => attempt += 1,
            other => return other,
        }
    }
}

async fn try_settle(
    app: &App,
    held: &Held,
    plan: &Plan,
    outcome: &Outcome,
) -> Result<StoredResponse, Failed> {
    let tx = app.database().begin().await?;
    let now = app.once.lock(&tx, held.id()).await?;
    let Some(now) = now.filter(|now| now.fence() == held.fence()) else {
        let point = held.point().name().to_owned();
        return Err(OnceError::Discarded { id: held.id().0, fence: held.fence(), point }.into());
    };
    let response = settle_in(app, &tx, &now, plan, outcome).await?;
    crash::reach("inside-t2");
    tx.commit().await?;
    Ok(response)
}

/// T2 in a transaction that holds the key's row.
pub(crate) async fn settle_in(
    app: &App,
    tx: &DatabaseTx,
    held: &Held,
    plan: &Plan,
    outcome: &Outcome,
) -> Result<StoredResponse, Failed> {
    let response = match plan.order {
        Order::Charge { .. } => super::settle_charge(app, tx, plan, outcome).await?,
        Order::Refund { .. } => super::settle_refund(app, tx, plan, outcome).await?,
    };
    app.once.finish(tx, held, &response).await?;
    Ok(response)
}

/// What came of one more try at an operation.
pub(crate) enum Tried {
    /// It is finished.
    Settled,
    /// Nobody knows yet. To be tried again after this long, or by the usual pauses.
    Open(Option<std::time::Duration>),
}

/// Goes on with an operation whose worker is gone: sends again while the key holds, looks it up afterwards, and makes a new attempt
/// only where the gateway has never heard of it and no request can be under way.
pub(crate) async fn complete(app: &App, held: &Held) -> Result<Tried, Failed> {
    let plan = Plan::read(held)?;
    let terms = app.gateway.terms();
    let ms = |span: std::time::Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX / 4);
    let now_ms = {
        let tx = app.database().begin_read().await?;
        store::now_ms(&tx).await?
    };
    if now_ms < plan.key_until_ms - ms(terms.margin) {
        return send(app, held, &plan).await;
    }
    match app.gateway.look_up(plan.id).await {
        Err(_) => Ok(Tried::Open(None)),
        Ok(Some(outcome)) => {
            settle(app, held, &plan, &outcome).await?;
            Ok(Tried::Settled)
        }
        Ok(None) => {
            let quiet_ms = plan.key_until_ms + ms(terms.in_flight_max) - now_ms;
            if quiet_ms > 0 {
                let pause = std::time::Duration::from_millis(quiet_ms.unsigned_abs());
                return Ok(Tried::Open(Some(pause)));
            }
            let plan = Plan {
                attempt: plan.attempt.saturating_add(1),
                key_until_ms: now_ms + ms(terms.key_window),
                ..plan
            };
            let tx = app.database().begin().await?;
            let held = app.once.advance(&tx, held, Step::to(INTENT).data(plan.written()?)).await?;
            tx.commit().await?;
            send(app, &held, &plan).await
        }
    }
}

async fn send(app: &App, held: &Held, plan: &Plan) -> Result<Tried, Failed> {
    match app.gateway.send(&plan.attempt()?).await {
        Ok(outcome) => {
            crash::reach("before-t2");
            settle(app, held, plan, &outcome).await?;
            Ok(Tried::Settled)
        }
        Err(_) => Ok(Tried::Open(None)),
    }
}
