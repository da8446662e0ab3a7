//! Names of values: one normal form per class.
//!
//! A class declares a [`KeyForm`]: its scope [`Dimension`]s, and the columns or free parameters that a key consists of.
//! Every way in, [`KeyForm::key`] from Rust types, [`KeyForm::parse`] from text and [`KeyForm::assemble`] from pieces,
//! gives the same [`Key`] for the same thing, and different keys for things that the database tells apart.
//!
//! ```
//! use trueup_core::key::{Collation, ColumnForm, Dimension, KeyForm, KeyPart, Part, ScopeDimension, Scoped, SqlValue};
//!
//! struct Tenant(&'static str);
//! impl KeyPart for Tenant {
//!     fn value(&self) -> SqlValue<'_> { SqlValue::Text(self.0) }
//! }
//! impl ScopeDimension for Tenant {
//!     const NAME: &'static str = "tenant";
//! }
//!
//! let form = KeyForm::columns([Part::new("id", ColumnForm::Integer)])?
//!     .scoped_by([Dimension::new("tenant", ColumnForm::Text(Collation::NoCase))])?;
//! let typed = form.key(&Scoped::new(Tenant("Acme"), 42))?;
//! assert_eq!(typed.as_str(), "@tenant=acme:42");
//! assert_eq!(typed, form.parse("@tenant=ACME:042")?);
//! assert!(form.key(&42).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The form is specified in `docs/guide/keys.md`.

mod column;
mod error;
mod escape;
mod form;
mod name;
mod params;
mod text;
mod typed;
mod value;

pub use self::{
    column::{Affinity, Collation, ColumnForm, MalformedValue},
    error::{FormError, KeyError},
    form::{Dimension, KeyBody, KeyBodyForm, KeyForm, KeyPieces, KeyValues, Part, split_class},
    name::KeyName,
    params::{
        IgnoredName, LetterCase, ParamForm, Parameter, Repeated, UnicodeForm, UnknownParameters, ValueRule,
        WhiteSpace, is_tracking_parameter,
    },
    text::{Key, KeyHashBuilder},
    typed::{CacheKey, KeyPart, KeyShape, Scope, ScopeDimension, Scoped},
    value::{OwnedSqlValue, SqlValue},
};
