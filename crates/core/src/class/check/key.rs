//! The form of the key and its scope.

use super::Findings;
use crate::class::{ClassPlanBuilder, Decision, KeyPlan, Origin, named_parameters};

/// The key form; its errors are about the scope, because a key that forgets something answers the wrong reader.
pub(super) fn key(draft: &ClassPlanBuilder, origin: &Origin, findings: &mut Findings) -> KeyPlan {
    if draft.columns.is_empty() && draft.parameters.is_empty() {
        findings.undecided(Decision::KeyScope, "key", "write the parts of the key, such as `key = [\"id\"]`");
    }
    if draft.scope.is_none() && !matches!(origin, Origin::Table(_)) && draft.purpose.never_reason().is_none()
    {
        findings.undecided(
            Decision::KeyScope,
            "scope",
            "write `scope = []` if everyone may see the same answer, else what it depends on, such as \
             `scope = [\"tenant\"]`",
        );
    }
    let key = KeyPlan {
        scope: draft.scope.clone().unwrap_or_default(),
        columns: draft.columns.clone(),
        parameters: draft.parameters.clone(),
        ignore: draft.ignore.clone(),
        unknown: draft.unknown,
        unicode: draft.unicode,
    };
    let parts: Vec<&str> = part_names(&key);
    let all: Vec<&str> = key.scope.iter().map(|s| s.as_str()).chain(parts.iter().copied()).collect();
    for (i, name) in all.iter().enumerate() {
        if all[..i].contains(name) {
            findings.conflict(
                Decision::KeyScope,
                "key",
                format!("{name:?} stands in it twice"),
                "name it once",
            );
        }
    }
    if let Origin::Query(sql) = origin {
        query_parameters(sql, &key, findings);
    }
    key
}

pub(super) fn part_names(key: &KeyPlan) -> Vec<&str> {
    let columns = key.columns.iter().map(|c| c.as_str());
    columns.chain(key.parameters.iter().map(|p| p.name.as_str())).collect()
}

fn query_parameters(sql: &str, key: &KeyPlan, findings: &mut Findings) {
    let asked = named_parameters(sql);
    let parts = part_names(key);
    for name in &asked {
        if !parts.contains(name) && !key.scope.iter().any(|s| s == name) {
            findings.conflict(
                Decision::KeyScope,
                "query",
                format!("its parameter :{name} is neither a key part nor a scope dimension"),
                format!("add {name:?} to `key` or `scope`"),
            );
        }
    }
    for part in parts.iter().filter(|part| !asked.contains(part)) {
        findings.conflict(
            Decision::KeyScope,
            "key",
            format!("the query has no parameter :{part}, so one answer would be stored under many keys"),
            format!("use :{part} in the query or leave it out of `key`"),
        );
    }
}
