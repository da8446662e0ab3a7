//! Standing orders, and what each came to in each month.

use once::{jobs::BusinessDate, store::Transaction as _};

use super::{DatabaseTx, locking};
use crate::{
    domain::{Id, Month, StandingOrder, StandingStatus},
    error::{Failed, one_row},
};

/// What a standing order came to in a month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// The month.
    pub month: Month,
    /// The posting, where it was made.
    pub posting: Option<Id>,
    /// Why it was declined, where it was.
    pub decline_code: Option<String>,
    /// When, in ms since 1970.
    pub executed_ms: i64,
}

/// Records a standing order. The id is unique: a second one fails.
pub(crate) async fn record_standing_order(tx: &DatabaseTx, new: &StandingOrder) -> Result<(), Failed> {
    let sql = "INSERT INTO standing_order (id, tenant, person, role, from_account, to_account, minor, currency, note, day, first_month, status, version, created_ms) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, {now})";
    let (id, person, from, to) = (new.id.text(), new.person.text(), new.from.text(), new.to.text());
    let params = [
        (&id).into(),
        (&new.tenant).into(),
        (&person).into(),
        new.role.as_str().into(),
        (&from).into(),
        (&to).into(),
        new.minor.into(),
        new.currency.code().into(),
        new.note.as_ref().into(),
        i64::from(new.day).into(),
        new.first_month.number().into(),
        new.status.as_str().into(),
        new.version.into(),
    ];
    one_row(tx.execute(sql, &params).await?, "a standing order")
}

/// A standing order as the transaction sees it, not locked: for showing.
pub(crate) async fn see_standing_order(
    tx: &DatabaseTx,
    tenant: &str,
    id: Id,
) -> Result<Option<StandingOrder>, Failed> {
    let sql = format!("SELECT {} FROM standing_order WHERE id = $1 AND tenant = $2", locking::STANDING);
    let id = id.text();
    let row = tx.query_row(&sql, &[(&id).into(), tenant.into()]).await?;
    Ok(row.as_ref().map(locking::standing_order).transpose()?)
}

/// Sets whether a standing order is carried out, under the version that the change is based on; the new version. `None` where it has moved.
pub(crate) async fn set_standing_order(
    tx: &DatabaseTx,
    id: Id,
    version: i64,
    status: StandingStatus,
) -> Result<Option<i64>, Failed> {
    let sql = "UPDATE standing_order SET status = $3, version = version + 1 WHERE id = $1 AND version = $2 RETURNING version";
    let id = id.text();
    let row = tx.query_row(sql, &[(&id).into(), version.into(), status.as_str().into()]).await?;
    Ok(row.map(|row| row.int(0)).transpose()?)
}

/// Standing orders after the id `after` that are due on `date` and have come to nothing in its month yet, by id; locked.
pub(crate) async fn due_standing_orders(
    tx: &DatabaseTx,
    date: BusinessDate,
    after: &str,
    count: u32,
) -> Result<Vec<StandingOrder>, Failed> {
    let sql = format!(
        "SELECT {} FROM standing_order WHERE status = 'active' AND id > $1 AND first_month <= $2 AND day <= $3 \
         AND NOT EXISTS (SELECT 1 FROM standing_execution e WHERE e.standing_order = standing_order.id AND e.month = $2) \
         ORDER BY id LIMIT $4 {{for_update}}",
        locking::STANDING
    );
    // In a month that is too short for a day, the last day is that day, too.
    let until = if date.is_last_of_month() { u32::from(u8::MAX) } else { date.day().into() };
    let month = Month::of(date).number();
    let rows = tx.query(&sql, &[after.into(), month.into(), until.into(), count.into()]).await?;
    rows.iter().map(|row| Ok(locking::standing_order(row)?)).collect()
}

/// Records what a standing order came to in a month, unless that is recorded; whether it was now.
pub(crate) async fn record_execution(
    tx: &DatabaseTx,
    order: Id,
    month: Month,
    outcome: Result<Id, &str>,
) -> Result<bool, Failed> {
    let sql = "INSERT INTO standing_execution (standing_order, month, posting, decline_code, executed_ms) VALUES ($1, $2, $3, $4, {now}) \
               ON CONFLICT (standing_order, month) DO NOTHING";
    let (order, posting) = (order.text(), outcome.ok().map(Id::text));
    let params = [(&order).into(), month.number().into(), posting.as_ref().into(), outcome.err().into()];
    Ok(tx.execute(sql, &params).await? == 1)
}

/// What a standing order has come to, the latest month first.
pub(crate) async fn executions(tx: &DatabaseTx, order: Id, count: u32) -> Result<Vec<Execution>, Failed> {
    let sql = "SELECT month, posting, decline_code, executed_ms FROM standing_execution WHERE standing_order = $1 ORDER BY month DESC LIMIT $2";
    let order = order.text();
    let rows = tx.query(sql, &[(&order).into(), count.into()]).await?;
    rows.iter()
        .map(|row| {
            Ok(Execution {
                month: locking::month(row, 0)?,
                posting: row.opt_text(1)?.map(|_| locking::id(row, 1)).transpose()?,
                decline_code: row.opt_text(2)?.map(str::to_owned),
                executed_ms: row.int(3)?,
            })
        })
        .collect()
}
