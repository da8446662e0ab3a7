//! What the sources' catalogues share: reading a plan.

use std::collections::BTreeMap;

use trueup_core::class::{ClassPlan, Group, Invalidation, Settings, Tags as Declared};

use super::CatalogError;
use crate::{group::GroupSpec, plan::Plan};

/// The groups that the classes of `plan` declare, by table.
pub(super) fn groups_of(plan: &Plan) -> BTreeMap<String, Vec<GroupSpec>> {
    let mut groups: BTreeMap<String, Vec<GroupSpec>> = BTreeMap::new();
    for group in plan.classes.values().flat_map(declared_groups) {
        let of_table = groups.entry(group.table.to_string()).or_default();
        let spec = spec(group);
        if !of_table.contains(&spec) {
            of_table.push(spec);
        }
    }
    groups
}

/// The groups that a class declares.
pub(super) fn declared_groups(plan: &ClassPlan) -> &[Group] {
    match plan {
        ClassPlan::Cacheable(plan) => match &plan.invalidation {
            Invalidation::Feed(Declared::Groups(groups)) => groups,
            _ => &[],
        },
        ClassPlan::Decision(_) => &[],
    }
}

/// A group is called by its columns: what two classes declare alike is one group.
pub(super) fn spec(group: &Group) -> GroupSpec {
    let columns: Vec<String> = group.columns.iter().map(ToString::to_string).collect();
    GroupSpec { name: columns.join(","), columns }
}

/// The columns, among `names`, that a class never holds.
pub(super) fn left_out<'n>(plan: &ClassPlan, names: impl Iterator<Item = &'n str>) -> Vec<String> {
    match plan {
        ClassPlan::Cacheable(plan) => {
            names.filter(|name| plan.never_cache.excludes(name).is_some()).map(str::to_owned).collect()
        }
        // Never held anywhere, and declared by hand: a code is there to be read.
        ClassPlan::Decision(_) => Vec::new(),
    }
}

/// What a load may bring. The engine answers with values above the class's own bound and keeps them out of memory.
pub(super) fn load_bytes_max(plan: &Settings, source_max: usize) -> usize {
    plan.value_bytes_max.max(source_max)
}

/// A row has one name: its primary key. `same` compares names as the source does.
pub(super) fn check_key(
    plan: &ClassPlan,
    key: &[&str],
    same: impl Fn(&str, &str) -> bool,
) -> Result<(), CatalogError> {
    if !plan.key().scope.is_empty() {
        let why = "a row is the same row in every scope: write a `query` that uses the scope, such as \
            \"SELECT * FROM t WHERE id = :id AND tenant = :tenant\"";
        return Err(refused(plan, why));
    }
    let declared = &plan.key().columns;
    let alike = key.len() == declared.len() && key.iter().zip(declared).all(|(a, b)| same(a, b));
    if alike && plan.key().parameters.is_empty() {
        return Ok(());
    }
    let quoted: Vec<String> = key.iter().map(|name| format!("{name:?}")).collect();
    let why = format!("`key` must be the primary key of the table: write `key = [{}]`", quoted.join(", "));
    Err(refused(plan, &why))
}

/// The class cannot be served.
pub(super) fn refused(plan: &ClassPlan, why: &str) -> CatalogError {
    CatalogError::Refused { class: plan.name().clone(), why: why.to_owned() }
}

/// Its loader is written in Rust.
pub(super) fn only_in_rust(plan: &ClassPlan) -> CatalogError {
    refused(plan, "its loader is written in Rust, so only a Rust program can serve it")
}
