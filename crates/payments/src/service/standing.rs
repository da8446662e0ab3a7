//! Standing orders: recorded by a request, carried out by a job, once in each month.

use std::{collections::BTreeSet, sync::Arc};

use axum::response::Response;
use once::{
    Once, StoredResponse,
    http::Admitted,
    jobs::{BusinessDate, Chunk, Started, id as job_id},
    outbox::NewMessage,
};
use trueup::Authoritative;

use super::{
    App, Undone, code_is_used, identity_is_known, in_one_transaction, session_holds, transfer::Payer,
};
use crate::{
    crash,
    domain::{Account, Id, KycStatus, Month, PostingKind, Role, Session, StandingOrder},
    error::Failed,
    http::{Kind, Problem, StandingOrderView, created},
    store::{self, Database, DatabaseTx, KycOf, Locked, WalletOf},
};

/// The job's name.
pub const JOB: &str = "standing-orders";
/// Orders in one transaction.
const CHUNK: u32 = 50;

/// Records a standing order, or declines it for good.
///
/// Safe to repeat: under its key it is recorded once, and under another key its id is known.
pub(crate) async fn order(
    app: &App,
    session: &Session,
    admitted: &Admitted,
    new: StandingOrder,
    challenge: Option<Id>,
) -> Response {
    let asked = Arc::new((session.clone(), new));
    in_one_transaction(app, admitted, |tx| {
        let asked = Arc::clone(&asked);
        Box::pin(async move { record(&asked.0, &asked.1, challenge, tx).await })
    })
    .await
}

async fn record(
    session: &Session,
    new: &StandingOrder,
    challenge: Option<Id>,
    tx: &DatabaseTx,
) -> Result<StoredResponse, Undone> {
    let locked = Locked::new(tx);
    session_holds(&locked, tx, session).await?;
    if let Err(declined) = identity_is_known(&locked, session).await? {
        return Ok(declined.stored()?);
    }
    let money = new.money().map_err(|why| Failed::Broken(why.to_string()))?;
    code_is_used(tx, session, money, challenge).await?;
    // Whose accounts these are is decided now as well as each month; what is on them then is decided then.
    let accounts = wallets(&locked, new).await?;
    if accounts.1.value().is_none() {
        return Ok(Problem::new(Kind::UnknownAccount, "there is no account `to`").stored()?);
    }
    let payer = Payer { role: new.role, person: new.person };
    match payer.decide(PostingKind::StandingOrder, "", money, &accounts.0, &accounts.1) {
        Ok(_) => {}
        Err(problem) if problem.kind() == Kind::InsufficientFunds => {}
        Err(declined) => return Ok(declined.stored()?),
    }
    store::record_standing_order(tx, new).await?;
    let body = StandingOrderView::of(new).json()?;
    Ok(created(&format!("/standing-orders/{}", new.id), body)?)
}

/// Who pays, and who is paid.
type Accounts<'tx> = (Authoritative<'tx, Account>, Authoritative<'tx, Account>);

/// The two accounts, locked in the order of their ids.
async fn wallets<'tx>(locked: &'tx Locked<'tx>, order: &StandingOrder) -> Result<Accounts<'tx>, Failed> {
    let tenant: Arc<str> = order.tenant.as_str().into();
    let key = |id| WalletOf { id, tenant: Arc::clone(&tenant) };
    if order.from < order.to {
        let from = locked.read(&key(order.from)).await?;
        return Ok((from, locked.read(&key(order.to)).await?));
    }
    let to = locked.read(&key(order.to)).await?;
    Ok((locked.read(&key(order.from)).await?, to))
}

/// What a run of the job came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Executed {
    /// It ran to its end.
    Ran {
        /// Orders that were carried out now.
        made: u64,
        /// Orders that were declined for this month now.
        declined: u64,
    },
    /// Another instance runs it: this one walks away.
    Elsewhere {
        /// Which.
        owner: String,
    },
    /// It had been run.
    Finished,
}

/// Carries out the standing orders that are due on `date`, and those of its month that were due before and have come to nothing yet.
///
/// Safe to repeat, from any number of instances: one holds the job's lease; chunk and checkpoint are one transaction under its fence; an order comes
/// to something once in a month (its natural key), and its posting's id is made of job, month and order.
///
/// # Errors
/// [`Failed`]; a run that another has taken over fails with `LeaseLost` and has changed nothing since.
pub async fn execute(once: &Once<Database>, date: BusinessDate, owner: &str) -> Result<Executed, Failed> {
    let run = match once.jobs().start(JOB, date, owner).await? {
        Started::Running(run) => run,
        Started::Elsewhere { owner } => return Ok(Executed::Elsewhere { owner }),
        Started::Finished { .. } => return Ok(Executed::Finished),
    };
    let (mut made, mut declined) = (0, 0);
    loop {
        let chunk = run.chunk().await?;
        let after = chunk.checkpoint().unwrap_or_default().to_owned();
        let orders = store::due_standing_orders(chunk.tx(), date, &after, CHUNK).await?;
        let Some(last) = orders.last().map(|order| order.id.text()) else {
            chunk.finish().await?;
            break;
        };
        for was_made in carry_out(once, &chunk, &orders, Month::of(date)).await? {
            *(if was_made { &mut made } else { &mut declined }) += 1;
        }
        crash::reach("standing-chunk");
        chunk.save(&last).await?;
        crash::reach("standing-saved");
    }
    run.release().await?;
    Ok(Executed::Ran { made, declined })
}

/// Carries out a chunk's orders; of each whether it was made.
async fn carry_out(
    once: &Once<Database>,
    chunk: &Chunk<'_, Database>,
    orders: &[StandingOrder],
    month: Month,
) -> Result<Vec<bool>, Failed> {
    let tx = chunk.tx();
    let locked = Locked::new(tx);
    // All rows of the chunk in the order of their ids, as transfers take them: two never wait for each other in a circle.
    let accounts: BTreeSet<_> =
        orders.iter().flat_map(|order| [(order.from, &order.tenant), (order.to, &order.tenant)]).collect();
    for (id, tenant) in accounts {
        locked.read(&WalletOf { id, tenant: tenant.as_str().into() }).await?;
    }
    let mut made = Vec::with_capacity(orders.len());
    let mut messages = Vec::with_capacity(orders.len());
    for order in orders {
        let outcome = carry_out_one(tx, &locked, order, month).await?;
        let topic = if outcome.is_ok() { "standing-order.executed" } else { "standing-order.declined" };
        let told = serde_json::json!({
            "standing_order": order.id.text(), "month": month.to_string(), "amount": order.minor,
            "currency": order.currency.code(), "code": outcome.err().map(Kind::name),
        });
        messages.push((format!("account/{}", order.from), topic, format!("{}/{month}", order.id), told));
        made.push(outcome.is_ok());
    }
    // In the order in which the relay takes several aggregates.
    messages.sort_by(|one, other| one.0.cmp(&other.0));
    for (aggregate, topic, id, told) in &messages {
        let payload = told.to_string().into_bytes();
        once.outbox().put(tx, &NewMessage::new(aggregate, topic, id, &payload)).await?;
    }
    Ok(made)
}

/// What an order comes to in a month: its posting, or why it was declined. A decline is an outcome, too: it is not tried again in this month.
async fn carry_out_one<'tx>(
    tx: &'tx DatabaseTx,
    locked: &'tx Locked<'tx>,
    order: &StandingOrder,
    month: Month,
) -> Result<Result<Id, Kind>, Failed> {
    // The rows are locked; what the orders before have changed is read again.
    let accounts = wallets(locked, order).await?;
    let money = order.money().map_err(|why| Failed::Broken(why.to_string()))?;
    let reference = format!("{}/{month}", order.id);
    let payer = Payer { role: order.role, person: order.person };
    let decided = if is_known(locked, order).await? {
        payer
            .decide(PostingKind::StandingOrder, &reference, money, &accounts.0, &accounts.1)
            .map_err(|problem| problem.kind())
    } else {
        Err(Kind::KycRequired)
    };
    let outcome = match decided {
        Ok(effect) => {
            let operation = Id::of_job(job_id(JOB, month.first_day()?, &order.id.text()));
            Ok(store::post(tx, &order.tenant, operation, effect).await?.id())
        }
        Err(why) => Err(why),
    };
    if !store::record_execution(tx, order.id, month, outcome.map_err(Kind::name)).await? {
        return Err(Failed::Broken("a standing order that had come to nothing was carried out".to_owned()));
    }
    Ok(outcome)
}

/// Customers move money while their identity is known.
async fn is_known(locked: &Locked<'_>, order: &StandingOrder) -> Result<bool, Failed> {
    if order.role != Role::Customer {
        return Ok(true);
    }
    let kyc = locked.read(&KycOf { person: order.person, tenant: order.tenant.as_str().into() }).await?;
    Ok(kyc.value().is_some_and(|kyc| kyc.status == KycStatus::Verified))
}
