//! What is wrong with a configuration: every finding with its place and what to do.

use std::fmt;

use trueup_core::class::{PlanError, units::UnitError};

/// Where a setting was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Nowhere in particular: the configuration as a whole.
    #[default]
    Whole,
    /// In the file; both numbers start at 1, the column counts characters.
    File {
        /// Line.
        line: usize,
        /// Column.
        column: usize,
    },
    /// By that environment variable.
    Environment(String),
    /// By that flag of the command line.
    Flag(String),
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where.
    pub place: Place,
    /// The setting, such as `class.user.life`; empty where the file is no TOML.
    pub path: String,
    /// What is wrong with it, and what to do.
    pub problem: Problem,
}

/// What is wrong with one setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The file cannot be read.
    #[error("cannot read the file: {0}; check the path and its permissions")]
    Unreadable(String),
    /// The file is no TOML.
    #[error("not valid TOML: {0}")]
    Syntax(String),
    /// Nothing of that name exists.
    #[error("unknown {what}{}; known: {}", did_you_mean(.suggestion.as_deref()), .known.join(", "))]
    Unknown {
        /// `key`, `section` or `class`.
        what: &'static str,
        /// The nearest name that exists.
        suggestion: Option<String>,
        /// All names that exist there.
        known: Vec<String>,
    },
    /// A value of the wrong type.
    #[error("{found} is not {wanted}; write {example}")]
    Type {
        /// What stands there.
        found: String,
        /// What should.
        wanted: &'static str,
        /// A value that would do.
        example: &'static str,
    },
    /// A quantity without a unit, or with an unknown one.
    #[error(transparent)]
    Unit(#[from] UnitError),
    /// None of the values that the setting can have.
    #[error("{found:?} is none of its values{}; write one of {}", did_you_mean(.suggestion.as_deref()), .allowed.join(", "))]
    Choice {
        /// What stands there.
        found: String,
        /// The nearest value that exists.
        suggestion: Option<String>,
        /// All of them.
        allowed: Vec<String>,
    },
    /// A secret stands in the configuration itself.
    #[error(
        "a secret does not belong here: put it into a file that only this user can read and write `{file_key} = \"PATH\"`"
    )]
    Secret {
        /// The key that takes a path instead.
        file_key: String,
    },
    /// Two settings that cannot both hold, or one that misses another.
    #[error("{problem}; {fix}")]
    Conflict {
        /// What is wrong.
        problem: String,
        /// What to do.
        fix: String,
    },
    /// One of the ten decisions about a class.
    #[error(transparent)]
    Class(#[from] PlanError),
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map(|name| format!(", did you mean {name:?}?")).unwrap_or_default()
}

/// The name nearest to `wrong`, if one is near enough to be meant.
pub(super) fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let wrong = wrong.to_lowercase();
    let close_enough = (wrong.chars().count() / 3).clamp(1, 3);
    let distances = known.into_iter().map(|name| (strsim::damerau_levenshtein(&wrong, name), name));
    distances.filter(|(distance, _)| *distance <= close_enough).min().map(|(_, name)| name.to_owned())
}

/// Everything that is wrong with a configuration, in the order of the file; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The file, as it was named.
    pub file: String,
    /// The findings.
    pub errors: Vec<ConfigError>,
}

impl fmt::Display for ConfigErrors {
    /// One finding per line: `trueup.toml:3:8: class.user.life: ...`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.errors.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            match &error.place {
                Place::Whole => write!(f, "{}: ", self.file)?,
                Place::File { line, column } => write!(f, "{}:{line}:{column}: ", self.file)?,
                Place::Environment(name) => write!(f, "environment variable {name}: ")?,
                Place::Flag(name) => write!(f, "flag {name}: ")?,
            }
            if !error.path.is_empty() {
                write!(f, "{}: ", error.path)?;
            }
            error.problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
