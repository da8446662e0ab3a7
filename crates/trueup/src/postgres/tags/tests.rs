use trueup_core::{key::ColumnForm, proof::Tag};

use super::*;
use crate::{
    group::GroupSpec,
    postgres::{
        canonical::KeyColumn,
        discover::{ColumnInfo, Identity, TableKind},
        feed::mapper::{RelationColumn, ReplicaIdentity},
    },
};

const LEAF: u32 = 1;
const ROOT: u32 = 2;

fn table(oid: u32, name: &str, columns: &[(&str, ColumnForm)], key: &[&str]) -> TableInfo {
    let form_of =
        |name: &str| columns.iter().find(|(column, _)| *column == name).map(|(_, form)| *form).unwrap();
    TableInfo {
        oid,
        name: format!("public.{name}"),
        schema: "public".into(),
        table: name.into(),
        visible: true,
        kind: TableKind::Plain,
        columns: columns
            .iter()
            .map(|(name, form)| ColumnInfo {
                name: (*name).into(),
                declared_type: "t".into(),
                not_null: true,
                form: *form,
            })
            .collect(),
        key: key
            .iter()
            .map(|name| KeyColumn { name: (*name).into(), form: form_of(name), parameter: "int8".into() })
            .collect(),
        identity: Identity::Default,
        row_security: false,
        unfollowable: None,
        unservable: None,
        ancestors: Vec::new(),
        descendants: Vec::new(),
        identity_columns: Vec::new(),
    }
}

const COLUMNS: &[(&str, ColumnForm)] =
    &[("id", ColumnForm::Integer), ("shop", ColumnForm::Integer), ("day", ColumnForm::Opaque)];

fn registry(key: &[&str]) -> Registry {
    let mut registry = Registry::default();
    registry.tables.insert(LEAF, table(LEAF, "t", COLUMNS, key));
    registry
}

/// The relation as the feed tells it: `id` and whatever else is named belong to the replica identity.
fn relation(identity: &[&str]) -> Relation {
    let column = |(name, _): &(&str, _)| RelationColumn {
        name: (*name).into(),
        type_oid: 20,
        is_key: identity.contains(name),
    };
    Relation {
        oid: LEAF,
        namespace: "public".into(),
        name: "t".into(),
        identity: ReplicaIdentity::Default,
        columns: COLUMNS.iter().map(column).collect(),
    }
}

fn raised(
    registry: &Registry,
    relation: &Relation,
    old: Option<&[Value<'_>]>,
    new: Option<&[Value<'_>]>,
) -> Vec<Tag> {
    let mut tags = Vec::new();
    let (old, new) = (old.map(|columns| Tuple { columns }), new.map(|columns| Tuple { columns }));
    registry.row(relation, old.as_ref(), new.as_ref(), &mut tags);
    tags.sort();
    tags
}

fn sorted<const N: usize>(mut tags: [Tag; N]) -> Vec<Tag> {
    tags.sort();
    tags.to_vec()
}

const NEW: &[Value<'_>] = &[Value::Text("42"), Value::Text("7"), Value::Text("2024-01-01")];

#[test]
fn a_row_is_named_by_its_key_before_and_after() {
    let (registry, relation) = (registry(&["id"]), relation(&["id"]));
    let any = Tag::any("public.t");
    let row = |id| Tag::row("public.t", [id]);
    assert_eq!(raised(&registry, &relation, None, Some(NEW)), sorted([any, row("42")]));
    let old: &[Value<'_>] = &[Value::Text("41"), Value::Null, Value::Null];
    assert_eq!(raised(&registry, &relation, Some(old), Some(NEW)), sorted([any, row("41"), row("42")]));
    assert_eq!(raised(&registry, &relation, Some(old), None), sorted([any, row("41")]));
}

#[test]
fn an_old_value_outside_of_the_identity_is_not_believed() {
    let relation = relation(&["id"]);
    let mut registry = registry(&["id"]);
    let group = GroupSpec { name: "shop".into(), columns: vec!["shop".into()] };
    registry.groups.insert("public.t".into(), vec![group]);
    // NULL because it is not told, not because it was NULL.
    let old: &[Value<'_>] = &[Value::Text("42"), Value::Null, Value::Null];
    let tags = raised(&registry, &relation, Some(old), None);
    assert!(tags.contains(&Tag::wide("public.t")));
    let relation = self::relation(&["id", "shop", "day"]);
    let old: &[Value<'_>] = &[Value::Text("42"), Value::Text("8"), Value::Null];
    let tags = raised(&registry, &relation, Some(old), Some(NEW));
    let of = |shop| Tag::group("public.t", "shop", [shop]);
    let expected = sorted([Tag::any("public.t"), Tag::row("public.t", ["42"]), of("7"), of("8")]);
    assert_eq!(tags, expected);
}

#[test]
fn a_value_left_as_it_was_is_taken_from_the_old_row_or_the_whole_table_is_raised() {
    let (registry, relation) = (registry(&["id"]), relation(&["id"]));
    let new: &[Value<'_>] = &[Value::Unchanged, Value::Text("7"), Value::Null];
    assert!(raised(&registry, &relation, None, Some(new)).contains(&Tag::wide("public.t")));
    let old: &[Value<'_>] = &[Value::Text("42"), Value::Null, Value::Null];
    let expected = sorted([Tag::any("public.t"), Tag::row("public.t", ["42"])]);
    assert_eq!(raised(&registry, &relation, Some(old), Some(new)), expected);
}

#[test]
fn what_cannot_be_read_raises_the_whole_table() {
    let (registry, relation) = (registry(&["id"]), relation(&["id"]));
    for strange in [Value::Text("forty-two"), Value::Opaque] {
        let new: &[Value<'_>] = &[strange, Value::Text("7"), Value::Null];
        assert!(raised(&registry, &relation, None, Some(new)).contains(&Tag::wide("public.t")));
    }
    // A column that is not told at all: the table was altered since.
    let mut shorter = relation.clone();
    shorter.columns.remove(0);
    assert!(raised(&registry, &shorter, None, Some(&NEW[1..])).contains(&Tag::wide("public.t")));
    let unknown = Relation { oid: 99, ..relation };
    let expected = sorted([Tag::any("public.t"), Tag::wide("public.t")]);
    assert_eq!(raised(&registry, &unknown, None, Some(NEW)), expected);
}

#[test]
fn a_key_without_a_text_needs_no_row_tag() {
    let (registry, relation) = (registry(&["day"]), relation(&["day"]));
    assert_eq!(raised(&registry, &relation, None, Some(NEW)), [Tag::any("public.t")]);
}

#[test]
fn changes_of_a_leaf_count_for_the_tables_above() {
    let mut registry = registry(&["id"]);
    registry.tables.insert(ROOT, table(ROOT, "root", COLUMNS, &["id", "shop"]));
    registry.tables.get_mut(&LEAF).unwrap().ancestors = vec![ROOT];
    let expected = sorted([
        Tag::any("public.t"),
        Tag::row("public.t", ["42"]),
        Tag::any("public.root"),
        Tag::row("public.root", ["42", "7"]),
    ]);
    assert_eq!(raised(&registry, &relation(&["id", "shop"]), None, Some(NEW)), expected);
    // The leaf's identity does not hold the root's key.
    let tags = raised(&registry, &relation(&["id"]), None, Some(NEW));
    assert!(tags.contains(&Tag::wide("public.root")) && !tags.contains(&Tag::wide("public.t")));
    let mut tags = Vec::new();
    registry.whole(&relation(&["id"]), &mut tags);
    tags.sort();
    let whole = |name| [Tag::any(name), Tag::wide(name)];
    let mut expected = [whole("public.t"), whole("public.root")].concat();
    expected.sort();
    assert_eq!(tags, expected);
}
