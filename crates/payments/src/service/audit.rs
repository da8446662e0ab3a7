//! Whether the books are right: what must hold whatever was killed when.

use once::store::{Owned as _, Store as _, Transaction as _};

use crate::{error::Failed, store::Database};

/// What is wrong with the books; all zeros where they are right and nothing is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Postings that do not sum to zero in a currency.
    pub unbalanced: i64,
    /// Wallets whose balance is not the sum of their entries.
    pub astray: i64,
    /// Wallets that have spent what is not there.
    pub overdrawn: i64,
    /// Wallets whose promised money is not the sum of the holds on it.
    pub held_astray: i64,
    /// Charges of which more was given back than charged.
    pub over_refunded: i64,
    /// Holds of operations that are under way.
    pub holds: i64,
    /// Operations whose outcome is not known.
    pub unfinished: i64,
    /// Keys that are not finished.
    pub keys: i64,
}

impl Audit {
    /// Whether the books are right, whatever is under way.
    #[must_use]
    pub const fn is_right(&self) -> bool {
        self.unbalanced == 0
            && self.astray == 0
            && self.overdrawn == 0
            && self.held_astray == 0
            && self.over_refunded == 0
    }

    /// Whether the books are right and nothing is under way.
    #[must_use]
    pub const fn is_at_rest(&self) -> bool {
        self.is_right() && self.holds == 0 && self.unfinished == 0 && self.keys == 0
    }
}

/// Looks at all of the books, in one state of the database.
///
/// # Errors
/// [`Failed`] where the database does not answer.
pub async fn audit(database: &Database) -> Result<Audit, Failed> {
    let tx = database.begin_read().await?;
    let count = async |sql: &str| -> Result<i64, Failed> {
        let row = tx.query_row(sql, &[]).await?;
        Ok(row.map_or(Ok(0), |row| row.int(0))?)
    };
    let found = Audit {
        unbalanced: count("SELECT COUNT(*) FROM (SELECT posting FROM entry GROUP BY posting, currency HAVING SUM(minor) <> 0) AS wrong").await?,
        astray: count(
            "SELECT COUNT(*) FROM account a WHERE a.kind = 'wallet' AND a.balance <> \
             (SELECT COALESCE(SUM(e.minor), 0) FROM entry e WHERE e.account = a.id)",
        )
        .await?,
        overdrawn: count("SELECT COUNT(*) FROM account WHERE kind = 'wallet' AND balance - held + overdraft < 0").await?,
        held_astray: count(
            "SELECT COUNT(*) FROM account a WHERE a.kind = 'wallet' AND a.held <> \
             (SELECT COALESCE(SUM(h.minor), 0) FROM hold h WHERE h.account = a.id AND h.state = 'active')",
        )
        .await?,
        over_refunded: count(
            "SELECT COUNT(*) FROM payment p WHERE p.refunded_minor > p.minor OR p.refunded_minor <> \
             (SELECT COALESCE(SUM(r.minor), 0) FROM refund r WHERE r.payment = p.id AND r.state <> 'declined')",
        )
        .await?,
        holds: count("SELECT COUNT(*) FROM hold WHERE state = 'active'").await?,
        unfinished: count(
            "SELECT (SELECT COUNT(*) FROM payment WHERE state = 'intent') + (SELECT COUNT(*) FROM refund WHERE state = 'intent')",
        )
        .await?,
        keys: count("SELECT COUNT(*) FROM once_keys WHERE finished_ms IS NULL").await?,
    };
    tx.rollback().await?;
    Ok(found)
}
