//! Classes from a database's own schema, for zero configuration and `trueup init`.

use trueup_core::class::{CLASS_NAME_BYTES_MAX, ClassName, Purpose, looks_secret};

use super::Plan;

/// A table that the source has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiscoveredTable {
    /// Its name.
    pub table: String,
    /// Its primary key, in order; empty where it has none.
    pub key: Vec<String>,
    /// All columns, in order.
    pub columns: Vec<String>,
}

/// A table that got no class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The table.
    pub table: String,
    /// Why, in words for its owner.
    pub reason: String,
}

impl Plan {
    /// Adds a class for each table that can be served unasked: by primary key, for display, under `[defaults]`. Tables
    /// that already have a class of their name are left alone; the rest is returned with the reason.
    pub fn discover(&mut self, tables: &[DiscoveredTable]) -> Vec<Skipped> {
        let mut skipped = Vec::new();
        let before: Vec<ClassName> = self.classes.keys().cloned().collect();
        for found in tables {
            if let Err(reason) = self.adopt(found) {
                skipped.push(Skipped { table: found.table.clone(), reason });
            }
        }
        if self.defaults.l1_capacity.is_none() {
            let found: Vec<ClassName> =
                self.classes.keys().filter(|name| !before.contains(name)).cloned().collect();
            if let Err(problem) = self.share_memory(&found) {
                let reason = problem.to_string();
                for name in found {
                    self.classes.remove(&name);
                    skipped.push(Skipped { table: name.to_string(), reason: reason.clone() });
                }
            }
        }
        skipped
    }

    fn adopt(&mut self, found: &DiscoveredTable) -> Result<(), String> {
        let name = class_name(&found.table).ok_or("no class name can be made of its name")?;
        if let Some(plan) = self.classes.get(name.as_str()) {
            let same = *plan.origin() == trueup_core::class::Origin::Table(found.table.as_str().into());
            return if same { Ok(()) } else { Err(format!("its class name {name:?} is taken")) };
        }
        if let Some(what) = looks_secret(&found.table) {
            return Err(format!("its name looks like {what}"));
        }
        if found.key.is_empty() {
            return Err("it has no primary key".to_owned());
        }
        if let Some((column, what)) = found.key.iter().find_map(|c| Some((c, looks_secret(c)?))) {
            return Err(format!("its key {column:?} looks like {what}"));
        }
        let secret = found.columns.iter().filter(|column| looks_secret(column).is_some());
        let class =
            self.start(Purpose::Display, &name).table(&found.table).key(found.key.iter().map(String::as_str));
        let plan =
            class.never_columns(secret.map(String::as_str)).build().map_err(|errors| errors.to_string())?;
        self.classes.insert(name, plan);
        Ok(())
    }
}

/// The table's name in the letters of a class name: `Order Items` is `order_items`.
fn class_name(table: &str) -> Option<ClassName> {
    let plain = |c: char| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9' | '_' | '.' | '-') => c,
        _ => '_',
    };
    let name: String = table.chars().map(plain).collect();
    let name = name.trim_start_matches(|c: char| !c.is_ascii_lowercase());
    ClassName::new(name.get(..CLASS_NAME_BYTES_MAX).unwrap_or(name)).ok()
}
