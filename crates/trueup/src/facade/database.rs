//! What the way in asks of a database.

use std::{collections::BTreeMap, sync::Arc};

use trueup_core::{class::ClassName, env::BoxFuture, key::KeyForm, source::Source};

use super::{TrueupError, rows::Lockable};
use crate::{
    catalog::{
        CatalogError,
        sqlite::{SqliteClass, discover_classes, open},
    },
    plan::Plan,
    sqlite::{Sqlite, discover_file},
};

/// A database of record that a [`Trueup`](crate::Trueup) can stand in front of: [`Sqlite`].
pub trait Database: Source + Clone + sealed::Opens {}

impl Database for Sqlite {}

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
    use super::{Arc, BTreeMap, BoxFuture, CatalogError, ClassName, OpenedClass, Plan, TrueupError};

    /// Opens the classes of a plan.
    pub trait Opens {
        /// Adds to `plan` what the schema offers, and opens each class. One that cannot be served is an error where it is
        /// asked for.
        #[expect(clippy::type_complexity, reason = "the name of the type is private to the module above")]
        fn open_all<'a>(
            &'a self,
            plan: &'a mut Plan,
        ) -> BoxFuture<'a, Result<BTreeMap<ClassName, Result<OpenedClass, Arc<CatalogError>>>, TrueupError>>;
    }
}

impl sealed::Opens for Sqlite {
    fn open_all<'a>(&'a self, plan: &'a mut Plan) -> BoxFuture<'a, Result<Opened, TrueupError>> {
        Box::pin(async move {
            let tables = discover_file(self.path())?;
            // What cannot be served is missing where it is asked for, and the error then names what there is.
            drop(discover_classes(plan, &tables, Some(&self.followed_tables()?)));
            let one = |class: &trueup_core::class::ClassPlan| {
                let SqliteClass { form, loader, .. } = open(self, &tables, class).map_err(Arc::new)?;
                Ok(OpenedClass { form, rows: Lockable::Sqlite(loader) })
            };
            Ok(plan.classes.iter().map(|(name, class)| (name.clone(), one(class))).collect())
        })
    }
}
