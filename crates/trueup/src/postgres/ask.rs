//! How far the source is, what is visible, and whether anything was altered.

use tokio_postgres::types::{PgLsn, ToSql};
use trueup_core::proof::{Position, XidSnapshot};

use super::{
    digest::{Shape, halves},
    error::PostgresError,
    handle::Shared,
    identity::{INSTANCE, Instance},
    load::timeline,
};

/// What the source answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Every commit acknowledged before the question was sent ends at or below this.
    pub(super) position: Position,
    /// What is visible, later than the position.
    pub(super) snapshot: XidSnapshot,
    /// The server's timeline.
    pub(super) timeline: u32,
    /// Which start of the server answered.
    pub(super) instance: Instance,
    /// The shape of everything in use.
    pub(super) digest: Shape,
    /// The shape is another one than the registry's, or was so for a while: see [`Shared::catalogue_moved`].
    pub(super) moved: bool,
}

impl Shared {
    /// Asks, in one round trip.
    ///
    /// The position is read before the snapshot under which the digest is: whoever holds a token at or below the position had
    /// written before, so that no alteration acknowledged earlier can be missing from the digest.
    pub(super) async fn ask(&self) -> Result<Answer, PostgresError> {
        let position = format!("SELECT pg_current_wal_insert_lsn(), {INSTANCE}");
        let at = self.at("asking how far it is");
        let client = self.asker(at).await?;
        let registry = self.registry.load_full();
        let sql = registry.catalogues.ask();
        let relations: Vec<u32> = registry.uses.relations.iter().copied().collect();
        let functions: Vec<u32> = registry.uses.functions.iter().copied().collect();
        let covered: [&(dyn ToSql + Sync); 2] = [&relations, &functions];
        let run = async {
            let position = client.prepare_cached(&position).await?;
            let shape = client.prepare_cached(&sql).await?;
            tokio::try_join!(
                biased;
                client.query_one(&position, &[]),
                client.query_one(&shape, &covered)
            )
        };
        let (position, row) = run.await.map_err(|error| at.error(&error))?;
        let strange = |what: &str| PostgresError::Database {
            place: self.address.place().to_owned(),
            doing: at.doing,
            code: None,
            reason: format!("the server answered with a strange {what}"),
        };
        let digest = halves(row.get(2), row.get(3));
        Ok(Answer {
            position: Position(position.get::<_, PgLsn>(0).into()),
            snapshot: row.get::<_, &str>(0).parse().map_err(|_| strange("snapshot"))?,
            timeline: timeline(row.try_get(1).ok()).ok_or_else(|| strange("timeline"))?,
            instance: Instance(position.get(1)),
            digest,
            moved: self.watch.moved() || digest != registry.shapes.whole(),
        })
    }
}
