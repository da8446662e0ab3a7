//! Card charges.

use once::store::Transaction as _;

use super::{DatabaseTx, locking};
use crate::{
    domain::{Id, Money, Payment, PaymentState},
    error::{Failed, one_row},
};

/// A charge to be begun.
#[derive(Clone, Debug)]
pub struct NewPayment {
    /// The client's id.
    pub id: Id,
    /// The tenant.
    pub tenant: String,
    /// The wallet to be credited.
    pub account: Id,
    /// What the card is to be charged.
    pub money: Money,
    /// What the tenant keeps of it, in minor units.
    pub fee_minor: i64,
    /// The row of its idempotency key.
    pub key_id: i64,
}

/// Records that a card is about to be charged.
pub(crate) async fn record_payment(tx: &DatabaseTx, new: &NewPayment) -> Result<(), Failed> {
    let sql = "INSERT INTO payment (id, tenant, account, minor, fee_minor, currency, state, key_id, created_ms) \
               VALUES ($1, $2, $3, $4, $5, $6, 'intent', $7, {now})";
    let (id, account) = (new.id.text(), new.account.text());
    let params = [
        (&id).into(),
        (&new.tenant).into(),
        (&account).into(),
        new.money.minor().into(),
        new.fee_minor.into(),
        new.money.currency.code().into(),
        new.key_id.into(),
    ];
    tx.execute(sql, &params).await?;
    Ok(())
}

/// A charge as the transaction sees it, not locked: for showing.
pub(crate) async fn see_payment(tx: &DatabaseTx, tenant: &str, id: Id) -> Result<Option<Payment>, Failed> {
    let sql = format!("SELECT {} FROM payment WHERE id = $1 AND tenant = $2", locking::PAYMENT);
    let id = id.text();
    Ok(tx
        .query_row(&sql, &[(&id).into(), tenant.into()])
        .await?
        .as_ref()
        .map(locking::payment)
        .transpose()?)
}

/// Which charge or refund the gateway means by `reference`: its tenant, and the row of its key.
pub(crate) async fn of_reference(
    tx: &DatabaseTx,
    reference: Id,
) -> Result<Option<(String, i64, bool)>, Failed> {
    let sql = "SELECT tenant, key_id, 0 FROM payment WHERE id = $1 UNION ALL SELECT tenant, key_id, 1 FROM refund WHERE id = $1";
    let id = reference.text();
    let Some(row) = tx.query_row(sql, &[(&id).into()]).await? else { return Ok(None) };
    Ok(Some((row.text(0)?.to_owned(), row.int(1)?, row.flag(2)?)))
}

/// Records the outcome of a charge whose outcome was not known.
pub(crate) async fn end_payment(
    tx: &DatabaseTx,
    id: Id,
    state: PaymentState,
    decline_code: Option<&str>,
) -> Result<(), Failed> {
    let sql = "UPDATE payment SET state = $2, decline_code = $3, version = version + 1 WHERE id = $1 AND state = 'intent'";
    let id = id.text();
    let params = [(&id).into(), state.as_str().into(), decline_code.into()];
    one_row(tx.execute(sql, &params).await?, "the outcome of a charge")
}

/// Counts `minor` more as given back of a charge, or (below zero) less.
pub(crate) async fn count_refund(tx: &DatabaseTx, id: Id, minor: i64) -> Result<(), Failed> {
    let sql = "UPDATE payment SET refunded_minor = refunded_minor + $2, version = version + 1 WHERE id = $1";
    let id = id.text();
    one_row(tx.execute(sql, &[(&id).into(), minor.into()]).await?, "a refund of a charge")
}
