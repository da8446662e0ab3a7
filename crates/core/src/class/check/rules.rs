//! Pattern, invalidation and what is never cached.

use super::{Findings, key::part_names};
use crate::class::{Decision, Invalidation, Origin, Pattern, Purpose, Settings, Tags, looks_secret};

pub(super) fn check_pattern(plan: &Settings, findings: &mut Findings) {
    let proven = matches!(plan.invalidation, Invalidation::Feed(_));
    let external = plan.origin == Origin::External;
    match &plan.pattern {
        Pattern::WriteBehind { loss } if loss.trim().is_empty() => findings.undecided(
            Decision::Pattern,
            "loss",
            "write-behind acknowledges before the source knows: write what you accept to lose, such as \
             `loss = \"up to one second of view counts\"`, or choose `pattern = \"write-through\"`",
        ),
        Pattern::WriteBehind { .. } if plan.purpose == Purpose::DisplayBalance => findings.conflict(
            Decision::Pattern,
            "pattern",
            "an amount of money is never acknowledged before the source has it",
            "choose `pattern = \"write-through\"`, or write to the database of record",
        ),
        Pattern::WriteBehind { .. } if !external && !matches!(plan.origin, Origin::Table(_) | Origin::Loader) => findings
            .conflict(
                Decision::Pattern,
                "pattern",
                "only a row can be written behind, and the answer of a query is none",
                "name a `table`, or choose `pattern = \"write-through\"` and write to the tables that the query reads",
            ),
        Pattern::WriteBehind { .. } if proven => findings.conflict(
            Decision::Pattern,
            "pattern",
            "write-behind values are ahead of the source, so its feed cannot prove them",
            "write `invalidation = { owner = \"...\", reason = \"...\" }`, or choose `pattern = \"write-through\"`",
        ),
        Pattern::DeleteUpdateDelete { .. } if proven => findings.conflict(
            Decision::Pattern,
            "pattern",
            "the feed ends the class's entries, on every node, and nobody need delete them",
            "choose `pattern = \"read-through\"`, or, to compare, write `invalidation = { owner = \"...\", reason = \"...\" }`",
        ),
        Pattern::DeleteUpdateDelete { .. } if plan.l2.is_some() => findings.conflict(
            Decision::Pattern,
            "pattern",
            "delete-update-delete deletes from this node's memory alone",
            "write `l2 = false`, or choose `pattern = \"read-through\"`",
        ),
        Pattern::CacheAside if proven => findings.conflict(
            Decision::Pattern,
            "pattern",
            "cache-aside values are loaded by the client, so no feed can prove them",
            "write `invalidation = { owner = \"...\", reason = \"...\" }` with a `life`, or choose \
             `pattern = \"read-through\"`",
        ),
        other if external && *other != Pattern::CacheAside => findings.conflict(
            Decision::Pattern,
            "pattern",
            format!("{} needs a source that Trueup can load, and the class has none", other.as_str()),
            "choose `pattern = \"cache-aside\"`, or name a `table` or `query`",
        ),
        _ => {}
    }
}

pub(super) fn check_tags(plan: &Settings, findings: &mut Findings) {
    let parts = part_names(&plan.key);
    match &plan.invalidation {
        Invalidation::AgeBounded { owner, reason } => {
            for (field, text) in [("owner", owner), ("reason", reason)] {
                // A class without any invalidation has been told so already.
                let told = findings.errors.iter().any(|e| e.field() == Some("invalidation"));
                if text.trim().is_empty() && !told {
                    findings.undecided(
                        Decision::Invalidation,
                        field,
                        "no feed ends these entries: write `invalidation = { owner = \"who answers for it\", \
                         reason = \"why there is no feed\" }`",
                    );
                }
            }
        }
        Invalidation::Feed(Tags::Row) if !matches!(plan.origin, Origin::Table(_)) => findings.conflict(
            Decision::Invalidation,
            "invalidation",
            "only a class that is a `table` depends on one row",
            "write `invalidation = \"any\"`, or name groups such as `invalidation = [\"products:category\"]`",
        ),
        Invalidation::Feed(Tags::Groups(groups)) => {
            if groups.is_empty() {
                findings.undecided(
                    Decision::Invalidation,
                    "invalidation",
                    "an empty list of groups would end no entry: name groups such as `[\"products:category\"]`",
                );
            }
            for group in groups {
                for column in group
                    .columns
                    .iter()
                    .filter(|c| !parts.contains(&c.as_str()) && !plan.key.scope.contains(c))
                {
                    findings.conflict(
                        Decision::Invalidation,
                        "invalidation",
                        format!("group {group} needs the value of {column:?}, which the key does not hold"),
                        format!("add {column:?} to `key`, or write `invalidation = \"any\"`"),
                    );
                }
            }
        }
        Invalidation::Feed(Tags::Row | Tags::Any) => {}
    }
}

pub(super) fn check_never(plan: &Settings, findings: &mut Findings) {
    let mut suspects: Vec<(&'static str, &str)> =
        part_names(&plan.key).into_iter().map(|p| ("key", p)).collect();
    if let Origin::Table(table) = &plan.origin {
        suspects.push(("table", table.as_str()));
    }
    for (field, name) in suspects {
        if let Some(what) = looks_secret(name).filter(|_| !plan.never_cache.allowed.iter().any(|a| a == name))
        {
            findings.conflict(
                Decision::NeverCache,
                field,
                format!("{name:?} looks like {what}"),
                format!(
                    "write `purpose = \"decision\"`, or `allow_secret_looking = [\"{name}\"]` if it is none"
                ),
            );
        }
    }
    if plan.purpose == Purpose::VersionedText {
        let parts = part_names(&plan.key);
        match &plan.versioned_by {
            Some(part) if parts.contains(&part.as_str()) => {}
            _ => findings.undecided(
                Decision::NeverCache,
                "versioned_by",
                "a binding text is cached only with its version in the key: write `versioned_by = \"version\"` and name \
                 it in `key`, or write `purpose = \"legal-text\"` (never cached)",
            ),
        }
    }
}
