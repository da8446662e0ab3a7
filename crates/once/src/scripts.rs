//! Scripts that change data once: corrections, backfills.

use sha2::{Digest as _, Sha256};

use crate::{
    error::{OnceError, check_name},
    store::Transaction,
};

/// Records which scripts have run. Made by [`Once::scripts`](crate::Once::scripts).
#[derive(Clone, Copy, Debug)]
pub struct Scripts(());

/// Whether a script is to be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// Never before: run it in this transaction, and commit.
    First,
    /// This very content has run under this name. Do nothing.
    Ran {
        /// When, in ms since 1970 by the database's clock.
        at_ms: i64,
    },
    /// Another content has run under this name. Do nothing: give the new one a name of its own, if it is meant to run.
    Changed {
        /// When the other one ran, in ms since 1970 by the database's clock.
        at_ms: i64,
    },
}

impl Scripts {
    pub(crate) const fn new() -> Self {
        Self(())
    }

    /// Records in `tx` that the script `name` of this content runs, and says whether it is to. What it does belongs into the same transaction.
    ///
    /// **Safe to repeat: yes.** The name is unique; the record and what the script does are committed together or not at all, and of two
    /// that run at the same time the second waits for the first one's end.
    ///
    /// # Errors
    /// [`OnceError::Store`]: roll back.
    pub async fn begin<T: Transaction>(
        &self,
        tx: &T,
        name: &str,
        content: &[u8],
    ) -> Result<Script, OnceError> {
        check_name("the name of a script", name)?;
        let hash: [u8; 32] = Sha256::digest(content).into();
        let sql = "INSERT INTO once_script_runs (name, content_hash, ran_ms) VALUES ($1, $2, {now}) ON CONFLICT (name) DO NOTHING";
        if tx.execute(sql, &[name.into(), (&hash).into()]).await? == 1 {
            return Ok(Script::First);
        }
        let sql = "SELECT content_hash, ran_ms FROM once_script_runs WHERE name = $1";
        let row = tx.query_row(sql, &[name.into()]).await?;
        let row = row.ok_or_else(|| {
            OnceError::invalid("the record of a script", "was deleted while it was read; try again")
        })?;
        let at_ms = row.int(1)?;
        Ok(if row.bytes(0)? == hash { Script::Ran { at_ms } } else { Script::Changed { at_ms } })
    }
}
