//! A piece of a job: its effects and the checkpoint behind it in one transaction.

use super::JobRun;
use crate::{
    error::{OnceError, check_bytes},
    limits::CHECKPOINT_BYTES_MAX,
    store::{Owned as _, Store, Transaction as _},
};

/// A chunk under way. Dropped, it is rolled back, and will be done again.
#[derive(Debug)]
pub struct Chunk<'a, S: Store> {
    run: &'a JobRun<S>,
    tx: S::Tx,
    checkpoint: Option<String>,
}

impl<'a, S: Store> Chunk<'a, S> {
    pub(super) async fn begin(run: &'a JobRun<S>) -> Result<Self, OnceError> {
        let tx = run.store.begin().await?;
        run.lease.check(&tx).await?;
        let sql = "SELECT checkpoint FROM once_job_runs WHERE job = $1 AND business_date = $2 AND finished_ms IS NULL";
        let row = tx.query_row(sql, &[(&run.job).into(), (&run.date.to_string()).into()]).await?;
        let row = row
            .ok_or_else(|| OnceError::invalid("the run", "is finished; there is no chunk after the last"))?;
        let checkpoint = row.opt_text(0)?.map(str::to_owned);
        Ok(Self { run, tx, checkpoint })
    }

    /// The transaction, for the chunk's effects.
    #[must_use]
    pub const fn tx(&self) -> &S::Tx {
        &self.tx
    }

    /// What the last chunk that was saved left: where to go on. `None` for the first.
    #[must_use]
    pub fn checkpoint(&self) -> Option<&str> {
        self.checkpoint.as_deref()
    }

    /// Commits the chunk's effects together with `checkpoint`, from where the next one goes on.
    ///
    /// **Safe to repeat: no**, it takes the chunk. Where COMMIT's answer was lost, begin the next chunk: its checkpoint tells.
    ///
    /// # Errors
    /// [`OnceError::Store`].
    pub async fn save(self, checkpoint: &str) -> Result<(), OnceError> {
        check_bytes("the checkpoint", checkpoint.len(), CHECKPOINT_BYTES_MAX)?;
        self.end("checkpoint = $4", Some(checkpoint)).await
    }

    /// Commits the chunk's effects and ends the run for ever. Release the run afterwards.
    ///
    /// **Safe to repeat: no**, as [`Chunk::save`].
    ///
    /// # Errors
    /// [`OnceError::Store`].
    pub async fn finish(self) -> Result<(), OnceError> {
        self.end("finished_ms = {now}", None).await
    }

    async fn end(self, change: &str, checkpoint: Option<&str>) -> Result<(), OnceError> {
        let sql = format!(
            "UPDATE once_job_runs SET chunks = chunks + 1, {change} \
             WHERE job = $1 AND business_date = $2 AND fence = $3 AND finished_ms IS NULL"
        );
        let date = self.run.date.to_string();
        let mut params = vec![(&self.run.job).into(), (&date).into(), self.run.lease.fence().into()];
        params.extend(checkpoint.map(crate::store::Value::from));
        if self.tx.execute(&sql, &params).await? != 1 {
            return Err(OnceError::LeaseLost {
                name: self.run.lease.name().to_owned(),
                fence: self.run.lease.fence(),
            });
        }
        self.tx.commit().await?;
        self.run.counters.job_chunks.add(1);
        Ok(())
    }
}
