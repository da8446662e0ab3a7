//! What the server makes of statements that are run for ever.

use std::{collections::BTreeMap, time::Duration};

use trueup_core::{
    key::{ColumnForm, KeyForm, Part},
    source::Loader as _,
};

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
