//! One row, several rows, absent ones, large ones, slow ones.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use trueup::{
    engine::{
        proof::{Snapshot, Tag},
        source::{LoadError, Loader as _},
    },
    postgres::{PostgresError, RowLoader, RowOptions, discover},
};

use super::support::{connect, key, load, options, rows, server, text, until_answers};

const SHOP: &str = "CREATE TABLE product (id int PRIMARY KEY, name text, secret text); \
    INSERT INTO product VALUES (1, 'cup', 'x'), (2, NULL, 'y'); CREATE PUBLICATION trueup FOR TABLE product";

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_what_to_jsonb_makes_of_it_and_an_absent_one_is_told_apart_from_nulls() {
    let server = server(SHOP);
    let postgres = connect(&server).await;
    let options = RowOptions { leave_out: vec!["secret".into()], ..options() };
    let loader = RowLoader::new(&postgres, "product", options).await.unwrap();
    let cup = load(&loader, "01").await.unwrap();
    assert_eq!(text(&cup), Some(r#"{"id": 1, "name": "cup"}"#));
    assert_eq!(&cup.tags[..], [Tag::row("public.product", ["1"]), Tag::wide("public.product")]);
    assert_eq!(text(&load(&loader, "2").await.unwrap()), Some(r#"{"id": 2, "name": null}"#));
    let absent = load(&loader, "3").await.unwrap();
    assert_eq!(text(&absent), None);
    assert_eq!(&absent.tags[..], [Tag::row("public.product", ["3"]), Tag::wide("public.product")]);
    // Beyond the column's type: there can be no such row.
    assert_eq!(text(&load(&loader, "5000000000").await.unwrap()), None);
    let upper: u64 =
        server.query("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn").unwrap().parse().unwrap();
    assert!(cup.seen.upper.0 > 0 && absent.seen.upper.0 <= upper);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_rows_are_one_state_under_concurrent_transfers() {
    let server = server(
        "CREATE TABLE account (tenant text, id int, balance int, PRIMARY KEY (tenant, id)); \
         INSERT INTO account SELECT 'a', g, 100 FROM generate_series(1, 10) g; \
         CREATE PUBLICATION trueup FOR TABLE account",
    );
    let postgres = connect(&server).await;
    let loader = rows(&postgres, "account").await;
    let keys: Vec<_> = (1..=11).map(|id| key(&loader, &format!("a,{id}"))).collect();
    let stop = AtomicBool::new(false);
    let transfers = async {
        let mut id = 0;
        while !stop.load(Ordering::Relaxed) {
            id = id % 9 + 1;
            let sql = format!(
                "UPDATE account SET balance = balance + CASE id WHEN {id} THEN -7 ELSE 7 END WHERE id IN ({id}, {})",
                id + 1
            );
            postgres.write(async |tx| tx.execute(&sql, &[]).await).await.unwrap();
        }
    };
    let reads = async {
        for _ in 0..300 {
            let many = loader.load_many(&keys).await.unwrap();
            assert!(matches!(many.seen.snapshot, Snapshot::Xids(_)));
            assert!(many.values[10].0.is_none(), "in the order asked");
            let balance = |(value, _): &(Option<trueup::Raw>, _)| {
                let row: serde_json::Value = serde_json::from_slice(&value.as_ref()?.0).unwrap();
                row["balance"].as_i64()
            };
            assert_eq!(many.values.iter().filter_map(balance).sum::<i64>(), 1000, "half a transfer was seen");
        }
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(transfers, reads);
    let none = loader.load_many(&[]).await.unwrap();
    assert!(none.values.is_empty() && none.seen.upper.0 > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_or_too_slow_is_given_up_and_the_next_load_is_served() {
    let server = server(SHOP);
    server.query("UPDATE product SET name = repeat('x', 5000) WHERE id = 2").unwrap();
    let postgres = connect(&server).await;
    let tight = RowOptions { value_bytes_max: 1000, limit: Duration::from_millis(300), ..options() };
    let loader = RowLoader::new(&postgres, "product", tight).await.unwrap();
    let error = load(&loader, "2").await.unwrap_err();
    assert!(matches!(error, LoadError::TooLarge { bytes, limit: 1000 } if bytes > 1000), "{error}");
    let mut blocker = server.psql();
    blocker.args(["-c", "BEGIN; LOCK TABLE product; SELECT pg_sleep(3); COMMIT"]);
    let mut blocker = blocker.stdout(std::process::Stdio::null()).spawn().unwrap();
    let locked = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND relation = 'product'::regclass";
    until_answers(&server, locked, "1");
    let error = load(&loader, "1").await.unwrap_err();
    assert_eq!(error, LoadError::TimedOut { limit_ms: 300 });
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'trueup' AND wait_event_type = 'Lock'";
    until_answers(&server, waiting, "0");
    blocker.kill().unwrap();
    blocker.wait().unwrap();
    until_answers(&server, locked, "0");
    assert!(text(&load(&loader, "1").await.unwrap()).unwrap().contains("cup"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_cannot_be_served_are_refused_with_the_fix() {
    let server = server(
        "CREATE TABLE plain (id int PRIMARY KEY); CREATE TABLE keyless (id int); CREATE UNLOGGED TABLE fast (id int PRIMARY KEY); \
         CREATE VIEW seen AS SELECT * FROM plain; CREATE MATERIALIZED VIEW made AS SELECT * FROM plain; \
         CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child () INHERITS (parent); \
         CREATE TABLE guarded (id int PRIMARY KEY); ALTER TABLE guarded ENABLE ROW LEVEL SECURITY; \
         CREATE TABLE blind (id int PRIMARY KEY, u int NOT NULL UNIQUE); \
         ALTER TABLE blind REPLICA IDENTITY USING INDEX blind_u_key; \
         CREATE TABLE partly (id int PRIMARY KEY); \
         CREATE PUBLICATION trueup FOR TABLE guarded, blind, parent, partly WHERE (id > 5)",
    );
    let postgres = connect(&server).await;
    for (table, reason) in [
        ("nowhere", "there is no such table; check the name"),
        ("plain", "its changes are not published; run `trueup init --apply`"),
        ("keyless", "has no primary key"),
        ("fast", "unlogged"),
        ("seen", "a view holds no rows of its own"),
        ("made", "materialized"),
        ("parent", "rows of its child tables show in it"),
        ("guarded", "row security"),
        ("blind", "REPLICA IDENTITY DEFAULT"),
        ("partly", "a row filter"),
    ] {
        let error = RowLoader::new(&postgres, table, options()).await.unwrap_err();
        assert!(matches!(error, PostgresError::Table { .. }), "{table}: {error}");
        assert!(error.to_string().contains(reason), "{table}: {error}");
    }
    let bounded = RowOptions { age_bounded: true, ..options() };
    RowLoader::new(&postgres, "guarded", bounded).await.unwrap();
    let names: Vec<String> = discover(&postgres).await.unwrap().into_iter().map(|table| table.name).collect();
    assert!(
        names.contains(&"public.seen".to_owned()) && names.contains(&"public.plain".to_owned()),
        "{names:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partitioned_table_is_served_by_its_key_and_its_leaves_too() {
    let server = server(
        "CREATE TABLE event (shop int, id int, note text, PRIMARY KEY (shop, id)) PARTITION BY LIST (shop); \
         CREATE TABLE event_1 PARTITION OF event FOR VALUES IN (1); \
         CREATE TABLE event_2 PARTITION OF event FOR VALUES IN (2) PARTITION BY RANGE (id); \
         CREATE TABLE event_2_low PARTITION OF event_2 FOR VALUES FROM (0) TO (10); \
         INSERT INTO event VALUES (1, 1, 'a'), (2, 5, 'b'); CREATE PUBLICATION trueup FOR TABLE event",
    );
    let postgres = connect(&server).await;
    for (table, keys) in [("event", ["1,1", "2,5"]), ("event_2_low", ["2,5", "2,5"])] {
        let loader = rows(&postgres, table).await;
        let last = load(&loader, keys[1]).await.unwrap();
        assert_eq!(text(&last), Some(r#"{"id": 5, "note": "b", "shop": 2}"#));
        assert_eq!(last.tags[0], Tag::row(&format!("public.{table}"), ["2", "5"]));
        assert!(load(&loader, keys[0]).await.unwrap().value.is_some());
    }
}
