//! What a statement depends on, found by SQLite itself while it compiles the statement.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use rusqlite::{
    Connection, OptionalExtension as _,
    hooks::{AuthAction, AuthContext},
};

use super::{
    discover::discover_table,
    names::{LOG, META, same_name},
    pool::Watch,
    registry::Registry,
};

/// What a class's query depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dependencies {
    /// Every table it reads, through views too, each followed by the feed.
    pub tables: Vec<String>,
    /// Why its answer can change without a change of those tables: such a class is bounded by age, never proven.
    pub nondeterministic: Option<String>,
}

/// Functions whose result depends on their arguments alone. Whatever is not listed is held to be moody: the date
/// functions read the clock when they are told `now`, which may also come in a parameter.
const PURE_FUNCTIONS: &[&str] = &[
    "->",
    "->>",
    "abs",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "avg",
    "ceil",
    "ceiling",
    "char",
    "coalesce",
    "concat",
    "concat_ws",
    "cos",
    "cosh",
    "count",
    "cume_dist",
    "degrees",
    "dense_rank",
    "exp",
    "first_value",
    "floor",
    "format",
    "glob",
    "group_concat",
    "hex",
    "if",
    "ifnull",
    "iif",
    "instr",
    "json",
    "json_array",
    "json_array_length",
    "json_error_position",
    "json_extract",
    "json_group_array",
    "json_group_object",
    "json_insert",
    "json_object",
    "json_patch",
    "json_pretty",
    "json_quote",
    "json_remove",
    "json_replace",
    "json_set",
    "json_type",
    "json_valid",
    "jsonb",
    "jsonb_array",
    "jsonb_extract",
    "jsonb_group_array",
    "jsonb_group_object",
    "jsonb_insert",
    "jsonb_object",
    "jsonb_patch",
    "jsonb_remove",
    "jsonb_replace",
    "jsonb_set",
    "lag",
    "last_value",
    "lead",
    "length",
    "like",
    "likelihood",
    "likely",
    "ln",
    "log",
    "log10",
    "log2",
    "lower",
    "ltrim",
    "max",
    "median",
    "min",
    "mod",
    "nth_value",
    "ntile",
    "nullif",
    "octet_length",
    "percent_rank",
    "percentile",
    "pi",
    "pow",
    "power",
    "printf",
    "quote",
    "radians",
    "rank",
    "replace",
    "round",
    "row_number",
    "rtrim",
    "sign",
    "sin",
    "sinh",
    "soundex",
    "sqrt",
    "string_agg",
    "substr",
    "substring",
    "subtype",
    "sum",
    "tan",
    "tanh",
    "total",
    "trim",
    "trunc",
    "typeof",
    "unhex",
    "unicode",
    "unistr",
    "unistr_quote",
    "unlikely",
    "upper",
    "zeroblob",
];
/// Table-valued functions that read their arguments alone.
const PURE_TABLE_FUNCTIONS: &[&str] = &["json_each", "json_tree", "jsonb_each", "jsonb_tree"];
/// What this crate itself asks on a watched connection.
const OWN_PRAGMAS: &[&str] = &["schema_version", "data_version"];

/// Collects what the statements compiled on watched connections name. It only grows: a compiled statement runs again
/// without being looked at again.
#[derive(Debug, Default)]
pub(super) struct Collector {
    named: Mutex<Named>,
    count: AtomicU64,
}

#[derive(Clone, Debug, Default)]
struct Named {
    tables: BTreeSet<String>,
    functions: BTreeSet<String>,
    forbidden: Option<&'static str>,
}

impl Watch for Collector {
    fn allow(&self, context: &AuthContext<'_>) -> bool {
        let mut named = self.named.lock();
        let (is_new, forbidden) = match context.action {
            AuthAction::Select | AuthAction::Recursive | AuthAction::Transaction { .. } => (false, None),
            AuthAction::Read { table_name, .. } => (named.tables.insert(table_name.to_owned()), None),
            AuthAction::Function { function_name } => {
                (named.functions.insert(function_name.to_ascii_lowercase()), None)
            }
            AuthAction::Pragma { pragma_name, pragma_value: None } if OWN_PRAGMAS.contains(&pragma_name) => {
                (false, None)
            }
            AuthAction::Pragma { .. } => (false, Some("uses PRAGMA")),
            _ => (false, Some("does more than reading")),
        };
        if is_new {
            self.count.fetch_add(1, Ordering::Release);
        }
        named.forbidden = forbidden.or(named.forbidden);
        forbidden.is_none()
    }
}

impl Collector {
    /// Moves when something new was named.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// What a statement tried that no loader may, if one did.
    pub(super) fn forbidden(&self) -> Option<&'static str> {
        self.named.lock().forbidden
    }

    /// Judges everything named so far against the schema that `conn`, which is not watched, sees in its transaction.
    /// The error says what is wrong and what to do.
    pub(super) fn judge(
        &self,
        conn: &Connection,
        registry: &Registry,
    ) -> rusqlite::Result<Result<Dependencies, String>> {
        let named = self.named.lock().clone();
        let mut found = Dependencies::default();
        for name in named.tables.iter().filter(|name| !same_name(name, LOG) && !same_name(name, META)) {
            match judge_table(conn, registry, name)? {
                Ok(Some(table)) if !found.tables.contains(&table) => found.tables.push(table),
                Ok(_) => {}
                Err(reason) => return Ok(Err(reason)),
            }
        }
        let moody = named.functions.iter().find(|name| PURE_FUNCTIONS.binary_search(&name.as_str()).is_err());
        found.nondeterministic =
            moody.map(|name| format!("it calls {name}(), which may answer differently each time"));
        Ok(Ok(found))
    }
}

/// The followed table behind `name`; none where the name is no table of the schema.
fn judge_table(
    conn: &Connection,
    registry: &Registry,
    name: &str,
) -> rusqlite::Result<Result<Option<String>, String>> {
    if let Some(followed) = registry.table(name) {
        return Ok(match &followed.outdated {
            None => Ok(Some(followed.name.clone())),
            Some(reason) => Err(format!(
                "reads table `{}`, which is not followed any more ({reason}); run `trueup init --apply` again",
                followed.name
            )),
        });
    }
    let starts = |prefix: &str| name.get(..prefix.len()).is_some_and(|start| same_name(start, prefix));
    if starts("sqlite_") {
        return Ok(Err(format!(
            "reads `{name}`, SQLite's own table, whose changes cannot be seen; leave it out"
        )));
    }
    if let Some(table) = discover_table(conn, name)? {
        return Ok(match table.unfollowable {
            // Whatever a view reads is named as well.
            _ if table.is_view => Ok(None),
            Some(reason) => Err(format!("reads `{name}`: {reason}")),
            None => Err(format!("reads table `{name}`, which is not followed; run `trueup init --apply`")),
        });
    }
    let is_module = starts("pragma_")
        || conn
            .query_row("SELECT 1 FROM pragma_module_list WHERE name = ?1 COLLATE NOCASE", [name], |_| Ok(()))
            .optional()?
            .is_some();
    if is_module && !PURE_TABLE_FUNCTIONS.iter().any(|pure| same_name(pure, name)) {
        return Ok(Err(format!(
            "reads the table function `{name}`, whose answer may change unseen; leave it out"
        )));
    }
    // A name that the query itself gave to a part of it (WITH).
    Ok(Ok(None))
}

#[cfg(test)]
mod tests {
    use super::PURE_FUNCTIONS;

    #[test]
    fn the_list_can_be_searched_by_halves() {
        assert!(PURE_FUNCTIONS.is_sorted());
    }
}
