//! The configuration as a tree whose every value knows where it was written.

use std::collections::BTreeMap;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::error::{ConfigError, Place, Problem};

/// A table of settings, by key.
pub(super) type Table = BTreeMap<String, Entry>;

/// One setting.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Where its key stands.
    pub(super) key_place: Place,
    /// Where its value stands.
    pub(super) place: Place,
    /// The value.
    pub(super) value: Value,
}

/// A value as written.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    /// Text from the environment or a flag, whose type is that of the setting.
    Loose(String),
    Integer(i64),
    Float(String),
    Boolean(bool),
    List(Vec<Entry>),
    Table(Table),
    Date,
}

impl Value {
    /// The value as an error names it; never its content where that may be long.
    pub(super) fn show(&self) -> String {
        match self {
            Self::Text(text) | Self::Loose(text) => format!("{text:?}"),
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => number.clone(),
            Self::Boolean(value) => value.to_string(),
            Self::List(_) => "a list".to_owned(),
            Self::Table(_) => "a table".to_owned(),
            Self::Date => "a date".to_owned(),
        }
    }
}

/// Reads TOML as far as it can be read, and says what could not.
pub(super) fn parse(text: &str) -> (Table, Vec<ConfigError>) {
    let lines = Lines::new(text);
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut findings: Vec<ConfigError> = errors
        .iter()
        .map(|error| ConfigError {
            place: lines.place(error.span().map_or(0, |span| span.start)),
            path: String::new(),
            problem: Problem::Syntax(error.message().to_owned()),
        })
        .collect();
    // A recovering parser may report the same character twice.
    findings.dedup();
    (table(document.get_ref(), &lines), findings)
}

fn table(from: &DeTable<'_>, lines: &Lines<'_>) -> Table {
    from.iter()
        .map(|(key, value)| (key.get_ref().to_string(), entry(key.span().start, value, lines)))
        .collect()
}

fn entry(key_at: usize, value: &Spanned<DeValue<'_>>, lines: &Lines<'_>) -> Entry {
    let place = lines.place(value.span().start);
    let value = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(&number.as_str().replace('_', ""), number.radix())
            .map_or_else(|_| Value::Float(number.as_str().to_owned()), Value::Integer),
        DeValue::Float(number) => Value::Float(number.as_str().to_owned()),
        DeValue::Boolean(value) => Value::Boolean(*value),
        DeValue::Datetime(_) => Value::Date,
        DeValue::Array(items) => {
            Value::List(items.iter().map(|item| entry(item.span().start, item, lines)).collect())
        }
        DeValue::Table(inner) => Value::Table(table(inner, lines)),
    };
    Entry { key_place: lines.place(key_at), place, value }
}

/// Byte offsets to lines and columns.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i + 1)).collect();
        Self { text, starts }
    }

    fn place(&self, offset: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts[line - 1];
        let column = 1 + self.text.get(start..offset).map_or(0, |before| before.chars().count());
        Place::File { line, column }
    }
}
