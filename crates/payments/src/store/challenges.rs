//! Challenges: one-time passwords that were sent. They are read from here, and from nowhere else.

use std::time::Duration;

use once::store::Transaction as _;

use super::DatabaseTx;
use crate::{
    domain::{Id, OTP_ATTEMPTS_MAX, OtpHash},
    error::{Failed, one_row},
};

/// Records that a code was sent; it holds for `life`.
pub(crate) async fn record_challenge(
    tx: &DatabaseTx,
    id: Id,
    (tenant, person): (&str, Id),
    hash: &OtpHash,
    life: Duration,
) -> Result<(), Failed> {
    let sql = "INSERT INTO challenge (id, tenant, person, code_hash, attempts_left, expires_ms) \
               VALUES ($1, $2, $3, $4, $5, {now} + $6)";
    let (id, person) = (id.text(), person.text());
    let life_ms = i64::try_from(life.as_millis()).unwrap_or_default();
    let params = [
        (&id).into(),
        tenant.into(),
        (&person).into(),
        hash.as_bytes().into(),
        OTP_ATTEMPTS_MAX.into(),
        life_ms.into(),
    ];
    tx.execute(sql, &params).await?;
    Ok(())
}

/// Pays for an attempt, before it is made: whoever ends the connection after a wrong guess has used it up all the same.
pub(crate) async fn pay_for_attempt(tx: &DatabaseTx, id: Id) -> Result<(), Failed> {
    let sql = "UPDATE challenge SET attempts_left = attempts_left - 1 WHERE id = $1 AND attempts_left > 0";
    let id = id.text();
    one_row(tx.execute(sql, &[(&id).into()]).await?, "an attempt at a code")
}

/// Uses a code up, in the transaction of what it allows; `false` where it is used.
pub(crate) async fn use_code(tx: &DatabaseTx, id: Id) -> Result<bool, Failed> {
    let sql = "UPDATE challenge SET used_ms = {now} WHERE id = $1 AND used_ms IS NULL AND expires_ms > {now}";
    let id = id.text();
    Ok(tx.execute(sql, &[(&id).into()]).await? == 1)
}
