//! Declared queries: what they answer, and what they are found to depend on.

use std::collections::BTreeMap;

use trueup::{
    engine::{
        key::{ColumnForm, Dimension, KeyForm, Part},
        proof::Tag,
        source::{LoadError, Loader as _},
        write::LockingRead as _,
    },
    postgres::{GroupSpec, LOAD_BYTES_MAX, Postgres, PostgresError, QueryLoader, QueryOptions},
};

use super::support::{LIMIT, connect, server};

const SHOP: &str = "CREATE TABLE product (id int PRIMARY KEY, shop int, name char(4), price numeric); \
    CREATE TABLE sale (id int PRIMARY KEY, product int, n int); CREATE TABLE hidden (id int PRIMARY KEY); \
    INSERT INTO product VALUES (1, 7, 'cup', 2.50), (2, 7, 'pot', 9), (3, 8, 'pan', 20); \
    INSERT INTO sale VALUES (1, 1, 10), (2, 1, 5); CREATE VIEW sold AS SELECT product, sum(n) AS n FROM sale GROUP BY product; \
    CREATE VIEW inner_locks AS SELECT * FROM product FOR UPDATE; \
    CREATE TABLE guarded (id int PRIMARY KEY); ALTER TABLE guarded ENABLE ROW LEVEL SECURITY; \
    CREATE POLICY mine ON guarded USING (EXISTS (SELECT FROM product WHERE product.id = guarded.id)); \
    CREATE TABLE event (id int PRIMARY KEY) PARTITION BY RANGE (id); \
    CREATE TABLE event_low PARTITION OF event FOR VALUES FROM (0) TO (10); \
    CREATE FUNCTION twice(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 * 2'; \
    CREATE FUNCTION peek() RETURNS bigint VOLATILE LANGUAGE sql AS 'SELECT count(*) FROM sale'; \
    CREATE FUNCTION takes_an_id() RETURNS text VOLATILE LANGUAGE sql AS 'SELECT pg_current_xact_id()::text'; \
    CREATE PUBLICATION trueup FOR TABLE product, sale, guarded, event";

fn options(many: bool) -> QueryOptions {
    QueryOptions {
        many,
        limit: LIMIT,
        value_bytes_max: LOAD_BYTES_MAX,
        age_bounded: false,
        tables: None,
        groups: BTreeMap::new(),
    }
}

fn by_id() -> KeyForm {
    KeyForm::columns([Part::new("id", ColumnForm::Integer)]).unwrap()
}

async fn query(postgres: &Postgres, sql: &str, options: QueryOptions) -> Result<QueryLoader, PostgresError> {
    QueryLoader::new(postgres, sql, by_id(), options).await
}

async fn answer(loader: &QueryLoader, key: &str) -> Result<Option<String>, LoadError> {
    let loaded = loader.load(&loader.key_form().parse(key).unwrap()).await?;
    Ok(loaded.value.map(|raw| String::from_utf8(raw.0.to_vec()).unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_row_is_an_object_and_many_are_an_array_in_the_order_of_the_query() {
    let server = server(SHOP);
    let postgres = connect(&server).await;
    let sql = "SELECT p.id, p.name, coalesce(s.n, 0) AS sold FROM product p LEFT JOIN sold s ON s.product = p.id \
        WHERE p.id = :id; -- :no";
    let one = query(&postgres, sql.split(" --").next().unwrap(), options(false)).await.unwrap();
    assert_eq!(one.dependencies().tables, ["public.product", "public.sale"]);
    let expected = r#"{"id": 1, "name": "cup ", "sold": 15}"#;
    assert_eq!(answer(&one, "1").await.unwrap().as_deref(), Some(expected));
    assert_eq!(answer(&one, "9").await.unwrap(), None);
    let sql = "SELECT id FROM product WHERE shop = :id::int ORDER BY price DESC LIMIT 10";
    let many = query(&postgres, sql, options(true)).await.unwrap();
    assert_eq!(answer(&many, "7").await.unwrap().as_deref(), Some(r#"[{"id": 2}, {"id": 1}]"#));
    assert_eq!(answer(&many, "9").await.unwrap().as_deref(), Some("[]"));
    let several = query(&postgres, sql, options(false)).await.unwrap();
    let error = answer(&several, "7").await.unwrap_err().to_string();
    assert!(error.contains("returned several rows"), "{error}");
    let keys: Vec<_> = ["7", "9", "8", "7"].map(|key| many.key_form().parse(key).unwrap()).into();
    let loaded = many.load_many(&keys).await.unwrap();
    let texts: Vec<_> =
        loaded.values.iter().map(|(raw, _)| std::str::from_utf8(&raw.as_ref().unwrap().0).unwrap()).collect();
    assert_eq!(texts, [r#"[{"id": 2}, {"id": 1}]"#, "[]", r#"[{"id": 3}]"#, r#"[{"id": 2}, {"id": 1}]"#]);
    assert_eq!(&loaded.values[1].1[..], [Tag::any("public.product")]);
    // What is too much is given up while it arrives, not when all of it is there.
    let tight = QueryOptions { value_bytes_max: 1_000, ..options(true) };
    let endless = "SELECT g, repeat('x', 100) AS x FROM generate_series(1, 200000) g, product WHERE id = :id";
    let endless = query(&postgres, endless, tight).await.unwrap();
    let error = answer(&endless, "1").await.unwrap_err();
    assert!(matches!(error, LoadError::TooLarge { bytes, .. } if bytes < 2 << 20), "{error}");
    // A limit of its own travels with the load and is gone after it.
    let short =
        QueryOptions { limit: std::time::Duration::from_millis(200), age_bounded: true, ..options(true) };
    let slow = query(&postgres, "SELECT pg_sleep(:id::int)::text AS s", short).await.unwrap();
    assert_eq!(answer(&slow, "5").await.unwrap_err(), LoadError::TimedOut { limit_ms: 200 });
    assert_eq!(answer(&many, "9").await.unwrap().as_deref(), Some("[]"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_nulls_alone_is_no_absent_row() {
    let server = server(SHOP);
    let postgres = connect(&server).await;
    let sql = "SELECT nullif(id, id) AS a, nullif(shop, shop) AS b FROM product WHERE id = :id";
    for (many, nulls, absent) in [
        (false, r#"{"a": null, "b": null}"#, None),
        (true, r#"[{"a": null, "b": null}]"#, Some("[]".to_owned())),
    ] {
        let loader = query(&postgres, sql, options(many)).await.unwrap();
        assert_eq!(answer(&loader, "1").await.unwrap().as_deref(), Some(nulls));
        assert_eq!(answer(&loader, "9").await.unwrap(), absent);
        let keys = ["9", "1"].map(|key| loader.key_form().parse(key).unwrap());
        let loaded = loader.load_many(&keys).await.unwrap().values.into_iter();
        let texts: Vec<_> =
            loaded.map(|(raw, _)| raw.map(|raw| String::from_utf8(raw.0.to_vec()).unwrap())).collect();
        assert_eq!(texts, [absent, Some(nulls.to_owned())]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_proven_or_seen_is_refused_with_the_reason() {
    let server = server(SHOP);
    let postgres = connect(&server).await;
    for (sql, reason) in [
        ("SELECT * FROM product WHERE id = :other", "parameter `:other`, which is neither a key part"),
        ("SELECT * FROM nowhere", "cannot be compiled: relation \"nowhere\" does not exist"),
        ("SELECT 1 AS a; SELECT 2 AS b", "cannot be compiled: cannot insert multiple commands"),
        ("UPDATE product SET price = 0 RETURNING id", "is not a SELECT"),
        ("WITH gone AS (DELETE FROM sale RETURNING id) SELECT * FROM gone", "data-modifying"),
        ("SELECT 1 AS a, 2 AS a", "two columns called `a`"),
        ("SELECT * FROM product WHERE id = :id FOR UPDATE", "locks rows"),
        ("SELECT * FROM inner_locks", "locks rows"),
        ("SELECT * FROM hidden", "reads `public.hidden`: its changes are not published"),
        ("SELECT relname FROM pg_class", "reads `pg_catalog.pg_class`, PostgreSQL's own"),
        ("SELECT now() AS at, id FROM product", "it calls now()"),
        ("SELECT id FROM product WHERE price > random()", "it calls random()"),
        ("SELECT current_date AS d FROM product", "CURRENT_TIMESTAMP, CURRENT_USER or the like"),
        ("SELECT name::text::timestamptz AS t FROM product", "it reads text as timestamptz"),
        ("SELECT id FROM product TABLESAMPLE SYSTEM (50)", "may answer differently each time"),
        ("SELECT id FROM guarded", "row security is on for `public.guarded`"),
        ("SELECT peek() AS n", "it calls peek()"),
    ] {
        let error = query(&postgres, sql, options(true)).await.unwrap_err();
        assert!(matches!(error, PostgresError::Query { .. }), "{sql}: {error}");
        assert!(error.to_string().contains(reason), "{sql}: {error}");
    }
    let declared = QueryOptions { tables: Some(vec!["product".into()]), ..options(true) };
    let error = query(&postgres, "SELECT p.id FROM product p, sold", declared).await.unwrap_err().to_string();
    assert!(error.contains("reads table `public.sale`, which its declaration leaves out"), "{error}");
    // Immutable functions of one's own are taken at their word; partitions and policies are followed.
    let own = query(&postgres, "SELECT twice(id) AS n FROM event", options(true)).await.unwrap();
    assert_eq!(own.dependencies().tables, ["public.event"]);
    let bounded = QueryOptions { age_bounded: true, ..options(true) };
    let guarded = query(&postgres, "SELECT id FROM guarded", bounded.clone()).await.unwrap();
    let tables = guarded.dependencies().tables;
    assert!(
        tables.contains(&"public.guarded".to_owned()) && tables.contains(&"public.product".to_owned()),
        "{tables:?}"
    );
    // Volatile functions see the statement's snapshot, and may not take an id.
    let volatile = query(&postgres, "SELECT peek() AS n", bounded.clone()).await.unwrap();
    assert_eq!(answer(&volatile, "1").await.unwrap().as_deref(), Some(r#"[{"n": 2}]"#));
    let wrote = query(&postgres, "SELECT takes_an_id() AS n", bounded.clone()).await.unwrap();
    let error = answer(&wrote, "1").await.unwrap_err();
    assert!(matches!(error, LoadError::Refused(_)), "{error}");
    let writes = query(&postgres, "SELECT lo_create(0) AS n", bounded).await.unwrap();
    assert!(matches!(answer(&writes, "1").await.unwrap_err(), LoadError::Refused(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_group_stands_for_the_table_and_needs_its_old_values_told() {
    let server = server(SHOP);
    server
        .query(
            "CREATE SCHEMA trueup; CREATE TABLE trueup.groups (relation text, name text, columns text[], PRIMARY KEY (relation, name)); \
             INSERT INTO trueup.groups VALUES ('public.product', 'shop', '{shop}')",
        )
        .unwrap();
    let postgres = connect(&server).await;
    let form = KeyForm::columns([Part::new("shop", ColumnForm::Integer)])
        .unwrap()
        .scoped_by([Dimension::new("lang", ColumnForm::Text(Default::default()))])
        .unwrap();
    let group = GroupSpec { name: "shop".into(), columns: vec!["shop".into()] };
    let grouped = QueryOptions { groups: BTreeMap::from([("product".to_owned(), group)]), ..options(true) };
    let sql = "SELECT id, :lang::text AS lang FROM product WHERE shop = :shop ORDER BY id";
    let refused =
        QueryLoader::new(&postgres, sql, form.clone(), grouped.clone()).await.unwrap_err().to_string();
    assert!(refused.contains("REPLICA IDENTITY FULL"), "{refused}");
    server.query("ALTER TABLE product REPLICA IDENTITY FULL").unwrap();
    let loader = QueryLoader::new(&postgres, sql, form, grouped).await.unwrap();
    let loaded = loader.load(&loader.key_form().parse("@lang=de:07").unwrap()).await.unwrap();
    assert_eq!(&loaded.tags[..], [Tag::group("public.product", "shop", ["7"]), Tag::wide("public.product")]);
    assert_eq!(&loader.whole()[..], [Tag::wide("public.product")]);
    let text = String::from_utf8(loaded.value.unwrap().0.to_vec()).unwrap();
    assert_eq!(text, r#"[{"id": 1, "lang": "de"}, {"id": 2, "lang": "de"}]"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_answer_locks_the_rows_it_is_made_of() {
    let server = server(SHOP);
    let postgres = connect(&server).await;
    let loader =
        query(&postgres, "SELECT id, price FROM product WHERE shop = :id::int ORDER BY id", options(true))
            .await
            .unwrap();
    let seven = loader.key_form().parse("7").unwrap();
    postgres
        .write(async |tx| {
            let read = tx.reads(&loader).read_locked(&seven).await.unwrap().unwrap();
            assert_eq!(&read.0[..], br#"[{"id": 1, "price": 2.50}, {"id": 2, "price": 9}]"#);
            let free = "SELECT count(*) FROM (SELECT FROM product FOR UPDATE SKIP LOCKED) f";
            assert_eq!(server.query(free).unwrap(), "1");
            Ok::<_, ()>(())
        })
        .await
        .unwrap();
}
