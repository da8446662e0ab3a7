//! Fees and statuses of people: settings that are changed under a version.

use once::store::Transaction as _;

use super::{DatabaseTx, locking};
use crate::{
    domain::{Currency, Fee, Id, Kyc, KycStatus},
    error::Failed,
};

/// A person's status as the transaction sees it, not locked: for showing.
pub(crate) async fn see_kyc(tx: &DatabaseTx, tenant: &str, person: Id) -> Result<Option<Kyc>, Failed> {
    let sql = format!("SELECT {} FROM kyc WHERE person = $1 AND tenant = $2", locking::KYC);
    let id = person.text();
    Ok(tx.query_row(&sql, &[(&id).into(), tenant.into()]).await?.as_ref().map(locking::kyc).transpose()?)
}

/// Sets a person's status under the version that the change is based on; the new version. `None` where it has moved.
pub(crate) async fn set_kyc(
    tx: &DatabaseTx,
    person: Id,
    version: i64,
    status: KycStatus,
) -> Result<Option<i64>, Failed> {
    let sql = "UPDATE kyc SET status = $3, version = version + 1 WHERE person = $1 AND version = $2 RETURNING version";
    let id = person.text();
    let row = tx.query_row(sql, &[(&id).into(), version.into(), status.as_str().into()]).await?;
    Ok(row.map(|row| row.int(0)).transpose()?)
}

/// A line of the fee table as the transaction sees it, not locked: for showing.
pub(crate) async fn see_fee(
    tx: &DatabaseTx,
    tenant: &str,
    kind: &str,
    currency: Currency,
) -> Result<Option<Fee>, Failed> {
    let sql = format!("SELECT {} FROM fee WHERE tenant = $1 AND kind = $2 AND currency = $3", locking::FEE);
    let params = [tenant.into(), kind.into(), currency.code().into()];
    Ok(tx.query_row(&sql, &params).await?.as_ref().map(locking::fee).transpose()?)
}

/// Records a line of the fee table, unless it is there.
pub(crate) async fn record_fee(tx: &DatabaseTx, fee: &Fee) -> Result<(), Failed> {
    let sql = "INSERT INTO fee (tenant, kind, currency, fixed_minor, rate_ppm) VALUES ($1, $2, $3, $4, $5) \
               ON CONFLICT (tenant, kind, currency) DO NOTHING";
    let params = [
        (&fee.tenant).into(),
        (&fee.kind).into(),
        fee.currency.code().into(),
        fee.fixed_minor.into(),
        fee.rate_ppm.into(),
    ];
    tx.execute(sql, &params).await?;
    Ok(())
}

/// Sets a line of the fee table under the version of `fee`; the new version. `None` where it has moved.
pub(crate) async fn set_fee(tx: &DatabaseTx, fee: &Fee) -> Result<Option<i64>, Failed> {
    let sql = "UPDATE fee SET fixed_minor = $5, rate_ppm = $6, version = version + 1 \
               WHERE tenant = $1 AND kind = $2 AND currency = $3 AND version = $4 RETURNING version";
    let params = [
        (&fee.tenant).into(),
        (&fee.kind).into(),
        fee.currency.code().into(),
        fee.version.into(),
        fee.fixed_minor.into(),
        fee.rate_ppm.into(),
    ];
    Ok(tx.query_row(sql, &params).await?.map(|row| row.int(0)).transpose()?)
}
