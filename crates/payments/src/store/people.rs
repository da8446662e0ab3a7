//! Tenants, people, sessions.

use std::time::Duration;

use once::store::Transaction as _;

use super::DatabaseTx;
use crate::{
    domain::{Id, KycStatus, Role},
    error::Failed,
};

/// A person to be recorded.
#[derive(Clone, Copy, Debug)]
pub struct NewPerson<'a> {
    /// The id.
    pub id: Id,
    /// The tenant.
    pub tenant: &'a str,
    /// The name.
    pub name: &'a str,
    /// The address.
    pub email: &'a str,
}

/// Records a tenant, unless it is there.
pub(crate) async fn record_tenant(tx: &DatabaseTx, id: &str, otp_from: Option<i64>) -> Result<(), Failed> {
    let sql =
        "INSERT INTO tenant (id, otp_from, created_ms) VALUES ($1, $2, {now}) ON CONFLICT (id) DO NOTHING";
    tx.execute(sql, &[id.into(), otp_from.into()]).await?;
    Ok(())
}

/// From which amount on a transfer of the tenant needs a one-time password.
pub(crate) async fn otp_from(tx: &DatabaseTx, tenant: &str) -> Result<Option<i64>, Failed> {
    let row = tx.query_row("SELECT otp_from FROM tenant WHERE id = $1", &[tenant.into()]).await?;
    Ok(row.map(|row| row.opt_int(0)).transpose()?.flatten())
}

/// Records a person whose papers are awaited, unless there is one of this id.
pub(crate) async fn record_person(tx: &DatabaseTx, new: &NewPerson<'_>) -> Result<(), Failed> {
    let id = new.id.text();
    let sql =
        "INSERT INTO person (id, tenant, name, email) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING";
    tx.execute(sql, &[(&id).into(), new.tenant.into(), new.name.into(), new.email.into()]).await?;
    let sql = "INSERT INTO kyc (person, tenant, status) VALUES ($1, $2, $3) ON CONFLICT (person) DO NOTHING";
    tx.execute(sql, &[(&id).into(), new.tenant.into(), KycStatus::Pending.as_str().into()]).await?;
    Ok(())
}

/// Whether the tenant has this person.
pub(crate) async fn has_person(tx: &DatabaseTx, tenant: &str, id: Id) -> Result<bool, Failed> {
    let id = id.text();
    let sql = "SELECT 1 FROM person WHERE id = $1 AND tenant = $2";
    Ok(tx.query_row(sql, &[(&id).into(), tenant.into()]).await?.is_some())
}

/// Records a session that lives for `life`; when it ends, in ms since 1970.
pub(crate) async fn record_session(
    tx: &DatabaseTx,
    id: Id,
    digest: &str,
    (tenant, person, role): (&str, Id, Role),
    life: Duration,
) -> Result<i64, Failed> {
    let sql = "INSERT INTO session (id, digest, tenant, person, role, expires_ms) VALUES ($1, $2, $3, $4, $5, {now} + $6) \
               RETURNING expires_ms";
    let (id, person) = (id.text(), person.text());
    let life_ms = i64::try_from(life.as_millis()).unwrap_or_default();
    let params =
        [(&id).into(), digest.into(), tenant.into(), (&person).into(), role.as_str().into(), life_ms.into()];
    let row = tx.query_row(sql, &params).await?;
    Ok(row.map_or(Ok(0), |row| row.int(0))?)
}

/// Ends a session now. Safe to repeat.
pub(crate) async fn end_session(tx: &DatabaseTx, id: Id) -> Result<(), Failed> {
    let id = id.text();
    tx.execute("UPDATE session SET revoked_ms = {now} WHERE id = $1 AND revoked_ms IS NULL", &[(&id).into()])
        .await?;
    Ok(())
}

/// What time it is by the database's clock, in ms since 1970.
pub(crate) async fn now_ms(tx: &DatabaseTx) -> Result<i64, Failed> {
    let row = tx.query_row("SELECT {now}", &[]).await?;
    Ok(row.map_or(Ok(0), |row| row.int(0))?)
}
