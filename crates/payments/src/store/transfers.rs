//! Transfers.

use once::store::{Row, StoreError, Transaction as _};

use super::{DatabaseTx, locking};
use crate::{
    domain::{Currency, Id},
    error::Failed,
};

/// A transfer, as its row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The client's id.
    pub id: Id,
    /// The tenant.
    pub tenant: String,
    /// Who pays.
    pub from: Id,
    /// Who is paid.
    pub to: Id,
    /// How much, in minor units.
    pub minor: i64,
    /// The currency.
    pub currency: Currency,
    /// What the payer wrote.
    pub note: Option<String>,
    /// When, in ms since 1970.
    pub created_ms: i64,
}

const TRANSFER: &str = "id, tenant, from_account, to_account, minor, currency, note, created_ms";

/// Records a transfer whose posting was made, at the database's time; the row.
pub(crate) async fn record_transfer(tx: &DatabaseTx, new: &Transfer) -> Result<Transfer, Failed> {
    let sql = format!(
        "INSERT INTO transfer ({TRANSFER}) VALUES ($1, $2, $3, $4, $5, $6, $7, {{now}}) RETURNING {TRANSFER}"
    );
    let (id, from, to) = (new.id.text(), new.from.text(), new.to.text());
    let params = [
        (&id).into(),
        (&new.tenant).into(),
        (&from).into(),
        (&to).into(),
        new.minor.into(),
        new.currency.code().into(),
        new.note.as_ref().into(),
    ];
    let row = tx.query_row(&sql, &params).await?;
    let row = row.ok_or_else(|| Failed::Broken("a transfer that was recorded is not there".to_owned()))?;
    Ok(transfer(&row)?)
}

/// A transfer.
pub(crate) async fn see_transfer(tx: &DatabaseTx, tenant: &str, id: Id) -> Result<Option<Transfer>, Failed> {
    let sql = format!("SELECT {TRANSFER} FROM transfer WHERE id = $1 AND tenant = $2");
    let id = id.text();
    let row = tx.query_row(&sql, &[(&id).into(), tenant.into()]).await?;
    Ok(row.as_ref().map(transfer).transpose()?)
}

fn transfer(row: &Row) -> Result<Transfer, StoreError> {
    Ok(Transfer {
        id: locking::id(row, 0)?,
        tenant: row.text(1)?.to_owned(),
        from: locking::id(row, 2)?,
        to: locking::id(row, 3)?,
        minor: row.int(4)?,
        currency: locking::currency(row, 5)?,
        note: row.opt_text(6)?.map(str::to_owned),
        created_ms: row.int(7)?,
    })
}
