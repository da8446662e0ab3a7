//! Types as JSON, and keys of every type.

use trueup::{
    engine::source::Loader as _,
    postgres::{RowLoader, RowOptions},
};

use super::support::{connect, key, load, options, rows, server, text};

#[tokio::test(flavor = "multi_thread")]
async fn values_are_rendered_as_postgresql_renders_them_whatever_the_role_has_set() {
    let server = server(
        "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE t (id int PRIMARY KEY, i8 int8, n numeric, f float8, b bool, \
           by bytea, ts timestamptz, d date, iv interval, u uuid, j jsonb, a int[], e mood, x text); \
         INSERT INTO t VALUES (1, 9223372036854775807, 12.340, 0.1, true, '\\x00ff', '2024-05-01 12:00:00+02', '2024-05-01', \
           '1 day 2 hours', 'A0EEBC999C0B4EF8BB6D6BB9BD380A11', '{\"b\": 1, \"a\": [true]}', '{1,2}', 'ok', E'q\"\\n\u{e9}'); \
         CREATE PUBLICATION trueup FOR TABLE t",
    );
    // Each of these would change a text.
    for setting in [
        "TimeZone = 'America/New_York'",
        "DateStyle = 'German'",
        "extra_float_digits = -3",
        "bytea_output = 'escape'",
        "IntervalStyle = 'iso_8601'",
    ] {
        server.query(&format!("ALTER ROLE postgres SET {setting}")).unwrap();
    }
    let postgres = connect(&server).await;
    let loader = rows(&postgres, "t").await;
    let row = load(&loader, "1").await.unwrap();
    let expected = server
        .query(
            "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET extra_float_digits = 1; SET bytea_output = 'hex'; \
             SET IntervalStyle = 'postgres'; SELECT to_jsonb(t)::text FROM t",
        )
        .unwrap();
    assert_eq!(text(&row), Some(expected.as_str()));
    let json: serde_json::Value = serde_json::from_str(&expected).unwrap();
    assert_eq!(json["ts"], "2024-05-01T10:00:00+00:00");
    assert_eq!(json["by"], "\\x00ff");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_the_whole_row_whatever_its_columns_are_called_and_a_row_of_nulls_is_there() {
    let server = server(
        "CREATE TABLE t (id int PRIMARY KEY, l int, j text, q text, one text, value text, found bool); \
         INSERT INTO t VALUES (1, 7, 'j', 'q', 'one', 'v', false); INSERT INTO t VALUES (2); CREATE PUBLICATION trueup FOR TABLE t",
    );
    let postgres = connect(&server).await;
    let loader = rows(&postgres, "t").await;
    for id in ["1", "2"] {
        let expected = server.query(&format!("SELECT to_jsonb(t.*)::text FROM t WHERE id = {id}")).unwrap();
        assert_eq!(text(&load(&loader, id).await.unwrap()), Some(expected.as_str()));
        let many = loader.load_many(&[key(&loader, id), key(&loader, "3")]).await.unwrap();
        let texts: Vec<Option<&[u8]>> =
            many.values.iter().map(|(value, _)| value.as_ref().map(|raw| raw.0.as_ref())).collect();
        assert_eq!(texts, [Some(expected.as_bytes()), None]);
    }
    assert_eq!(text(&load(&loader, "3").await.unwrap()), None);
    // Without its key, a row of NULLs alone is still no absent row.
    let keyless = RowOptions { leave_out: vec!["id".to_owned()], ..options() };
    let loader = RowLoader::new(&postgres, "t", keyless).await.unwrap();
    let nulls = load(&loader, "2").await.unwrap();
    assert!(text(&nulls).is_some_and(|text| text.contains(r#""l": null"#)), "{:?}", text(&nulls));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_type_without_a_canonical_text_depends_on_the_whole_table() {
    let server = server(
        "CREATE TABLE day (day date PRIMARY KEY, note text); INSERT INTO day VALUES ('2024-05-01', 'x'); \
         CREATE PUBLICATION trueup FOR TABLE day",
    );
    let postgres = connect(&server).await;
    let loader = rows(&postgres, "day").await;
    let row = load(&loader, "2024-05-01").await.unwrap();
    assert_eq!(text(&row), Some(r#"{"day": "2024-05-01", "note": "x"}"#));
    let tags =
        [trueup::engine::proof::Tag::any("public.day"), trueup::engine::proof::Tag::wide("public.day")];
    assert_eq!(&row.tags[..], tags);
    let error = load(&loader, "yesterday-ish").await.unwrap_err().to_string();
    assert!(error.contains("a value does not fit its type") && !error.contains("ish"), "{error}");
}
