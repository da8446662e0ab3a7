//! Whatever is written, by whatever statement: everything that changed is raised.

use proptest::prelude::*;
use trueup_core::proof::Tag;

use super::shapes::{Followed, SHAPES};

/// One statement, as any program might send it.
fn statement() -> impl Strategy<Value = String> {
    let column = prop::sample::select(vec!["u", "v", "g", "k"]);
    let assignments = prop::collection::vec((column.clone(), value()), 1..3);
    let condition = (column, value()).prop_map(|(column, value)| format!("{column} IS {value}"));
    let conflict =
        prop::sample::select(vec!["", "OR REPLACE", "OR REPLACE", "OR IGNORE", "OR FAIL", "OR ROLLBACK"]);
    let table = prop::sample::select(vec!["t", "t", "t", "p"]);
    let given =
        prop::collection::btree_set(prop::sample::select(vec!["k", "k2", "u", "v", "g", "rowid"]), 1..5);
    prop_oneof![
        6 => (conflict.clone(), table.clone(), given, prop::collection::vec(value(), 6), any::<bool>()).prop_map(
            |(conflict, table, columns, values, upsert)| {
                let names = columns.iter().copied().collect::<Vec<_>>().join(", ");
                let values = values[..columns.len()].join(", ");
                let update = if upsert { " ON CONFLICT DO UPDATE SET v = 7, g = 1" } else { "" };
                format!("INSERT {conflict} INTO {table}({names}) VALUES ({values}){update}")
            }
        ),
        4 => (conflict, table.clone(), assignments, condition.clone(), any::<bool>()).prop_map(
            |(conflict, table, assignments, condition, all)| {
                let set: Vec<String> = assignments.iter().map(|(name, value)| format!("{name} = {value}")).collect();
                let filter = if all { String::new() } else { format!(" WHERE {condition}") };
                format!("UPDATE {conflict} {table} SET {}{filter}", set.join(", "))
            }
        ),
        2 => (table, condition).prop_map(|(table, condition)| format!("DELETE FROM {table} WHERE {condition}")),
        1 => Just("DELETE FROM t".to_owned()),
        1 => Just("UPDATE OR REPLACE t SET rowid = rowid + 1".to_owned()),
        1 => Just("INSERT OR REPLACE INTO t(k, u, v, g) SELECT u, k, g, v FROM t".to_owned()),
        1 => Just("VACUUM".to_owned()),
    ]
}

/// Few values, so that rows collide; of all types, so that none is taken for another.
fn value() -> impl Strategy<Value = String> + Clone {
    prop::sample::select(vec![
        "1", "2", "3", "'1'", "'a'", "'A'", "'b'", "'a '", "1.0", "2.5", "x'61'", "NULL", "4",
    ])
    .prop_map(str::to_owned)
}

/// Runs the statements, and compares what changed with what was raised.
fn check(
    shape: &(&str, &str),
    grouped: bool,
    recursive: bool,
    statements: &[String],
) -> Result<(), TestCaseError> {
    let followed = Followed::new(shape.1, grouped);
    followed.conn.pragma_update(None, "recursive_triggers", recursive).unwrap();
    for sql in statements {
        let (seq, before) = (followed.end(), followed.rows());
        // Half of them violate a constraint; what a failed statement leaves behind counts all the same.
        let _ = followed.conn.execute_batch(sql);
        let (raised, after) = (followed.raised(seq), followed.rows());
        let is_wide = raised.contains(&Tag::wide("t"));
        for (before, after) in before.iter().zip(&after) {
            for tag in before.keys().chain(after.keys()) {
                let changed = before.get(tag) != after.get(tag);
                prop_assert!(!changed || is_wide || raised.contains(tag), "{}: {sql}: unseen", shape.0);
                prop_assert!(!changed || raised.contains(&Tag::any("t")), "{}: {sql}: table unseen", shape.0);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(18), ..ProptestConfig::default() })]

    #[test]
    fn every_changed_row_is_raised(
        shape in prop::sample::select(SHAPES),
        grouped in any::<bool>(),
        recursive in prop::bool::weighted(0.2),
        statements in prop::collection::vec(statement(), 1..40),
    ) {
        check(&shape, grouped, recursive, &statements)?;
    }
}

/// Each a way in which a row vanishes without its DELETE trigger, or a key moves.
#[test]
fn rows_removed_by_replace_are_raised_in_every_shape() {
    let fill = |i: i64| format!("INSERT OR IGNORE INTO t(k, u, v, g) VALUES ({i}, 'u{i}', {i}, {i})");
    for shape in SHAPES {
        for grouped in [false, true] {
            let mut statements: Vec<String> = Vec::new();
            for attack in [
                "INSERT OR REPLACE INTO t(k, u, v, g) VALUES (9, 'u1', 5, 5)",
                "INSERT OR REPLACE INTO t(k, u) VALUES (9, NULL)",
                "REPLACE INTO t(k) VALUES (8)",
                "UPDATE OR REPLACE t SET u = 'u2' WHERE k = 1",
                "UPDATE OR REPLACE t SET k = 2 WHERE k = 1",
                "INSERT OR REPLACE INTO t(rowid, k, u) VALUES (1, 77, 'z')",
                "UPDATE OR REPLACE t SET rowid = 2 WHERE k = 1",
                "DELETE FROM t",
            ] {
                statements.extend((1..4).map(fill));
                statements.push("INSERT OR IGNORE INTO t(k, u, v, g) VALUES (4, 'b', 4, 4)".to_owned());
                statements.push(attack.to_owned());
            }
            check(shape, grouped, false, &statements).unwrap();
        }
    }
}
