//! Accounts and their statements.

use once::store::{Transaction as _, Value};

use super::{DatabaseTx, locking};
use crate::{
    domain::{Account, AccountKind, AccountStatus, Currency, Id},
    error::Failed,
};

/// A wallet to be opened.
#[derive(Clone, Copy, Debug)]
pub struct NewAccount<'a> {
    /// Its id.
    pub id: Id,
    /// The tenant.
    pub tenant: &'a str,
    /// Whose it is.
    pub owner: Id,
    /// Its currency.
    pub currency: Currency,
    /// How far below zero it may go, in minor units.
    pub overdraft: i64,
}

/// A line of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementLine {
    /// Its place, from which the next page goes on.
    pub place: i64,
    /// The posting.
    pub posting: Id,
    /// Why.
    pub kind: String,
    /// The operation that it belongs to.
    pub reference: String,
    /// What the account gained or lost, in minor units.
    pub minor: i64,
    /// The balance afterwards, of a wallet.
    pub balance_after: Option<i64>,
    /// When, in ms since 1970.
    pub posted_ms: i64,
}

/// Opens a wallet. The id is unique: a second one fails.
pub(crate) async fn open_account(tx: &DatabaseTx, new: &NewAccount<'_>) -> Result<(), Failed> {
    let sql = "INSERT INTO account (id, tenant, owner, kind, currency, overdraft, created_ms) \
               VALUES ($1, $2, $3, $4, $5, $6, {now})";
    let (id, owner) = (new.id.text(), new.owner.text());
    let kind = AccountKind::Wallet.as_str();
    let currency = new.currency.code();
    let params = [
        (&id).into(),
        new.tenant.into(),
        (&owner).into(),
        kind.into(),
        currency.into(),
        new.overdraft.into(),
    ];
    tx.execute(sql, &params).await?;
    Ok(())
}

/// The account as the transaction sees it, not locked: for showing.
pub(crate) async fn see_account(tx: &DatabaseTx, tenant: &str, id: Id) -> Result<Option<Account>, Failed> {
    let sql = format!("SELECT {} FROM account WHERE id = $1 AND tenant = $2", locking::ACCOUNT);
    let id = id.text();
    Ok(tx
        .query_row(&sql, &[(&id).into(), tenant.into()])
        .await?
        .as_ref()
        .map(locking::account)
        .transpose()?)
}

/// Sets what an operator may set, under the version that the change is based on; the new version. `None` where it has moved.
pub(crate) async fn set_account(
    tx: &DatabaseTx,
    id: Id,
    version: i64,
    status: AccountStatus,
    overdraft: i64,
) -> Result<Option<i64>, Failed> {
    let sql = "UPDATE account SET status = $3, overdraft = $4, version = version + 1 WHERE id = $1 AND version = $2 RETURNING version";
    let id = id.text();
    let params = [(&id).into(), version.into(), status.as_str().into(), overdraft.into()];
    Ok(tx.query_row(sql, &params).await?.map(|row| row.int(0)).transpose()?)
}

/// The entries of an account before `before`, the latest first.
pub(crate) async fn statement(
    tx: &DatabaseTx,
    account: Id,
    before: Option<i64>,
    count: u32,
) -> Result<Vec<StatementLine>, Failed> {
    let sql = "SELECT e.id, e.posting, p.kind, p.reference, e.minor, e.balance_after, p.posted_ms FROM entry e \
               JOIN posting p ON p.id = e.posting WHERE e.account = $1 AND e.id < $2 ORDER BY e.id DESC LIMIT $3";
    let account = account.text();
    let rows = tx.query(sql, &[(&account).into(), before.unwrap_or(i64::MAX).into(), count.into()]).await?;
    rows.iter()
        .map(|row| {
            Ok(StatementLine {
                place: row.int(0)?,
                posting: locking::id(row, 1)?,
                kind: row.text(2)?.to_owned(),
                reference: row.text(3)?.to_owned(),
                minor: row.int(4)?,
                balance_after: row.opt_int(5)?,
                posted_ms: row.int(6)?,
            })
        })
        .collect()
}

/// The sum of an account's entries: the balance of the tenant's own accounts.
pub(crate) async fn sum_of_entries(tx: &DatabaseTx, account: Id) -> Result<i64, Failed> {
    let account = account.text();
    let params: [Value<'_>; 1] = [(&account).into()];
    let row = tx
        .query_row("SELECT CAST(COALESCE(SUM(minor), 0) AS BIGINT) FROM entry WHERE account = $1", &params)
        .await?;
    Ok(row.map_or(Ok(0), |row| row.int(0))?)
}
