//! The record of what was done, where crate `once` keeps it: in the shop's own database.

use once::{Once, Options, postgres::PostgresStore, sqlite::SqliteStore, store::Store};

use crate::world::LabError;

/// A store in the shop's database, of whichever kind.
pub(super) enum Books {
    Sqlite(SqliteStore),
    Postgres(PostgresStore),
}

/// What is done with the books, whichever they are.
pub(super) trait Story {
    type Told;

    async fn on<S: Store>(self, once: Once<S>) -> Result<Self::Told, LabError>;
}

impl Books {
    /// Tells `story` with an engine on these books, with its tables made.
    pub(super) async fn tell<T: Story>(self, options: Options, story: T) -> Result<T::Told, LabError> {
        match self {
            Self::Sqlite(store) => {
                once::migrate(&store).await?;
                story.on(Once::new(store, options)).await
            }
            Self::Postgres(store) => {
                once::migrate(&store).await?;
                story.on(Once::new(store, options)).await
            }
        }
    }
}
