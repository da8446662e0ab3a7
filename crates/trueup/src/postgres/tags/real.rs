//! The law behind every row entry, held against a real server: what the database calls one key has one tag, by the key that
//! was asked for and by the change that is told; what it calls two keys has two.

use std::collections::BTreeMap;

use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};
use tokio_postgres::Client;
use trueup_core::{key::KeyPieces, proof::Tag, source::Loader as _};

use super::{Tuple, Value};
use crate::postgres::{
    LOAD_BYTES_MAX, Postgres, PostgresOptions, RowLoader, RowOptions,
    feed::{
        mapper::Mapper as _,
        pgoutput::{self, Event},
    },
    value::AsText,
};

/// Spellings tried of each type, besides those that are named.
const SPELLINGS: usize = 150;

struct Kind {
    sql: &'static str,
    pattern: &'static str,
    also: &'static [&'static str],
}

const KINDS: &[Kind] = &[
    Kind { sql: "int2", pattern: "[+-]?0{0,2}[0-9]{1,2} ?", also: &["32767", "-32768", "032767"] },
    Kind { sql: "int4", pattern: "[+-]?0{0,2}[0-9]{1,2} ?", also: &["2147483647", "-2147483648"] },
    Kind {
        sql: "int8",
        pattern: "[+-]?0{0,2}[0-9]{1,2} ?",
        also: &["9223372036854775807", "-9223372036854775808"],
    },
    Kind {
        sql: "numeric",
        pattern: "[+-]?0{0,2}[0-9]{1,2}(\\.[0-9]{0,2}0{0,2})?(e[+-]?[0-2])?",
        also: &[
            "NaN",
            "Infinity",
            "-inf",
            "1e50",
            "100000000000000000000000000000000000000000000000000",
            ".5",
            "0.50",
            "5.",
        ],
    },
    Kind {
        sql: "float8",
        pattern: "[+-]?0{0,2}[0-9]{1,2}(\\.[0-9]{0,2}0{0,2})?(e[+-]?[0-2])?",
        also: &[
            "NaN",
            "-0",
            "0",
            "Infinity",
            "-inf",
            "0.1",
            "0.30000000000000004",
            "0.3",
            "1e308",
            "5e-324",
            "9007199254740993",
            "9007199254740992",
        ],
    },
    Kind {
        sql: "text",
        pattern: "[abAB ,:@%!é]{0,3}",
        also: &["", "e\u{301}", "é", "!null", "\\", "\"", "{}", "NULL"],
    },
    Kind { sql: "varchar(5)", pattern: "[abAB ]{0,3}", also: &["", " ", "é"] },
    Kind { sql: "text COLLATE \"C\"", pattern: "[abAB ]{0,3}", also: &["", "é"] },
    Kind { sql: "char(4)", pattern: "[abAB]{0,2} {0,2}", also: &["", "    ", "é  ", "a\t"] },
    Kind { sql: "bool", pattern: "[tfyn]|[01]", also: &["true", "FALSE", "yes", "off", "on", " no "] },
    Kind {
        sql: "uuid",
        pattern: "[aA]0eebc99-?9c0[bB]-?4ef8-?bb6d-?6bb9bd380a1[12]",
        also: &["{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}", "A0EEBC999C0B4EF8BB6D6BB9BD380A11"],
    },
    Kind { sql: "bytea", pattern: "\\\\x([0aA][0bB]){0,2}", also: &["\\x", "\\x00", "\\xDEADbeef"] },
    Kind {
        sql: "timestamptz",
        pattern: "2024-0[12]-0[12][ T]1[01]:00(:00(\\.[05]{1,7})?)?(\\+0[01]|Z|-0130)",
        also: &[
            "infinity",
            "-infinity",
            "2024-02-29 23:59:59.9999996Z",
            "2024-03-01 00:00:00+00",
            "12024-01-01 00:00:00Z",
        ],
    },
    // A domain counts as its base type.
    Kind { sql: "small", pattern: "[+-]?0{0,2}[0-9]{1,2}", also: &[] },
];

#[tokio::test(flavor = "multi_thread")]
async fn one_key_to_the_database_is_one_tag_and_two_keys_are_two() {
    let server = trueup_testbed::Postgres::start(&trueup_testbed::PostgresOptions::default()).unwrap();
    server.query("CREATE DOMAIN small AS int4 CHECK (VALUE < 1000); CREATE PUBLICATION trueup").unwrap();
    for (number, kind) in KINDS.iter().enumerate() {
        let table = format!("k{number}");
        server.query(&format!("CREATE TABLE {table} (k {} PRIMARY KEY, n serial)", kind.sql)).unwrap();
        server.query(&format!("ALTER PUBLICATION trueup ADD TABLE {table}")).unwrap();
        server.query("SELECT pg_create_logical_replication_slot('s', 'pgoutput')").unwrap();
        let postgres = Postgres::connect(&server.url(), PostgresOptions::default()).await.unwrap();
        let at = postgres.shared.at("testing");
        let client = postgres.shared.writer(at).await.unwrap();
        let options = RowOptions {
            leave_out: Vec::new(),
            limit: std::time::Duration::from_secs(5),
            value_bytes_max: LOAD_BYTES_MAX,
            age_bounded: false,
        };
        let loader = RowLoader::new(&postgres, &table, options).await.unwrap();
        let spellings = spellings(kind);
        for spelling in &spellings {
            let insert = format!("INSERT INTO {table} (k) VALUES ($1) ON CONFLICT DO NOTHING");
            // What the database does not read is no key.
            drop(client.execute(&insert, &[&AsText(Some(spelling.clone()))]).await);
        }
        let told = told(&postgres, &client, &table).await;
        let mut checked = 0;
        for spelling in &spellings {
            let Some(row) = row_of(&client, &table, spelling).await else { continue };
            let Ok(key) = loader.key_form().assemble(&[], KeyPieces::Parts(&[spelling])) else { continue };
            let loaded = loader.load(&key).await.unwrap();
            let json: serde_json::Value = serde_json::from_slice(&loaded.value.unwrap().0).unwrap();
            assert_eq!(json["n"], row, "{} {spelling:?} is another row", kind.sql);
            assert_eq!(loaded.tags[0], told[&row], "{} {spelling:?} has another tag", kind.sql);
            checked += 1;
        }
        assert!(checked >= spellings.len() / 3, "{}: {checked} of {} were keys", kind.sql, spellings.len());
        let mut tags: Vec<Tag> = told.values().copied().collect();
        tags.sort();
        tags.dedup();
        assert_eq!(tags.len(), told.len(), "{}: two keys have one tag", kind.sql);
        server.query("SELECT pg_drop_replication_slot('s')").unwrap();
    }
}

fn spellings(kind: &Kind) -> Vec<String> {
    let mut runner = TestRunner::deterministic();
    let pattern = proptest::string::string_regex(kind.pattern).unwrap();
    let random = (0..SPELLINGS).map(|_| pattern.new_tree(&mut runner).unwrap().current());
    kind.also.iter().map(|text| (*text).to_owned()).chain(random).collect()
}

/// The row that the database finds, reading the spelling itself.
async fn row_of(client: &Client, table: &str, spelling: &str) -> Option<i32> {
    let sql = format!("SELECT n FROM {table} WHERE k = $1");
    let param = AsText(Some(spelling.to_owned()));
    client.query_opt(&sql, &[&param]).await.ok()?.map(|row| row.get(0))
}

/// The row tag of each insert that the change log tells, by the row's number.
async fn told(postgres: &Postgres, client: &Client, table: &str) -> BTreeMap<i32, Tag> {
    let sql = "SELECT data FROM pg_logical_slot_get_binary_changes('s', NULL, NULL, 'proto_version', '1', \
        'publication_names', 'trueup')";
    let registry = postgres.shared.registry.load_full();
    let name = format!("public.{table}");
    let mut relation = None;
    let mut told = BTreeMap::new();
    for row in client.query(sql, &[]).await.unwrap() {
        match pgoutput::decode(row.get(0), false).unwrap() {
            Event::Relation { relation: new, .. } => relation = Some(new),
            Event::Insert { new, .. } => {
                let columns: Vec<Value<'_>> = new.values().collect();
                let Value::Text(number) = columns[1] else { panic!("n is told") };
                let mut tags = Vec::new();
                let tuple = Tuple { columns: &columns };
                registry.row(relation.as_ref().unwrap(), None, Some(&tuple), &mut tags);
                let any = Tag::any(&name);
                assert!(
                    tags.contains(&any) && tags.len() == 2 && !tags.contains(&Tag::wide(&name)),
                    "{tags:?}"
                );
                let own = tags.into_iter().find(|tag| *tag != any).unwrap();
                told.insert(number.parse().unwrap(), own);
            }
            _ => {}
        }
    }
    told
}
