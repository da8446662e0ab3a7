//! Settings from the environment and from flags, laid over the file.

use super::{
    error::{ConfigError, Place, Problem, nearest},
    node::{Entry, Table, Value},
};

/// What the names of our environment variables begin with; `__` separates the parts of a path.
pub const ENVIRONMENT_PREFIX: &str = "TRUEUP__";

/// One setting made outside the file. Later ones win.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    path: Vec<String>,
    value: String,
    place: Place,
}

impl Override {
    /// A flag of the command line that sets `path`, such as `Override::flag("--resp", &["server", "resp"], addr)`.
    #[must_use]
    pub fn flag(name: &str, path: &[&str], value: &str) -> Self {
        let path = path.iter().map(|&part| part.to_owned()).collect();
        Self { path, value: value.to_owned(), place: Place::Flag(name.to_owned()) }
    }

    /// The overrides among environment variables: `TRUEUP__SERVER__RESP` sets `server.resp`. In order of name.
    ///
    /// Hand it `std::env::vars_os()` with both sides made text (`to_string_lossy`).
    #[must_use]
    pub fn environment(variables: impl IntoIterator<Item = (String, String)>) -> Vec<Self> {
        let ours = |(name, value): (String, String)| {
            let path = name.strip_prefix(ENVIRONMENT_PREFIX)?;
            let path = path.split("__").map(str::to_lowercase).collect();
            Some(Self { path, value, place: Place::Environment(name) })
        };
        let mut found: Vec<Self> = variables.into_iter().filter_map(ours).collect();
        found.sort_by(|a, b| a.place.cmp(&b.place));
        found
    }
}

/// Lays `overrides` over `root`, in order. What cannot be placed is a finding; unknown keys are found by the reader.
pub(super) fn merge(root: &mut Table, overrides: &[Override]) -> Vec<ConfigError> {
    let error =
        |one: &Override, problem| ConfigError { place: one.place.clone(), path: one.path.join("."), problem };
    overrides.iter().filter_map(|one| lay(root, one).err().map(|problem| error(one, problem))).collect()
}

fn lay(root: &mut Table, one: &Override) -> Result<(), Problem> {
    if let [section, class, ..] = one.path.as_slice()
        && section == "class"
    {
        // The environment tunes classes; it does not make them up.
        let known: Vec<String> = match root.get("class").map(|entry| &entry.value) {
            Some(Value::Table(classes)) => classes.keys().cloned().collect(),
            _ => Vec::new(),
        };
        if !known.iter().any(|name| same_name(name, class)) {
            let suggestion = nearest(class, known.iter().map(String::as_str));
            return Err(Problem::Unknown { what: "class", suggestion, known });
        }
    }
    let Some((last, parents)) = one.path.split_last() else { return Ok(()) };
    let mut table = root;
    for part in parents {
        let name = existing(table, part);
        let entry = table.entry(name).or_insert_with(|| Entry {
            key_place: one.place.clone(),
            place: one.place.clone(),
            value: Value::Table(Table::new()),
        });
        table = match &mut entry.value {
            Value::Table(inner) => inner,
            other => {
                let found = format!("{part} = {}", other.show());
                return Err(Problem::Type {
                    found,
                    wanted: "a table",
                    example: "the path of a single setting",
                });
            }
        };
    }
    let (key_place, place) = (one.place.clone(), one.place.clone());
    table.insert(existing(table, last), Entry { key_place, place, value: Value::Loose(one.value.clone()) });
    Ok(())
}

/// The key of `table` that `part` means, else `part` itself.
fn existing(table: &Table, part: &str) -> String {
    table.keys().find(|key| same_name(key, part)).cloned().unwrap_or_else(|| part.to_owned())
}

/// Environment variables have neither `-` nor `.` nor lower case.
fn same_name(key: &str, part: &str) -> bool {
    let plain = |text: &str| text.to_lowercase().replace(['-', '.'], "_");
    plain(key) == plain(part)
}
