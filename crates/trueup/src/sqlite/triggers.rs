//! The triggers that write the log.
//!
//! Every trigger is a pure function of the table's schema, its groups and its id, so an installed feed is checked by
//! comparing texts: a schema that moved in a way that matters gives other texts.
//!
//! What a DELETE trigger does not see is a row that REPLACE removes (`INSERT OR REPLACE`, `UPDATE OR REPLACE`, or a
//! constraint declared `ON CONFLICT REPLACE`), unless the writing program happens to set `recursive_triggers`. So a
//! BEFORE trigger logs the rows that the new one collides with, whatever becomes of them: one row too many in the log
//! costs a load, one too few a stale answer.

use super::{
    canonical::KeyColumn,
    discover::{ColumnInfo, TableInfo},
    names::{LOG, NOW_MS, PREFIX, ROW, identifier, kind, same_name},
};

/// One trigger: its name, and the statement that makes it, in the very form in which SQLite keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trigger {
    pub(super) name: String,
    pub(super) sql: String,
}

/// What is logged of each changed row: the key's columns, then the groups' columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Logged {
    pub(super) id: i64,
    pub(super) key: Vec<KeyColumn>,
    pub(super) groups: Vec<KeyColumn>,
}

impl Logged {
    fn columns(&self) -> impl Iterator<Item = &str> {
        self.key.iter().chain(&self.groups).map(|column| column.name.as_str())
    }

    /// How many value columns of the log a row of this table takes.
    pub(super) fn width(&self) -> usize {
        self.key.len() + self.groups.len()
    }
}

/// The triggers of one table, and what the person who installs them should know.
pub(super) fn triggers(table: &TableInfo, logged: &Logged) -> (Vec<Trigger>, Vec<String>) {
    let plan = Plan { table, logged };
    let mut all = vec![
        plan.trigger("insert", "AFTER INSERT", &[plan.log_row("NEW", "")]),
        plan.trigger("update", "AFTER UPDATE", &plan.update_body()),
        plan.trigger("delete", "AFTER DELETE", &[plan.log_row("OLD", "")]),
    ];
    let mut warnings = Vec::new();
    let (inserted, replaced): (Vec<_>, Vec<_>) =
        plan.uniques().map(|unique| (plan.collides(&unique, ""), plan.collides(&unique, "others"))).unzip();
    if inserted.iter().any(Option::is_none) {
        warnings.push(format!(
            "table `{}` has a unique index over an expression or a computed column: REPLACE through it \
             cannot be followed row by row, so each insert and update makes all its cached rows unproven",
            table.name
        ));
        all.push(plan.trigger("insert_replaces", "BEFORE INSERT", &[plan.log_wide()]));
        all.push(plan.trigger("update_replaces", "BEFORE UPDATE", &[plan.log_wide()]));
    } else if !inserted.is_empty() {
        let statements =
            |of: Vec<Option<Vec<String>>>| of.into_iter().flatten().flatten().collect::<Vec<_>>();
        all.push(plan.trigger("insert_replaces", "BEFORE INSERT", &statements(inserted)));
        all.push(plan.trigger("update_replaces", "BEFORE UPDATE", &statements(replaced)));
    }
    (all, warnings)
}

struct Plan<'a> {
    table: &'a TableInfo,
    logged: &'a Logged,
}

impl Plan<'_> {
    fn trigger(&self, what: &str, when: &str, statements: &[String]) -> Trigger {
        let name = format!("{PREFIX}t{}_{what}", self.logged.id);
        let body: String = statements.iter().map(|statement| format!("  {statement};\n")).collect();
        let sql = format!(
            "CREATE TRIGGER {} {when} ON {} BEGIN\n{body}END",
            identifier(&name),
            identifier(&self.table.name)
        );
        Trigger { name, sql }
    }

    /// Logs the columns of `row` (`NEW`, `OLD` or [`ROW`]); `rest` follows the SELECT list.
    fn log_row(&self, row: &str, rest: &str) -> String {
        let targets: String = (0..self.logged.width()).map(|i| format!(", v{i}")).collect();
        let values: String =
            self.logged.columns().map(|column| format!(", {row}.{}", identifier(column))).collect();
        let (id, kind) = (self.logged.id, kind::ROW);
        format!(
            "INSERT INTO {LOG}(nonce, at_ms, tbl, kind{targets}) SELECT random(), {NOW_MS}, {id}, {kind}{values}{rest}"
        )
    }

    fn log_wide(&self) -> String {
        self.log_wide_if("")
    }

    fn log_wide_if(&self, condition: &str) -> String {
        let (id, kind) = (self.logged.id, kind::WIDE);
        format!(
            "INSERT INTO {LOG}(nonce, at_ms, tbl, kind) SELECT random(), {NOW_MS}, {id}, {kind}{condition}"
        )
    }

    /// The row as it became, and as it was where that has another name.
    fn update_body(&self) -> Vec<String> {
        let mut body = vec![self.log_row("NEW", "")];
        let moved: Vec<String> = self
            .logged
            .columns()
            .map(identifier)
            // Bytes are compared: what a collation holds equal may be spelled anew, which costs one log row.
            .map(|column| format!("OLD.{column} COLLATE BINARY IS NOT NEW.{column}"))
            .collect();
        if !moved.is_empty() {
            body.push(self.log_row("OLD", &format!(" WHERE {}", moved.join(" OR "))));
        }
        body
    }

    /// What REPLACE may remove other rows through. Rows that collide in the primary key share one canonical name, which
    /// the AFTER triggers log, so that key matters only where more than the name is logged.
    fn uniques(&self) -> impl Iterator<Item = Unique<'_>> {
        let by_name_only = self.logged.groups.is_empty();
        let nameless = self.logged.width() == 0;
        let key = (self.table.rowid_alias && !by_name_only).then(|| {
            let alias = self.table.key.iter().map(|column| (column.name.clone(), "BINARY".to_owned()));
            Unique::Columns { columns: Some(alias.collect()), covers: None }
        });
        let rowid = self.table.hidden_rowid().map(Unique::Rowid);
        self.table
            .uniques
            .iter()
            .filter(move |index| !(index.primary && by_name_only))
            .map(|index| {
                let computed = |(name, _): &(String, String)| {
                    self.table.column(name).is_none_or(|column| column.generated)
                };
                let columns = index.columns.clone().filter(|columns| !columns.iter().any(computed));
                Unique::Columns { columns, covers: index.covers.as_deref() }
            })
            .chain(key)
            .chain(rowid)
            // Without a name to log, the table's `any` is raised by the insert itself.
            .filter(move |_| !nameless)
    }

    /// Statements that log the rows which the new row collides with in `unique`; none where SQL cannot say it. With
    /// `others`, the updated row itself is left out.
    fn collides(&self, unique: &Unique<'_>, others: &str) -> Option<Vec<String>> {
        let from = format!(" FROM {} AS {ROW}", identifier(&self.table.name));
        match unique {
            Unique::Rowid(rowid) => {
                let moved = if others.is_empty() {
                    String::new()
                } else {
                    format!(" AND NEW.{rowid} IS NOT OLD.{rowid}")
                };
                Some(vec![self.log_row(ROW, &format!("{from} WHERE {ROW}.{rowid} = NEW.{rowid}{moved}"))])
            }
            Unique::Columns { columns, covers } => {
                let columns = columns.as_ref()?;
                let mut equal = Vec::new();
                let mut statements = Vec::new();
                for (name, collation) in columns {
                    let column = self.table.column(name)?;
                    let (value, unknown) = new_value(column);
                    if unknown {
                        statements
                            .push(self.log_wide_if(&format!(" WHERE NEW.{} IS NULL", identifier(name))));
                    }
                    equal.push(format!(
                        "{ROW}.{} COLLATE {} = {value}",
                        identifier(name),
                        identifier(collation)
                    ));
                }
                match covers {
                    // Any column may be what brings the row into the index.
                    Some(rows) => equal.push((*rows).to_owned()),
                    None if others.is_empty() => {}
                    None => equal.push(moved(columns)),
                }
                statements.push(self.log_row(ROW, &format!("{from} WHERE {}", equal.join(" AND "))));
                Some(statements)
            }
        }
    }
}

/// An update that leaves the unique columns alone collides with nothing but its own row.
fn moved(columns: &[(String, String)]) -> String {
    let each: Vec<String> = columns
        .iter()
        .map(|(name, _)| identifier(name))
        .map(|column| format!("OLD.{column} COLLATE BINARY IS NOT NEW.{column}"))
        .collect();
    format!("({})", each.join(" OR "))
}

enum Unique<'a> {
    /// Equal values in these columns, each under its collation; none where SQL cannot say which rows collide.
    Columns { columns: Option<Vec<(String, String)>>, covers: Option<&'a str> },
    /// The hidden rowid, which a writer may set by hand.
    Rowid(&'a str),
}

/// What will be stored in `column`, as seen from a BEFORE trigger; and whether that is unknown while `NEW` shows NULL.
///
/// REPLACE turns NULL in a NOT NULL column into the default, but only after the trigger has run.
fn new_value(column: &ColumnInfo) -> (String, bool) {
    let name = format!("NEW.{}", identifier(&column.name));
    match &column.default {
        Some(default) if column.not_null => {
            if is_literal(default) {
                (format!("COALESCE({name}, {default})"), false)
            } else {
                (name, true)
            }
        }
        _ => (name, false),
    }
}

/// Whether a DEFAULT is a plain literal, which has the same value wherever it is evaluated.
fn is_literal(default: &str) -> bool {
    let text = default.trim();
    let quoted = |from: &str| {
        let inner = from.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
        inner.is_some_and(|inner| !inner.replace("''", "").contains('\''))
    };
    let number = text.trim_start_matches(['+', '-']);
    let is_number = number.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && number.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-'));
    let blob = text.strip_prefix(['x', 'X']).is_some_and(quoted);
    let word = ["NULL", "TRUE", "FALSE"].into_iter().any(|word| same_name(word, text));
    quoted(text) || is_number || blob || word
}

#[cfg(test)]
mod tests {
    use super::is_literal;

    #[test]
    fn literals_are_told_from_expressions() {
        for text in ["1", "-1.5", "'a'", "'it''s'", "x'00'", "NULL", "true", "''", "1e5"] {
            assert!(is_literal(text), "{text}");
        }
        for text in ["CURRENT_TIMESTAMP", "random()", "'a' || 'b'", "1 + (2)", "abs(1)", "lower('A')"] {
            assert!(!is_literal(text), "{text}");
        }
    }
}
