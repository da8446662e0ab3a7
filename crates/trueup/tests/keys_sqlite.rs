//! Canonical key text against SQLite itself: what it holds equal is written one way, what it tells apart two ways, and
//! reader and feed write the same.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail their test")]

use proptest::prelude::*;
use rusqlite::{
    Connection, Row,
    types::{Value, ValueRef},
};
use trueup_core::key::{
    Affinity, Collation, ColumnForm, KeyBody, KeyForm, KeyPieces, OwnedSqlValue, Part, SqlValue,
};

const AFFINITIES: [(&str, Affinity); 5] = [
    ("INTEGER", Affinity::Integer),
    ("NUMERIC", Affinity::Numeric),
    ("REAL", Affinity::Real),
    ("TEXT", Affinity::Text),
    ("", Affinity::Blob),
];
const COLLATIONS: [(&str, Collation); 3] =
    [("BINARY", Collation::Binary), ("NOCASE", Collation::NoCase), ("RTRIM", Collation::RTrim)];

/// A table with one column of a form.
struct Column {
    database: Connection,
    affinity: Affinity,
    form: ColumnForm,
}

impl Column {
    fn all() -> Vec<Self> {
        let pairs =
            AFFINITIES.into_iter().flat_map(|affinity| COLLATIONS.map(|collation| (affinity, collation)));
        let open = |((declared, affinity), (name, collation))| {
            assert_eq!(Affinity::of_declared_type(Some(declared)), affinity);
            let database = Connection::open_in_memory().unwrap();
            database.execute_batch(&format!("CREATE TABLE t (v {declared} COLLATE {name})")).unwrap();
            Self { database, affinity, form: ColumnForm::Sqlite { affinity, collation } }
        };
        pairs.map(open).collect()
    }

    fn canonical(&self, value: SqlValue<'_>) -> String {
        let mut text = String::new();
        self.form.canonical(value, &mut text).unwrap();
        text
    }

    /// Stores `value` and gives what a feed sees: the canonical text of what became of it.
    fn store(&self, value: &OwnedSqlValue) -> String {
        self.database.execute("INSERT INTO t VALUES (?)", [bound(value)]).unwrap();
        let stored = |row: &Row<'_>| {
            Ok(match row.get_ref(0)? {
                ValueRef::Null => self.canonical(SqlValue::Null),
                ValueRef::Integer(int) => self.canonical(SqlValue::Int(int)),
                ValueRef::Real(real) => self.canonical(SqlValue::Real(real)),
                ValueRef::Text(text) => self.canonical(SqlValue::Text(std::str::from_utf8(text).unwrap())),
                ValueRef::Blob(bytes) => self.canonical(SqlValue::Blob(bytes)),
            })
        };
        self.database.query_row("SELECT v FROM t ORDER BY rowid DESC LIMIT 1", [], stored).unwrap()
    }

    fn count(&self, query: &str, parameters: impl rusqlite::Params) -> i64 {
        self.database.query_row(query, parameters, |row| row.get(0)).unwrap()
    }

    /// One pair of values: are they equal in the database exactly when they are in the key?
    fn check(&self, a: &OwnedSqlValue, b: &OwnedSqlValue) {
        let has_float = [a, b].into_iter().any(|value| matches!(value, OwnedSqlValue::Real(_)));
        if self.affinity == Affinity::Text && has_float {
            return; // Refused: a float becomes text by rules of its own, and a text column never holds one.
        }
        self.database.execute("DELETE FROM t", []).unwrap();
        for value in [a, b] {
            let (reader, feed) = (self.canonical(value.as_value()), self.store(value));
            assert_eq!(reader, feed, "{:?}, reader and feed of {:?}", self.form, bound(value));
        }
        let equal = self.count("SELECT count(DISTINCT v) FROM t", []) == 1;
        let same = self.canonical(a.as_value()) == self.canonical(b.as_value());
        assert_eq!(same, equal, "{:?}: {:?} and {:?}", self.form, bound(a), bound(b));
        self.check_key_finds_row(a);
    }

    /// The value that a key binds finds the row that the key names.
    fn check_key_finds_row(&self, value: &OwnedSqlValue) {
        let form = KeyForm::columns([Part::new("v", self.form)]).unwrap();
        let key = form.parse(&self.canonical(value.as_value())).unwrap();
        let KeyBody::Columns(values) = form.values(&key).unwrap().body else { unreachable!() };
        let found = self.count("SELECT count(*) FROM t WHERE v = ?", [bound(&values[0])]);
        assert!(found > 0, "{:?}: {:?} is not found by its key", self.form, bound(value));
    }
}

fn bound(value: &OwnedSqlValue) -> Value {
    match value.clone() {
        OwnedSqlValue::Null => Value::Null,
        OwnedSqlValue::Int(int) => Value::Integer(int),
        OwnedSqlValue::Real(real) => Value::Real(real),
        OwnedSqlValue::Text(text) => Value::Text(text),
        OwnedSqlValue::Blob(bytes) => Value::Blob(bytes),
        OwnedSqlValue::Bool(truth) => Value::Integer(truth.into()),
    }
}

/// Values whose equality is not obvious, few enough that equal pairs are common. Decimal texts keep to 15 digits: beyond,
/// SQLite's own conversion of text to a float need not be the nearest one.
fn value() -> impl Strategy<Value = OwnedSqlValue> {
    let ints = prop_oneof![-3_i64..100, Just(i64::MAX), Just(i64::MIN), Just((1 << 53) + 1), any::<i64>()];
    let reals = prop_oneof![
        (-3_i32..50).prop_map(f64::from),
        (-8_i32..8).prop_map(|quarters| f64::from(quarters) / 4.0),
        Just(-0.0),
        Just(f64::INFINITY),
        Just(9_223_372_036_854_775_808.0),
        Just(-9_223_372_036_854_775_808.0),
        any::<f64>().prop_filter("NaN is NULL", |real| !real.is_nan()),
    ];
    let texts = prop_oneof![
        "[ ]?[+-]?0?[0-4]{0,2}([.][0-2]{0,2})?([eE][+-]?[0-2])?[ ]?",
        "[aAbB é\\x00]{0,3}",
        "[0-9]{1,15}([.]0)?",
        "(9223372036854775807|9223372036854775808|1e400|-1e400|0x10|1_0|nan|inf|Infinity|NULL)",
        "!(null|x00|t1)",
        any::<String>(),
    ];
    let blobs = proptest::collection::vec(prop_oneof![Just(b'4'), Just(b'a'), any::<u8>()], 0..3);
    prop_oneof![
        1 => ints.prop_map(OwnedSqlValue::Int),
        1 => reals.prop_map(OwnedSqlValue::Real),
        3 => texts.prop_map(OwnedSqlValue::Text),
        1 => blobs.prop_map(OwnedSqlValue::Blob),
    ]
}

/// Another spelling of a value, often equal to it under some affinity or collation.
fn respelled(value: &OwnedSqlValue, how: u8) -> OwnedSqlValue {
    let text = OwnedSqlValue::Text;
    match (value, how) {
        (OwnedSqlValue::Int(int), 0) => text(int.to_string()),
        (OwnedSqlValue::Int(int), 1) => OwnedSqlValue::Real(*int as f64),
        (OwnedSqlValue::Int(int), _) if int.abs_diff(0) < 1 << 49 => text(format!(" {int}.0")),
        (OwnedSqlValue::Real(real), 0) => OwnedSqlValue::Int(*real as i64),
        (OwnedSqlValue::Text(old), 0) => text(old.to_ascii_uppercase()),
        (OwnedSqlValue::Text(old), 1) => text(format!("{old}  ")),
        (OwnedSqlValue::Text(old), 2) => text(format!("0{old}")),
        (OwnedSqlValue::Text(old), _) => OwnedSqlValue::Blob(old.clone().into_bytes()),
        (OwnedSqlValue::Blob(bytes), _) => String::from_utf8(bytes.clone()).map_or(value.clone(), text),
        _ => value.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn the_database_and_the_key_agree_on_what_is_equal(a in value(), other in value(), how in 0_u8..6) {
        thread_local!(static COLUMNS: Vec<Column> = Column::all());
        let b = if how < 4 { respelled(&a, how) } else { other };
        COLUMNS.with(|columns| columns.iter().for_each(|column| column.check(&a, &b)));
    }
}

#[test]
fn a_primary_key_is_found_however_it_is_spelled() {
    let database = Connection::open_in_memory().unwrap();
    database.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (42)").unwrap();
    let form = KeyForm::columns([Part::new("id", ColumnForm::Integer)]).unwrap();
    for text in ["42", "042", "+42", "42.0", " 42 ", "4.2e1"] {
        let key = form.assemble(&[], KeyPieces::Parts(&[text])).unwrap();
        let found: i64 =
            database.query_row("SELECT count(*) FROM t WHERE id = ?", [text], |row| row.get(0)).unwrap();
        assert_eq!((key.as_str(), found), ("42", 1), "{text:?}");
    }
}
