//! The secret with which the nodes of one database seal what they share.

use trueup_core::entry::{KeyRing, Secret};

use super::{error::PostgresError, handle::Postgres};

impl Postgres {
    /// The keys that all nodes of this database share, made when the feed was installed; none where no feed is installed.
    /// They never leave the process but through the database's own connection.
    ///
    /// # Errors
    /// [`PostgresError`] when the server does not answer, or the role may not read `trueup.feed`.
    pub async fn sealing_keys(&self) -> Result<Option<KeyRing>, PostgresError> {
        const IS_THERE: &str = "SELECT to_regclass('trueup.feed') IS NOT NULL";
        const READ: &str = "SELECT encode(secret, 'hex') FROM trueup.feed WHERE id = 1";
        let at = self.shared.at("reading the secret that nodes share");
        let client = self.shared.reader(at).await?;
        let is_there = client.query_one(IS_THERE, &[]).await.map_err(|e| at.error(&e))?;
        if !is_there.get::<_, bool>(0) {
            return Ok(None);
        }
        let row = client.query_opt(READ, &[]).await.map_err(|e| at.error(&e))?;
        let Some(row) = row else { return Ok(None) };
        let secret = Secret::from_hex(row.get(0)).map_err(|why| PostgresError::Database {
            place: at.place.to_owned(),
            doing: at.doing,
            code: None,
            reason: format!(
                "trueup.feed holds no secret that can be used ({why}); run `trueup init --apply`"
            ),
        })?;
        Ok(Some(KeyRing::new(&secret)))
    }
}
