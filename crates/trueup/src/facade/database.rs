//! What the way in asks of a database.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use trueup_core::{
    behind::WriteBehind, class::ClassName, entry::KeyRing, env::BoxFuture, key::KeyForm, source::Source,
};

use super::{TrueupError, rows::Lockable};
use crate::{
    catalog::{CatalogError, postgres, sqlite},
    plan::Plan,
    postgres::{Postgres, discover},
    sqlite::{Sqlite, discover_file},
};

/// A database of record that a [`Trueup`](crate::Trueup) can stand in front of: [`Sqlite`], [`Postgres`].
pub trait Database: Source + Clone + sealed::Opens {}

impl Database for Sqlite {}

impl Database for Postgres {}

/// A class of a plan, ready to be read; or why it cannot be.
pub(super) type Opened = BTreeMap<ClassName, Result<OpenedClass, Arc<CatalogError>>>;

/// A class, ready to be read.
#[derive(Clone, Debug)]
pub struct OpenedClass {
    /// The normal form of the keys.
    pub form: KeyForm,
    /// Loads rows.
    pub rows: Lockable,
}

pub(super) mod sealed {
    use super::{
        Arc, BTreeMap, BoxFuture, CatalogError, ClassName, Duration, KeyRing, OpenedClass, Plan, TrueupError,
        WriteBehind,
    };

    /// Opens the classes of a plan.
    pub trait Opens {
        /// Adds to `plan` what the schema offers, and opens each class. One that cannot be served is an error where it is
        /// asked for.
        #[expect(clippy::type_complexity, reason = "the name of the type is private to the module above")]
        fn open_all<'a>(
            &'a self,
            plan: &'a mut Plan,
        ) -> BoxFuture<'a, Result<BTreeMap<ClassName, Result<OpenedClass, Arc<CatalogError>>>, TrueupError>>;

        /// The journal of accepted writes, if the plan names one.
        fn write_behind<'a>(
            &'a self,
            plan: &'a Plan,
        ) -> BoxFuture<'a, Result<Option<WriteBehind>, CatalogError>>;

        /// Answers of some class are to be no older than `bound`.
        fn keep_within(&self, _bound: Duration) {}

        /// The keys that nodes get from the database, where they do.
        fn sealing_keys(&self) -> BoxFuture<'_, Result<Option<KeyRing>, TrueupError>> {
            Box::pin(async { Ok(None) })
        }
    }
}

impl sealed::Opens for Sqlite {
    fn open_all<'a>(&'a self, plan: &'a mut Plan) -> BoxFuture<'a, Result<Opened, TrueupError>> {
        Box::pin(async move {
            let tables = discover_file(self.path())?;
            // What cannot be served is missing where it is asked for, and the error then names what there is.
            drop(sqlite::discover_classes(plan, &tables, Some(&self.followed_tables()?)));
            let one = |class: &trueup_core::class::ClassPlan| {
                let sqlite::SqliteClass { form, loader, .. } =
                    sqlite::open(self, &tables, class).map_err(Arc::new)?;
                Ok(OpenedClass { form, rows: Lockable::Sqlite(loader) })
            };
            Ok(plan.classes.iter().map(|(name, class)| (name.clone(), one(class))).collect())
        })
    }

    fn write_behind<'a>(
        &'a self,
        plan: &'a Plan,
    ) -> BoxFuture<'a, Result<Option<WriteBehind>, CatalogError>> {
        Box::pin(sqlite::write_behind(self, plan))
    }
}

impl sealed::Opens for Postgres {
    fn open_all<'a>(&'a self, plan: &'a mut Plan) -> BoxFuture<'a, Result<Opened, TrueupError>> {
        Box::pin(async move {
            let tables = discover(self).await?;
            drop(postgres::discover_classes(plan, &tables, Some(&self.followed_tables())));
            let mut opened = Opened::new();
            for (name, class) in &plan.classes {
                let class = postgres::open(self, &tables, class).await;
                let class = class.map(|postgres::PostgresClass { form, loader, .. }| OpenedClass {
                    form,
                    rows: Lockable::Postgres(loader),
                });
                opened.insert(name.clone(), class.map_err(Arc::new));
            }
            Ok(opened)
        })
    }

    fn write_behind<'a>(
        &'a self,
        plan: &'a Plan,
    ) -> BoxFuture<'a, Result<Option<WriteBehind>, CatalogError>> {
        Box::pin(postgres::write_behind(self, plan))
    }

    fn keep_within(&self, bound: Duration) {
        Self::keep_within(self, bound);
    }

    fn sealing_keys(&self) -> BoxFuture<'_, Result<Option<KeyRing>, TrueupError>> {
        Box::pin(async move { Ok(Self::sealing_keys(self).await?) })
    }
}
