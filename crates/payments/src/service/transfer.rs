//! Transfers: one transaction.

use std::sync::Arc;

use axum::response::Response;
use futures_util::future::try_join;
use once::{StoredResponse, http::Admitted, outbox::NewMessage};
use trueup::Authoritative;

use super::{App, Undone, code_is_used, identity_is_known, in_one_transaction, session_holds};
use crate::{
    crash,
    domain::{Account, AccountKind, Action, Id, Money, Permit, PostingKind, Refused, Role, Session},
    http::{Kind, Problem, TransferView, created},
    store::{self, DatabaseTx, Effect, Locked, OwnLeg, Transfer, WalletOf},
};

/// A transfer that is asked for.
#[derive(Clone, Debug)]
pub struct NewTransfer {
    /// The client's id.
    pub id: Id,
    /// Who pays.
    pub from: Id,
    /// Who is paid.
    pub to: Id,
    /// How much.
    pub money: Money,
    /// What the payer wrote.
    pub note: Option<String>,
    /// The version of the paying account that the client has seen, if that is to be the one.
    pub from_version: Option<i64>,
    /// The answer to a challenge, checked already: it is used up with the transfer.
    pub challenge: Option<Id>,
}

/// The answer to a challenge.
#[derive(Clone)]
pub struct OtpAnswer {
    /// The challenge.
    pub challenge: Id,
    /// The code.
    pub code: zeroize::Zeroizing<String>,
}

impl std::fmt::Debug for OtpAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OtpAnswer").field("challenge", &self.challenge).finish_non_exhaustive()
    }
}

/// Makes a transfer, or declines it for good.
///
/// Safe to repeat: under its key it is made once, and under another key its id is known.
pub(crate) async fn transfer(
    app: &App,
    session: &Session,
    admitted: &Admitted,
    new: &NewTransfer,
) -> Response {
    crash::reach("before-t1");
    // Attempts outlive no borrow, because the engine may make several.
    let asked = Arc::new((app.clone(), session.clone(), new.clone()));
    let response = in_one_transaction(app, admitted, |tx| {
        let asked = Arc::clone(&asked);
        Box::pin(async move { attempt(&asked.0, &asked.1, &asked.2, tx).await })
    })
    .await;
    crash::reach("before-response");
    response
}

async fn attempt(
    app: &App,
    session: &Session,
    new: &NewTransfer,
    tx: &DatabaseTx,
) -> Result<StoredResponse, Undone> {
    let locked = Locked::new(tx);
    session_holds(&locked, tx, session).await?;
    if let Err(declined) = identity_is_known(&locked, session).await? {
        return Ok(declined.stored()?);
    }
    code_is_used(tx, session, new.money, new.challenge).await?;
    let tenant: Arc<str> = session.tenant.as_str().into();
    let key = |id| WalletOf { id, tenant: Arc::clone(&tenant) };
    // Always in the order of the ids, so that two transfers never wait for each other in a circle. Both are asked for at once: a connection's
    // statements are carried out in the order in which they were sent.
    let is_first = new.from < new.to;
    let (first, second) = if is_first { (new.from, new.to) } else { (new.to, new.from) };
    let (first, second) = (key(first), key(second));
    let (first, second) = try_join(locked.read(&first), locked.read(&second)).await?;
    let (from, to) = if is_first { (first, second) } else { (second, first) };
    if let Some(seen) = new.from_version
        && let Some(row) = from.value()
        && row.version != seen
    {
        let problem =
            Problem::new(Kind::Conflict, "the account changed while this was asked; look at it again");
        return Err(problem.version(row.version).into());
    }
    let payer = Payer { role: session.role, person: session.person };
    let effect = match payer.decide(PostingKind::Transfer, &new.id.text(), new.money, &from, &to) {
        Ok(effect) => effect,
        Err(declined) => return Ok(declined.stored()?),
    };
    store::post(tx, &session.tenant, new.id, effect).await?;
    let row = Transfer {
        id: new.id,
        tenant: session.tenant.clone(),
        from: new.from,
        to: new.to,
        minor: new.money.minor(),
        currency: new.money.currency,
        note: new.note.clone(),
        created_ms: 0,
    };
    let row = store::record_transfer(tx, &row).await?;
    let view = TransferView::of(&row);
    let body = view.json()?;
    // One of the two is a wallet, whose row is locked here: the order of its messages is that of its postings.
    let wallet = if is_wallet(&from) { new.from } else { new.to };
    let (aggregate, id) = (format!("account/{wallet}"), new.id.text());
    app.once.outbox().put(tx, &NewMessage::new(&aggregate, "transfer.posted", &id, &body)).await?;
    crash::reach("inside-t2");
    Ok(created(&format!("/transfers/{id}"), body)?)
}

fn is_wallet(account: &Authoritative<'_, Account>) -> bool {
    account.value().is_some_and(|row| row.kind == AccountKind::Wallet)
}

/// On whose word money moves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Payer {
    pub(crate) role: Role,
    pub(crate) person: Id,
}

impl Payer {
    fn may(self, action: Action, owner: Option<Id>) -> bool {
        self.role.may(action, owner == Some(self.person))
    }

    /// What moving `money` does to the two accounts, if it may.
    pub(crate) fn decide<'tx>(
        self,
        kind: PostingKind,
        reference: &str,
        money: Money,
        from: &Authoritative<'tx, Account>,
        to: &Authoritative<'tx, Account>,
    ) -> Result<Effect<'tx>, Problem> {
        let unknown =
            |which: &str| Problem::new(Kind::UnknownAccount, format!("there is no account `{which}`"));
        let payer = from.value().ok_or_else(|| unknown("from"))?;
        let payee = to.value().ok_or_else(|| unknown("to"))?;
        // An account of somebody else is, to a customer who would pay from it, not there.
        if !self.may(Action::Pay, payer.owner) {
            return Err(unknown("from"));
        }
        let mut effect = Effect {
            kind,
            reference: reference.to_owned(),
            currency: money.currency,
            permits: Vec::new(),
            own: Vec::new(),
        };
        for (row, account, gains) in [(payer, from, false), (payee, to, true)] {
            match row.kind {
                AccountKind::Wallet => {
                    let permit =
                        if gains { Permit::credit(account, money) } else { Permit::debit(account, money) };
                    effect.permits.push(permit.map_err(declined)?);
                }
                AccountKind::Outside if self.may(Action::KeepAccounts, None) => {
                    if row.currency != money.currency {
                        return Err(declined(Refused::Currency));
                    }
                    let minor = if gains { money.minor() } else { -money.minor() };
                    effect.own.push(OwnLeg { kind: AccountKind::Outside, minor });
                }
                _ => return Err(unknown(if gains { "to" } else { "from" })),
            }
        }
        if effect.permits.is_empty() {
            return Err(Problem::new(Kind::UnknownAccount, "one of the accounts is to be a wallet"));
        }
        Ok(effect)
    }
}

/// The answer to what the books do not allow.
pub(crate) fn declined(why: Refused) -> Problem {
    let kind = match why {
        Refused::Unknown => Kind::UnknownAccount,
        Refused::Currency => Kind::Currency,
        Refused::Frozen | Refused::Closed => Kind::AccountNotOpen,
        Refused::Funds => Kind::InsufficientFunds,
        Refused::Hold | Refused::Range => Kind::Range,
    };
    Problem::new(kind, why.to_string())
}
