//! Taking the feed out again.

use std::path::{Path, PathBuf};

use rusqlite::{OptionalExtension as _, TransactionBehavior};

use super::{
    connection,
    error::{At, SqliteError},
    install::INSTALL_LOCK_WAIT,
    names::{META, PREFIX, identifier},
};

/// What removing the feed would do, statement by statement.
#[derive(Clone, Debug)]
pub struct RemovePlan {
    path: PathBuf,
    statements: Vec<String>,
    journal_mode: Option<String>,
}

impl RemovePlan {
    /// Plans the removal of everything that Trueup installed into the database at `path`.
    ///
    /// # Errors
    /// [`SqliteError`] where the database cannot be read.
    pub fn new(path: &Path) -> Result<Self, SqliteError> {
        let conn = connection::open_writer(path, INSTALL_LOCK_WAIT)?;
        let at = At { path, doing: "reading its schema", patience: INSTALL_LOCK_WAIT };
        let plan = || -> rusqlite::Result<_> {
            let mut ours = conn.prepare(
                "SELECT type, name FROM sqlite_master WHERE type IN ('trigger', 'table') \
                 AND substr(name, 1, ?2) = ?1 ORDER BY type DESC, name",
            )?;
            let statements = ours
                .query_map((PREFIX, PREFIX.len() as i64), |row| {
                    let (kind, name): (String, String) = (row.get(0)?, row.get(1)?);
                    Ok(format!("DROP {} {}", kind.to_uppercase(), identifier(&name)))
                })?
                .collect::<Result<Vec<_>, _>>()?;
            let has_meta = statements.iter().any(|s| s.contains(META));
            let before: Option<String> = if has_meta {
                conn.query_row(&format!("SELECT journal_mode FROM {META}"), [], |row| row.get(0))
                    .optional()?
            } else {
                None
            };
            Ok((statements, before.filter(|mode| mode != "wal")))
        };
        let (mut statements, journal_mode) = plan().map_err(|e| at.error(e))?;
        statements.extend(journal_mode.iter().map(|mode| format!("PRAGMA journal_mode = {mode}")));
        Ok(Self { path: path.to_owned(), statements, journal_mode })
    }

    /// Every statement that would be executed, in order; empty where nothing is installed.
    #[must_use]
    pub fn statements(&self) -> &[String] {
        &self.statements
    }

    /// Executes the plan. The journal mode goes back only when no other program has the database open; the returned text
    /// says so if it could not.
    ///
    /// # Errors
    /// [`SqliteError`]; nothing was removed then.
    pub fn apply(&self) -> Result<Option<String>, SqliteError> {
        let mut conn = connection::open_writer(&self.path, INSTALL_LOCK_WAIT)?;
        let at = At { path: &self.path, doing: "removing the feed", patience: INSTALL_LOCK_WAIT };
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(|e| at.error(e))?;
        let drops = self.statements.len() - usize::from(self.journal_mode.is_some());
        for statement in &self.statements[..drops] {
            tx.execute_batch(statement).map_err(|e| at.error(e))?;
        }
        tx.commit().map_err(|e| at.error(e))?;
        let Some(mode) = &self.journal_mode else { return Ok(None) };
        match connection::set_journal_mode(&conn, mode) {
            Ok(now) if now == *mode => Ok(None),
            _ => Ok(Some(format!(
                "the feed is removed, but the journal mode stays WAL because another program has the database open; \
                 close it and run `PRAGMA journal_mode = {mode}`"
            ))),
        }
    }
}
