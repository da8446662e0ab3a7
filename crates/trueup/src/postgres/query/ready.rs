//! What a query needs to be loaded, while what it reads has one shape.

use trueup_core::{
    key::{KeyForm, OwnedSqlValue},
    proof::{Tag, Tags},
    source::LoadError,
};

use super::{Inner, QueryOptions, has_part};
use crate::postgres::{
    canonical::{KeyColumn, canonical_key},
    depend::{Dependencies, Found},
    discover::TableInfo,
    load::{Reads, SAW, SAW_COLUMNS, as_json, elements},
    registry::Registry,
    replica::{STANDBY_SAW, STANDBY_SAW_COLUMNS},
};

/// What a load needs to know of the query, while what it reads has one shape.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) one: String,
    pub(super) many: String,
    pub(super) locked: String,
    pub(super) on_standby: String,
    pub(super) reads: Reads,
    pub(super) reading: Vec<Reading>,
    pub(super) dependencies: Dependencies,
}

/// A table that is read, and how far.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) table: String,
    /// Only rows of this group: its name and its columns.
    pub(super) group: Option<(String, Vec<KeyColumn>)>,
}

impl Ready {
    pub(super) fn new(
        inner: &Inner,
        found: &Found,
        types: &[String],
        registry: &Registry,
    ) -> Result<Self, String> {
        let options = &inner.options;
        let dependencies = judge(found, registry, options)?;
        let reading = reading(&inner.form, options, found, registry)?;
        let typed = |place: usize| types.get(place).map_or("text", String::as_str);
        // One row more than there may be, so that too many are noticed.
        let rows_max = if options.many { None } else { Some(2) };
        let by_parameter = inner.template.write(|place| format!("${}::{}", place + 1, typed(place)));
        let by_element = inner.template.write(|place| format!("(_trueup_key.p{place}::{})", typed(place)));
        let count = types.len().max(1);
        let keys = elements((0..count).map(|_| "text"));
        let names = (0..count).map(|place| format!("p{place}")).collect::<Vec<_>>().join(", ");
        let bytes_max = options.value_bytes_max;
        let reads = if found.is_volatile { Reads::Volatile } else { Reads::Statement };
        Ok(Self {
            one: format!(
                "SELECT {SAW_COLUMNS}, q.value FROM {SAW} LEFT JOIN LATERAL ({}) q ON true",
                as_json(&by_parameter, bytes_max, rows_max)
            ),
            many: format!(
                "SELECT {SAW_COLUMNS}, q.value, _trueup_key.place FROM {SAW} CROSS JOIN \
                 {keys} WITH ORDINALITY _trueup_key ({names}, place) LEFT JOIN LATERAL ({}) q ON true",
                as_json(&by_element, bytes_max, rows_max)
            ),
            locked: as_json(&format!("SELECT * FROM ({by_parameter}\n) l FOR UPDATE"), bytes_max, rows_max),
            on_standby: format!(
                "SELECT {STANDBY_SAW_COLUMNS}, q.value FROM {STANDBY_SAW} LEFT JOIN LATERAL ({}) q ON true",
                as_json(&by_parameter, bytes_max, rows_max)
            ),
            reads,
            reading,
            dependencies,
        })
    }
}

/// Compares what was found with what is told and what was declared.
fn judge(found: &Found, registry: &Registry, options: &QueryOptions) -> Result<Dependencies, String> {
    if let Some(reason) = &found.unfit {
        return Err(reason.clone());
    }
    let mut tables = Vec::new();
    for oid in &found.tables {
        let table = registry.tables.get(oid).ok_or("reads a table that is gone")?;
        match registry.untold(table) {
            Some(reason) if !options.age_bounded => return Err(format!("reads `{}`: {reason}", table.name)),
            _ => tables.push(table.name.clone()),
        }
        if let Some(declared) = &options.tables
            && !declared.iter().any(|name| is_called(table, name))
        {
            return Err(format!("reads table `{}`, which its declaration leaves out; add it", table.name));
        }
    }
    if let (Some(why), false) = (&found.moody, options.age_bounded) {
        return Err(format!(
            "cannot be proven: {why}; give the class a life and declare it age-bounded, or leave the call out"
        ));
    }
    Ok(Dependencies { tables, nondeterministic: found.moody.clone() })
}

fn is_called(table: &TableInfo, name: &str) -> bool {
    table.name == name || (table.visible && table.table == name)
}

/// How far each table is read: the declared groups narrow it.
fn reading(
    form: &KeyForm,
    options: &QueryOptions,
    found: &Found,
    registry: &Registry,
) -> Result<Vec<Reading>, String> {
    let tables: Vec<&TableInfo> = found.tables.iter().filter_map(|oid| registry.tables.get(oid)).collect();
    for (name, group) in &options.groups {
        let declares = format!("declares group `{}` of table `{name}`", group.name);
        let Some(table) = tables.iter().find(|table| is_called(table, name)) else {
            return Err(format!("{declares}, which it does not read"));
        };
        if let Some(column) = group.columns.iter().find(|column| !has_part(form, column)) {
            return Err(format!("{declares} by `{column}`, which is no key part"));
        }
        match registry.groups_of(table).iter().find(|known| known.name == group.name) {
            None => {
                return Err(format!("{declares}, which is not installed; run `trueup init --apply` with it"));
            }
            Some(installed) if installed.columns != group.columns => {
                return Err(format!(
                    "{declares} by other columns than installed; run `trueup init --apply` again"
                ));
            }
            Some(_) => {}
        }
        if let Some(reason) = registry.untold_group(table, group) {
            return Err(format!("{declares}, but the table {reason}"));
        }
    }
    let group_of = |table: &TableInfo| {
        let (_, group) = options.groups.iter().find(|(name, _)| is_called(table, name))?;
        let column = |name: &String| {
            let form = table.column(name)?.form;
            Some(KeyColumn { name: name.clone(), form, parameter: String::new() })
        };
        Some((group.name.clone(), group.columns.iter().filter_map(column).collect()))
    };
    let reading = |table: &&TableInfo| Reading { table: table.name.clone(), group: group_of(table) };
    Ok(tables.iter().map(reading).collect())
}

impl Ready {
    /// What an answer depends on.
    pub(super) fn tags(&self, named: &[(String, OwnedSqlValue)]) -> Result<Tags, LoadError> {
        let mut tags = Tags::new();
        for reading in &self.reading {
            let Some((group, columns)) = &reading.group else {
                tags.push(Tag::any(&reading.table));
                continue;
            };
            let part = |column: &KeyColumn| {
                let value = named.iter().find(|(name, _)| *name == column.name).map(|(_, value)| value);
                canonical_key(&column.form, value.unwrap_or(&OwnedSqlValue::Null))
            };
            let parts: Vec<String> = columns.iter().map(part).collect::<Option<_>>().ok_or_else(|| {
                let why = format!(
                    "the declared dependence on table `{}` gives a value that is not of its column's type",
                    reading.table
                );
                LoadError::Refused(why.into())
            })?;
            tags.push(Tag::group(&reading.table, group, parts.iter().map(String::as_str)));
            tags.push(Tag::wide(&reading.table));
        }
        Ok(tags)
    }
}
