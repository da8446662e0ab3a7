//! The ledger: postings and holds.

use futures_util::future::{try_join, try_join_all};
use once::store::Transaction as _;

use super::DatabaseTx;
use crate::{
    domain::{
        AccountKind, Currency, Id, Leg, Money, Permit, Posting, PostingKind, posting_of, system_account,
    },
    error::{Failed, one_row},
};

/// What one of the tenant's own accounts gains (above zero) or loses. Nothing is decided on these accounts: they are the sums of
/// their entries, and may be of either sign.
#[derive(Clone, Copy, Debug)]
pub struct OwnLeg {
    /// Which of them.
    pub kind: AccountKind,
    /// Minor units.
    pub minor: i64,
}

/// What a posting does to accounts: permits for wallets, legs of the tenant's own.
#[derive(Debug)]
pub struct Effect<'tx> {
    /// Why.
    pub kind: PostingKind,
    /// The operation that it belongs to.
    pub reference: String,
    /// The currency of all of it.
    pub currency: Currency,
    /// Changes of wallets.
    pub permits: Vec<Permit<'tx>>,
    /// Changes of the tenant's own accounts.
    pub own: Vec<OwnLeg>,
}

/// Writes the posting of an operation and changes its wallets.
///
/// Safe to repeat only with its transaction: an operation has one posting, so a second one fails.
pub(crate) async fn post(
    tx: &DatabaseTx,
    tenant: &str,
    operation: Id,
    effect: Effect<'_>,
) -> Result<Posting, Failed> {
    let id = posting_of(effect.kind.as_str(), tenant, operation);
    let mut legs = Vec::with_capacity(effect.permits.len() + effect.own.len());
    for own in effect.own.iter().filter(|own| own.minor != 0) {
        let account = own_account(tx, tenant, own.kind, effect.currency).await?;
        legs.push(Leg { account, currency: effect.currency, minor: own.minor });
    }
    for permit in &effect.permits {
        legs.push(Leg {
            account: permit.account(),
            currency: permit.currency(),
            minor: permit.balance_change(),
        });
    }
    let posting = Posting::new(id, effect.kind, legs)?;
    let id = id.text();
    // What does not need the answer before it is sent without waiting for it: the wallets are locked all the while.
    let changes = effect.permits.iter().map(|permit| change(tx, permit));
    let begun = begin(tx, &id, tenant, &effect);
    let ((), balances) = try_join(begun, try_join_all(changes)).await?;
    let entries = posting.legs().iter().map(|leg| {
        let permit = effect.permits.iter().position(|permit| permit.account() == leg.account);
        enter(tx, &id, leg, permit.map(|place| balances[place]))
    });
    try_join_all(entries).await?;
    Ok(posting)
}

async fn begin(tx: &DatabaseTx, id: &str, tenant: &str, effect: &Effect<'_>) -> Result<(), Failed> {
    let sql = "INSERT INTO posting (id, tenant, kind, reference, posted_ms) VALUES ($1, $2, $3, $4, {now})";
    tx.execute(sql, &[id.into(), tenant.into(), effect.kind.as_str().into(), (&effect.reference).into()])
        .await?;
    Ok(())
}

async fn enter(tx: &DatabaseTx, posting: &str, leg: &Leg, balance_after: Option<i64>) -> Result<(), Failed> {
    let sql =
        "INSERT INTO entry (posting, account, currency, minor, balance_after) VALUES ($1, $2, $3, $4, $5)";
    let account = leg.account.text();
    let params = [
        posting.into(),
        (&account).into(),
        leg.currency.code().into(),
        leg.minor.into(),
        balance_after.into(),
    ];
    one_row(tx.execute(sql, &params).await?, "an entry")
}

/// Uses a permit; the balance afterwards.
async fn change(tx: &DatabaseTx, permit: &Permit<'_>) -> Result<i64, Failed> {
    let sql = "UPDATE account SET balance = balance + $2, held = held + $3, version = version + 1 WHERE id = $1 RETURNING balance";
    let account = permit.account().text();
    let params = [(&account).into(), permit.balance_change().into(), permit.held_change().into()];
    let row = tx.query_row(sql, &params).await?;
    let row = row.ok_or_else(|| Failed::Broken("a locked account was gone".to_owned()))?;
    Ok(row.int(0)?)
}

/// Promises money of a wallet to the operation `id`.
pub(crate) async fn promise(tx: &DatabaseTx, id: Id, permit: Permit<'_>) -> Result<(), Failed> {
    change(tx, &permit).await?;
    record_hold(tx, id, permit.account(), permit.held_change(), permit.currency()).await
}

/// Records what the gateway is about to owe for the operation `id`. Nobody's money is held: the clearing account's is to come.
pub(crate) async fn expect(tx: &DatabaseTx, tenant: &str, id: Id, money: Money) -> Result<(), Failed> {
    let account = own_account(tx, tenant, AccountKind::Clearing, money.currency).await?;
    record_hold(tx, id, account, money.minor(), money.currency).await
}

async fn record_hold(
    tx: &DatabaseTx,
    id: Id,
    account: Id,
    minor: i64,
    currency: Currency,
) -> Result<(), Failed> {
    let sql = "INSERT INTO hold (id, account, minor, currency, state, created_ms) VALUES ($1, $2, $3, $4, 'active', {now})";
    let (id, account) = (id.text(), account.text());
    tx.execute(sql, &[(&id).into(), (&account).into(), minor.into(), currency.code().into()]).await?;
    Ok(())
}

/// Gives back what was promised of a wallet to the operation `id`.
pub(crate) async fn give_back(tx: &DatabaseTx, id: Id, permit: Permit<'_>) -> Result<(), Failed> {
    change(tx, &permit).await?;
    end_hold(tx, id, false).await
}

/// Ends the hold of the operation `id`: it was posted, or it came to nothing.
pub(crate) async fn end_hold(tx: &DatabaseTx, id: Id, posted: bool) -> Result<(), Failed> {
    let sql = "UPDATE hold SET state = $2 WHERE id = $1 AND state = 'active'";
    let id = id.text();
    let state = if posted { "posted" } else { "voided" };
    one_row(tx.execute(sql, &[(&id).into(), state.into()]).await?, "the end of a hold")
}

/// The tenant's own account of this kind and currency, opened where it is missing.
pub(crate) async fn own_account(
    tx: &DatabaseTx,
    tenant: &str,
    kind: AccountKind,
    currency: Currency,
) -> Result<Id, Failed> {
    let id = system_account(tenant, kind.as_str(), currency);
    let sql = "INSERT INTO account (id, tenant, owner, kind, currency, created_ms) VALUES ($1, $2, NULL, $3, $4, {now}) \
               ON CONFLICT (id) DO NOTHING";
    let text = id.text();
    tx.execute(sql, &[(&text).into(), tenant.into(), kind.as_str().into(), currency.code().into()]).await?;
    Ok(id)
}
