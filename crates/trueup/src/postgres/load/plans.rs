//! What the server makes of statements that are run for ever.

use std::{collections::BTreeMap, time::Duration};

use trueup_core::{
    key::{ColumnForm, KeyForm, Part},
    source::Loader as _,
};

use super::{SEES, timeline};
use crate::postgres::{
    LOAD_BYTES_MAX, Postgres, PostgresOptions, QueryLoader, QueryOptions, RowLoader, RowOptions,
};

/// A plan for any keys is made once, one for these very keys with each call: in the server that costs several times what the
/// rows cost.
#[tokio::test]
async fn loads_of_several_keys_are_planned_once() {
    let server = trueup_testbed::Postgres::start(&trueup_testbed::PostgresOptions::default()).unwrap();
    server
        .query(
            "CREATE TABLE item (a bigint, b text, note text, PRIMARY KEY (a, b)); \
             INSERT INTO item SELECT g, 'b' || g % 7, md5(g::text) FROM generate_series(1, 10000) g; \
             ANALYZE item; CREATE PUBLICATION trueup FOR TABLE item",
        )
        .unwrap();
    let options = PostgresOptions { readers_max: 1, ..PostgresOptions::default() };
    let postgres = Postgres::connect(&server.url(), options).await.unwrap();
    let limit = Duration::from_secs(5);
    let of_rows =
        RowOptions { leave_out: Vec::new(), limit, value_bytes_max: LOAD_BYTES_MAX, age_bounded: false };
    let rows = RowLoader::new(&postgres, "item", of_rows).await.unwrap();
    let of_query = QueryOptions {
        many: true,
        limit,
        value_bytes_max: LOAD_BYTES_MAX,
        age_bounded: false,
        tables: None,
        groups: BTreeMap::new(),
    };
    let form = KeyForm::columns([Part::new("a", ColumnForm::Integer)]).unwrap();
    let sql = "SELECT a, note FROM item WHERE a = :a::bigint";
    let query = QueryLoader::new(&postgres, sql, form.clone(), of_query).await.unwrap();
    for call in 1..=10_i64 {
        let numbers: Vec<i64> = (0..call % 4 + 2).map(|i| call * 100 + i).collect();
        let keys: Vec<_> =
            numbers.iter().map(|a| rows.key_form().key(&(*a, format!("b{}", a % 7))).unwrap()).collect();
        let of_rows = rows.load_many(&keys).await.unwrap();
        let keys: Vec<_> = numbers.iter().map(|a| form.key(a).unwrap()).collect();
        let of_query = query.load_many(&keys).await.unwrap();
        for ((number, row), answer) in numbers.iter().zip(of_rows.values).zip(of_query.values) {
            let (row, answer) = (row.0.unwrap(), answer.0.unwrap());
            let begins = format!("{{\"a\": {number}, ");
            let (row, answer) =
                (std::str::from_utf8(&row.0).unwrap(), std::str::from_utf8(&answer.0).unwrap());
            assert!(row.starts_with(&begins), "{number}: {row}");
            assert!(answer.starts_with(&format!("[{begins}")), "{number}: {answer}");
        }
    }
    // The only connection for loads, on which both have run.
    let client = postgres.shared.readers.get().await.unwrap();
    let sql = "SELECT statement, generic_plans, custom_plans FROM pg_prepared_statements \
        WHERE statement LIKE '%item%WITH ORDINALITY%' OR statement LIKE '%WITH ORDINALITY _trueup_key%'";
    let mut plans = client.query(sql, &[]).await.unwrap();
    plans.retain(|row| !row.get::<_, &str>(0).contains("pg_prepared_statements"));
    assert_eq!(plans.len(), 2);
    for row in &plans {
        let (statement, generic, custom): (&str, i64, i64) = (row.get(0), row.get(1), row.get(2));
        // Five calls are planned for their own keys before the server compares.
        assert_eq!((generic, custom), (5, 5), "{statement}");
    }
}

/// A plan holds the timeline as it was when the plan was made: it must not be made where the server follows another, and may become
/// a primary under the same session.
#[tokio::test]
async fn a_session_that_sees_its_standby_promoted_tells_the_new_timeline() {
    let primary = trueup_testbed::Postgres::start(&trueup_testbed::PostgresOptions::default()).unwrap();
    let standby = primary.standby("next").unwrap();
    let connect = async |url: String| {
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        trueup_core::env::spawn("connection", async { drop(connection.await) });
        let statement = client.prepare(&format!("SELECT {SEES}")).await.unwrap();
        (client, statement)
    };
    let (before, of_primary) = connect(primary.url()).await;
    let (session, seen) = connect(standby.url()).await;
    let told = |row: &tokio_postgres::Row| timeline(row.get(2)).unwrap();
    for _ in 0..8 {
        assert_eq!(told(&before.query_one(&of_primary, &[]).await.unwrap()), 1);
        let refused = session.query_one(&seen, &[]).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "55000", "{refused}");
    }
    standby.promote().unwrap();
    for _ in 0..8 {
        assert_eq!(told(&session.query_one(&seen, &[]).await.unwrap()), 2);
        assert_eq!(told(&before.query_one(&of_primary, &[]).await.unwrap()), 1, "nobody has stopped it");
    }
}

/// Whoever asks for a row that is absent asks twice once, and then for a while expects it.
#[tokio::test]
async fn of_absent_rows_that_follow_each_other_the_first_alone_is_asked_for_twice() {
    let server = trueup_testbed::Postgres::start(&trueup_testbed::PostgresOptions::default()).unwrap();
    server
        .query(
            "CREATE TABLE item (id bigint PRIMARY KEY, note text); INSERT INTO item VALUES (1, 'here'), (2, NULL); \
             CREATE PUBLICATION trueup FOR TABLE item",
        )
        .unwrap();
    let options = PostgresOptions { readers_max: 1, ..PostgresOptions::default() };
    let postgres = Postgres::connect(&server.url(), options).await.unwrap();
    let limit = Duration::from_secs(5);
    let options =
        RowOptions { leave_out: Vec::new(), limit, value_bytes_max: LOAD_BYTES_MAX, age_bounded: false };
    let rows = RowLoader::new(&postgres, "item", options).await.unwrap();
    // How often a row alone was asked for, and how often a row or its absence.
    let asked = async || {
        let client = postgres.shared.readers.get().await.unwrap();
        let sql = "SELECT (generic_plans + custom_plans)::bigint FROM pg_prepared_statements WHERE statement LIKE $1";
        let count = async |pattern: &str| {
            let rows = client.query(sql, &[&pattern]).await.unwrap();
            rows.iter().map(|row| row.get::<_, i64>(0)).sum::<i64>()
        };
        (
            count("SELECT pg_current_snapshot()%, substr(%").await,
            count("SELECT pg_current_snapshot()%, (SELECT substr(%").await,
        )
    };
    let load = async |id: i64| {
        let loaded = rows.load(&rows.key_form().key(&id).unwrap()).await.unwrap();
        loaded.value.map(|raw| String::from_utf8(raw.0.to_vec()).unwrap())
    };
    assert_eq!(load(1).await.as_deref(), Some(r#"{"id": 1, "note": "here"}"#));
    assert_eq!(load(2).await.as_deref(), Some(r#"{"id": 2, "note": null}"#), "a row of NULLs is a row");
    assert_eq!(asked().await, (2, 0));
    assert_eq!(load(3).await, None);
    assert_eq!(asked().await, (3, 1), "nothing came, so it was asked again for what was seen");
    assert_eq!(load(4).await, None);
    assert_eq!(load(1).await.as_deref(), Some(r#"{"id": 1, "note": "here"}"#));
    assert_eq!(asked().await, (3, 3), "one may be absent again");
    for _ in 0..63 {
        load(1).await.unwrap();
    }
    assert_eq!(asked().await, (3, 66));
    load(1).await.unwrap();
    assert_eq!(asked().await, (4, 66), "none was absent for a while");
}
