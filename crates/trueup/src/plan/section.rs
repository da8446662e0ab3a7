//! Reading one table: each key by its type, then a complaint about what nobody asked for.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use trueup_core::class::{
    looks_secret,
    units::{parse_bytes, parse_duration, parse_share},
};

use super::{
    error::{ConfigError, Place, Problem, nearest},
    node::{Entry, Table, Value},
};

/// Findings of all sections, and which keys each section knows.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) errors: RefCell<Vec<ConfigError>>,
    /// Keys asked for, by path: the vocabulary of the file, held against the guide by a test.
    pub(super) known: RefCell<BTreeMap<String, BTreeSet<&'static str>>>,
}

/// One table of the file. Every key it may hold is asked for, whether it is there or not.
pub(super) struct Section<'a> {
    pub(super) path: String,
    pub(super) place: Place,
    table: Option<&'a Table>,
    findings: &'a Findings,
}

impl<'a> Section<'a> {
    /// The root of the file.
    pub(super) fn root(table: &'a Table, findings: &'a Findings) -> Self {
        Self { path: String::new(), place: Place::Whole, table: Some(table), findings }
    }

    /// The table that `entry` is, as the section `path`.
    pub(super) fn of(path: String, entry: Option<&'a Entry>, findings: &'a Findings) -> Self {
        let place = entry.map(|e| e.key_place.clone()).unwrap_or_default();
        let table = match entry.map(|e| &e.value) {
            Some(Value::Table(table)) => Some(table),
            Some(other) => {
                let problem =
                    Problem::Type { found: other.show(), wanted: "a table", example: "`[section]`" };
                findings.errors.borrow_mut().push(ConfigError {
                    place: place.clone(),
                    path: path.clone(),
                    problem,
                });
                None
            }
            None => None,
        };
        Self { path, place, table, findings }
    }

    /// The table under `key`.
    pub(super) fn section(&self, key: &'static str) -> Self {
        Self::of(self.path_of(key), self.get(key), self.findings)
    }

    /// Whether the table is there at all.
    pub(super) fn is_present(&self) -> bool {
        self.table.is_some()
    }

    /// The tables in this one, by names that the file chooses.
    pub(super) fn named(&self) -> Vec<(&'a str, Self)> {
        let each = |(name, entry): (&'a String, &'a Entry)| {
            (name.as_str(), Self::of(self.path_of(name), Some(entry), self.findings))
        };
        self.table.map(|table| table.iter().map(each).collect()).unwrap_or_default()
    }

    /// The entry under `key`, which becomes known.
    pub(super) fn get(&self, key: &'static str) -> Option<&'a Entry> {
        self.findings.known.borrow_mut().entry(self.path.clone()).or_default().insert(key);
        self.table?.get(key)
    }

    /// Where `key` was set, if it was.
    pub(super) fn place_of(&self, key: &str) -> Option<Place> {
        self.table?.get(key).map(|entry| entry.place.clone())
    }

    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Whether the setting `path` could not be read at all.
    pub(super) fn is_reported(&self, path: &str) -> bool {
        self.findings
            .errors
            .borrow()
            .iter()
            .any(|error| error.path == path && !matches!(error.problem, Problem::Class(_)))
    }

    /// Reports a finding about `key`, at its value or else at the section.
    pub(super) fn report(&self, key: &str, problem: impl Into<Problem>) {
        self.report_at(self.place_of(key).unwrap_or_else(|| self.place.clone()), self.path_of(key), problem);
    }

    pub(super) fn report_at(&self, place: Place, path: String, problem: impl Into<Problem>) {
        self.findings.errors.borrow_mut().push(ConfigError { place, path, problem: problem.into() });
    }

    /// Reports two settings that cannot both hold.
    pub(super) fn conflict(&self, key: &str, problem: impl Into<String>, fix: impl Into<String>) {
        self.report(key, Problem::Conflict { problem: problem.into(), fix: fix.into() });
    }

    fn mistyped(&self, key: &str, value: &Value, wanted: &'static str, example: &'static str) {
        self.report(key, Problem::Type { found: value.show(), wanted, example });
    }

    /// Reports every key that nobody asked for. Call it last.
    pub(super) fn finish(self, what: &'static str) {
        let known = self.findings.known.borrow().get(&self.path).cloned().unwrap_or_default();
        for (key, entry) in self.table.into_iter().flatten().filter(|(key, _)| !known.contains(key.as_str()))
        {
            let file_key = format!("{key}_file");
            let takes_secret =
                known.iter().find(|k| **k == file_key).or(known.iter().find(|k| k.ends_with("_file")));
            let problem = match takes_secret {
                Some(file_key) if looks_secret(key).is_some() && !key.ends_with("_file") => {
                    Problem::Secret { file_key: (*file_key).to_owned() }
                }
                _ => Problem::Unknown {
                    what,
                    suggestion: nearest(key, known.iter().copied()),
                    known: known.iter().map(|k| (*k).to_owned()).collect(),
                },
            };
            self.report_at(entry.key_place.clone(), self.path_of(key), problem);
        }
    }

    pub(super) fn text(&self, key: &'static str) -> Option<String> {
        match &self.get(key)?.value {
            Value::Text(text) | Value::Loose(text) => Some(text.clone()),
            other => {
                self.mistyped(key, other, "a text", "it in quotes");
                None
            }
        }
    }

    /// A list of texts; a single text is a list of one, and commas separate those of the environment.
    pub(super) fn texts(&self, key: &'static str) -> Option<Vec<String>> {
        let entry = self.get(key)?;
        let example = "a list such as [\"id\"]";
        match &entry.value {
            Value::Text(text) => Some(vec![text.clone()]),
            Value::Loose(text) => {
                Some(text.split(',').map(|t| t.trim().to_owned()).filter(|t| !t.is_empty()).collect())
            }
            Value::List(items) => {
                let mut texts = Vec::with_capacity(items.len());
                for item in items {
                    match &item.value {
                        Value::Text(text) => texts.push(text.clone()),
                        other => {
                            let problem = Problem::Type { found: other.show(), wanted: "a text", example };
                            self.report_at(item.place.clone(), self.path_of(key), problem);
                        }
                    }
                }
                Some(texts)
            }
            other => {
                self.mistyped(key, other, "a list of texts", example);
                None
            }
        }
    }

    pub(super) fn flag(&self, key: &'static str) -> Option<bool> {
        match &self.get(key)?.value {
            Value::Boolean(value) => Some(*value),
            Value::Loose(text) if text == "true" || text == "false" => Some(text == "true"),
            other => {
                self.mistyped(key, other, "a yes or no", "true or false");
                None
            }
        }
    }

    /// A whole number within `range`.
    pub(super) fn count(&self, key: &'static str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let value = &self.get(key)?.value;
        let number = match value {
            Value::Integer(number) => u64::try_from(*number).ok(),
            Value::Loose(text) => text.replace('_', "").parse().ok(),
            other => {
                self.mistyped(key, other, "a whole number", "it without quotes, such as 1000");
                return None;
            }
        };
        let fits = number.filter(|number| range.contains(number));
        if fits.is_none() {
            let (low, high) = (range.start(), range.end());
            self.conflict(key, format!("{} is out of range", value.show()), format!("write {low} to {high}"));
        }
        fits
    }

    /// A number above zero, for weights.
    pub(super) fn weight(&self, key: &'static str) -> Option<f64> {
        let value = &self.get(key)?.value;
        let number = match value {
            Value::Integer(number) => Some(*number as f64),
            Value::Float(text) | Value::Loose(text) => text.replace('_', "").parse().ok(),
            _ => None,
        };
        if number.is_none() {
            self.mistyped(key, value, "a number", "it without quotes, such as 1.0");
        }
        number
    }

    /// A span of time; never a bare number, whose unit nobody could know.
    pub(super) fn duration(&self, key: &'static str) -> Option<Duration> {
        self.unit(key, "a span of time with its unit", "\"250ms\", \"30s\" or \"1h\"", parse_duration)
    }

    pub(super) fn bytes(&self, key: &'static str) -> Option<usize> {
        self.unit(key, "a size with its unit", "\"64MiB\" or \"512KiB\"", parse_bytes)
    }

    pub(super) fn share(&self, key: &'static str) -> Option<f64> {
        self.unit(key, "a share in per cent", "\"10%\" or \"0.1%\"", parse_share)
    }

    fn unit<T>(
        &self,
        key: &'static str,
        wanted: &'static str,
        example: &'static str,
        parse: fn(&str) -> Result<T, trueup_core::class::units::UnitError>,
    ) -> Option<T> {
        match &self.get(key)?.value {
            Value::Text(text) | Value::Loose(text) => {
                parse(text).map_err(|error| self.report(key, error)).ok()
            }
            other => {
                self.mistyped(key, other, wanted, example);
                None
            }
        }
    }

    /// A setting that can be switched off: outer `None` where nothing is said, inner where it is `"off"`.
    pub(super) fn or_off<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Self, &'static str) -> Option<T>,
    ) -> Option<Option<T>> {
        match &self.get(key)?.value {
            Value::Text(text) | Value::Loose(text) if text == "off" => Some(None),
            _ => read(self, key).map(Some),
        }
    }

    /// One of the named values.
    pub(super) fn choice<T: Copy>(&self, key: &'static str, values: &[(&'static str, T)]) -> Option<T> {
        let found = self.text(key)?;
        let value = values.iter().find(|(name, _)| *name == found).map(|(_, value)| *value);
        if value.is_none() {
            let suggestion = nearest(&found, values.iter().map(|(name, _)| *name));
            let allowed = values.iter().map(|(name, _)| format!("{name:?}")).collect();
            self.report(key, Problem::Choice { found, suggestion, allowed });
        }
        value
    }
}
