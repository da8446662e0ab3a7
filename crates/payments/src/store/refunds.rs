//! Refunds.

use once::store::Transaction as _;

use super::{DatabaseTx, locking};
use crate::{
    domain::{Id, Money, Refund, RefundState},
    error::{Failed, one_row},
};

/// A refund to be begun.
#[derive(Clone, Debug)]
pub struct NewRefund {
    /// The client's id.
    pub id: Id,
    /// The charge.
    pub payment: Id,
    /// The tenant.
    pub tenant: String,
    /// The wallet that pays.
    pub account: Id,
    /// How much.
    pub money: Money,
    /// The row of its idempotency key.
    pub key_id: i64,
}

/// Records that a charge is about to be given back.
pub(crate) async fn record_refund(tx: &DatabaseTx, new: &NewRefund) -> Result<(), Failed> {
    let sql = "INSERT INTO refund (id, payment, tenant, account, minor, currency, state, key_id, created_ms) \
               VALUES ($1, $2, $3, $4, $5, $6, 'intent', $7, {now})";
    let (id, payment, account) = (new.id.text(), new.payment.text(), new.account.text());
    let params = [
        (&id).into(),
        (&payment).into(),
        (&new.tenant).into(),
        (&account).into(),
        new.money.minor().into(),
        new.money.currency.code().into(),
        new.key_id.into(),
    ];
    tx.execute(sql, &params).await?;
    Ok(())
}

/// A refund as the transaction sees it, not locked: for showing.
pub(crate) async fn see_refund(tx: &DatabaseTx, tenant: &str, id: Id) -> Result<Option<Refund>, Failed> {
    let sql = format!("SELECT {} FROM refund WHERE id = $1 AND tenant = $2", locking::REFUND);
    let id = id.text();
    Ok(tx.query_row(&sql, &[(&id).into(), tenant.into()]).await?.as_ref().map(locking::refund).transpose()?)
}

/// Records the outcome of a refund whose outcome was not known.
pub(crate) async fn end_refund(
    tx: &DatabaseTx,
    id: Id,
    state: RefundState,
    decline_code: Option<&str>,
) -> Result<(), Failed> {
    let sql = "UPDATE refund SET state = $2, decline_code = $3, version = version + 1 WHERE id = $1 AND state = 'intent'";
    let id = id.text();
    let params = [(&id).into(), state.as_str().into(), decline_code.into()];
    one_row(tx.execute(sql, &params).await?, "the outcome of a refund")
}
