//! What can be wrong with a catalogue, or with asking it.

use trueup_core::{class::ClassName, error::ClassError, key::FormError};

use crate::plan::Skipped;

/// Most names that an error lists.
const NAMES_SHOWN_MAX: usize = 20;
/// Most letters by which a name may differ from the one meant.
const DISTANCE_MAX: usize = 3;

/// A class could not be put into a catalogue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// The engine refuses it.
    #[error(transparent)]
    Class(#[from] ClassError),
    /// Its keys cannot be named as declared.
    #[error("class `{class}`: {why}")]
    Form {
        /// The class.
        class: ClassName,
        /// What contradicts itself.
        why: FormError,
    },
    /// A part of its key has no type.
    #[error("class `{class}`: {origin} has no column `{column}`; correct `key`")]
    NoSuchColumn {
        /// The class.
        class: ClassName,
        /// The table, for people.
        origin: String,
        /// The part.
        column: String,
    },
    /// Columns and free parameters in one key.
    #[error("class `{class}`: its key has columns and parameters; declare all of them as parameters")]
    MixedKey {
        /// The class.
        class: ClassName,
    },
    /// It cannot be served from this source.
    #[error("class `{class}`: {why}")]
    Refused {
        /// The class.
        class: ClassName,
        /// Why, and what to do.
        why: String,
    },
    /// The source refuses it.
    #[cfg(feature = "sqlite")]
    #[error("class `{class}`: {why}")]
    Source {
        /// The class.
        class: ClassName,
        /// What the source says.
        why: Box<crate::sqlite::SqliteError>,
    },
    /// The source cannot be read.
    #[cfg(feature = "sqlite")]
    #[error(transparent)]
    Sqlite(Box<crate::sqlite::SqliteError>),
    /// The PostgreSQL source refuses it.
    #[cfg(feature = "postgres")]
    #[error("class `{class}`: {why}")]
    InPostgres {
        /// The class.
        class: ClassName,
        /// What the source says.
        why: Box<crate::postgres::PostgresError>,
    },
    /// The PostgreSQL source cannot be read.
    #[cfg(feature = "postgres")]
    #[error(transparent)]
    Postgres(Box<crate::postgres::PostgresError>),
    /// The journal of accepted writes cannot be used.
    #[error("write-behind: {0}")]
    WriteBehind(Box<trueup_core::behind::BehindError>),
    /// There is one of that name already.
    #[error("class `{class}` is declared twice; give each its own name")]
    Twice {
        /// The class.
        class: ClassName,
    },
}

#[cfg(feature = "sqlite")]
impl From<crate::sqlite::SqliteError> for CatalogError {
    fn from(error: crate::sqlite::SqliteError) -> Self {
        Self::Sqlite(Box::new(error))
    }
}

#[cfg(feature = "postgres")]
impl From<crate::postgres::PostgresError> for CatalogError {
    fn from(error: crate::postgres::PostgresError) -> Self {
        Self::Postgres(Box::new(error))
    }
}

/// No class of that name. What was asked for is not shown: where a class was forgotten, it is a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown class{}; {known}{}", .meant.as_deref().map(|name| format!(", did you mean `{name}`?")).unwrap_or_default(), .left_out.as_deref().unwrap_or_default())]
pub struct UnknownClass {
    meant: Option<String>,
    known: String,
    left_out: Option<String>,
}

impl UnknownClass {
    pub(super) fn new<'a>(asked: &str, known: impl ExactSizeIterator<Item = &'a str>) -> Self {
        let names: Vec<&str> = known.collect();
        let near = (asked.chars().count() / DISTANCE_MAX).clamp(1, DISTANCE_MAX);
        // Distance takes time with length; no class name is longer than this anyway.
        let comparable = asked.len() <= trueup_core::class::CLASS_NAME_BYTES_MAX;
        let meant = names
            .iter()
            .filter(|_| comparable)
            .map(|name| (strsim::damerau_levenshtein(&asked.to_lowercase(), name), *name))
            .filter(|(distance, _)| *distance <= near)
            .min()
            .map(|(_, name)| name.to_owned());
        let more = names.len().saturating_sub(NAMES_SHOWN_MAX);
        let shown = names[..names.len() - more].join(", ");
        let known = match (names.len(), more) {
            (0, _) => "there is none".to_owned(),
            (_, 0) => format!("known: {shown}"),
            (_, more) => format!("known: {shown} and {more} more"),
        };
        Self { meant, known, left_out: None }
    }

    /// With the reason why the table that was asked for by its name has no class.
    pub(super) fn explained(self, asked: &str, tables: &[Skipped]) -> Self {
        let left_out = tables.iter().find(|one| one.table.eq_ignore_ascii_case(asked));
        let left_out = left_out.map(|Skipped { table, reason }| {
            // The reason says what to do.
            format!("; table `{table}` is not served: {reason}")
        });
        Self { left_out, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested_and_the_asked_one_is_not_shown() {
        let error = |asked: &str, known: &[&str]| UnknownClass::new(asked, known.iter().copied()).to_string();
        assert_eq!(
            error("acount", &["account", "user"]),
            "unknown class, did you mean `account`?; known: account, user"
        );
        assert_eq!(error("4711", &["account"]), "unknown class; known: account");
        assert_eq!(error("x", &[]), "unknown class; there is none");
        let many: Vec<String> = (0..30).map(|i| format!("class-number-{i}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(error("x", &many).ends_with("and 10 more"));
        assert!(!error(&"x".repeat(100_000), &["xx"]).contains("did you mean"));
    }
}
