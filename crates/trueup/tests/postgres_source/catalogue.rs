//! DDL moves the catalogue of the classes that read what was altered, and of no others.

use std::collections::BTreeMap;

use trueup::{
    engine::{
        key::{ColumnForm, KeyForm, Part},
        proof::Tag,
        source::Loader as _,
    },
    postgres::{LOAD_BYTES_MAX, QueryLoader, QueryOptions},
};

use super::support::{LIMIT, connect, load, rows, server, text};

const SHOP: &str = "CREATE TABLE product (id int PRIMARY KEY, name text); CREATE TABLE other (id int PRIMARY KEY); \
    INSERT INTO product VALUES (1, 'cup'); INSERT INTO other VALUES (1); CREATE PUBLICATION trueup FOR TABLE product, other";

#[tokio::test(flavor = "multi_thread")]
async fn each_alteration_moves_the_digest_of_what_reads_the_table_and_of_nothing_else() {
    let server = server(SHOP);
    let postgres = connect(&server).await;
    let (product, other) = (rows(&postgres, "product").await, rows(&postgres, "other").await);
    let (catalogue, untouched) = (product.catalogue(), other.catalogue());
    let mut last = catalogue.digest();
    let still = untouched.digest();
    assert_ne!(last, still);
    for ddl in [
        "ALTER TABLE product ADD COLUMN price int DEFAULT 5",
        "ALTER TABLE product DROP COLUMN price",
        "ALTER TABLE product RENAME COLUMN name TO title",
        "ALTER TABLE product ALTER COLUMN title TYPE varchar(20)",
        "ALTER PUBLICATION trueup DROP TABLE product; ALTER PUBLICATION trueup ADD TABLE product",
        "CREATE POLICY all_of_it ON product USING (true)",
        "ALTER TABLE product REPLICA IDENTITY FULL",
        "ALTER PUBLICATION trueup DROP TABLE product; ALTER TABLE product SET UNLOGGED; ALTER TABLE product SET LOGGED; ALTER PUBLICATION trueup ADD TABLE product",
        "TRUNCATE product",
        "DROP TABLE product; CREATE TABLE product (id int PRIMARY KEY, name text); \
         ALTER PUBLICATION trueup ADD TABLE product; INSERT INTO product VALUES (1, 'new')",
    ] {
        assert!(!postgres.catalogue_altered().await.unwrap(), "before {ddl}");
        server.query(ddl).unwrap();
        assert!(postgres.catalogue_altered().await.unwrap(), "{ddl}");
        postgres.look_at_catalogue().await.unwrap();
        assert_ne!(catalogue.digest(), last, "{ddl}");
        assert_eq!(untouched.digest(), still, "{ddl}");
        last = catalogue.digest();
    }
    assert_eq!(text(&load(&product, "1").await.unwrap()), Some(r#"{"id": 1, "name": "new"}"#));
    // What shapes nothing moves nothing.
    for sql in [
        "ANALYZE product",
        "VACUUM product",
        "CREATE INDEX ON product (name)",
        "INSERT INTO product SELECT g, 'x' FROM generate_series(2, 100) g",
        "CREATE TABLE third (id int)",
        "VACUUM FREEZE pg_class",
    ] {
        server.query(sql).unwrap();
        assert!(!postgres.catalogue_altered().await.unwrap(), "{sql}");
    }
    // All of it is gone from the publication: nobody would tell.
    server.query("ALTER PUBLICATION trueup DROP TABLE product").unwrap();
    postgres.look_at_catalogue().await.unwrap();
    let error = load(&product, "1").await.unwrap_err().to_string();
    assert!(error.contains("its changes are not published"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_notices_a_column_that_went_by_itself_and_the_next_ask_still_says_that_it_moved() {
    let server = server(SHOP);
    let postgres = connect(&server).await;
    let product = rows(&postgres, "product").await;
    server.query("ALTER TABLE product RENAME COLUMN name TO title").unwrap();
    assert_eq!(text(&load(&product, "1").await.unwrap()), Some(r#"{"id": 1, "title": "cup"}"#));
    assert!(postgres.catalogue_altered().await.unwrap(), "the feed has yet to be told");
    postgres.look_at_catalogue().await.unwrap();
    assert!(!postgres.catalogue_altered().await.unwrap());
    // So it is when a class is opened in between.
    let digest = product.catalogue().digest();
    server.query("ALTER TABLE product ADD COLUMN price int").unwrap();
    rows(&postgres, "other").await;
    assert_ne!(product.catalogue().digest(), digest);
    assert!(postgres.catalogue_altered().await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaf_that_is_attached_or_detached_moves_its_root() {
    let server = server(
        "CREATE TABLE event (id int PRIMARY KEY) PARTITION BY RANGE (id); \
         CREATE TABLE event_low PARTITION OF event FOR VALUES FROM (0) TO (10); \
         CREATE PUBLICATION trueup FOR TABLE event",
    );
    let postgres = connect(&server).await;
    let event = rows(&postgres, "event").await;
    for ddl in [
        "CREATE TABLE event_high PARTITION OF event FOR VALUES FROM (10) TO (20)",
        "ALTER TABLE event DETACH PARTITION event_low",
    ] {
        let digest = event.catalogue().digest();
        server.query(ddl).unwrap();
        assert!(postgres.catalogue_altered().await.unwrap(), "{ddl}");
        postgres.look_at_catalogue().await.unwrap();
        assert_ne!(event.catalogue().digest(), digest, "{ddl}");
    }
    server.query("INSERT INTO event VALUES (15)").unwrap();
    assert!(load(&event, "15").await.unwrap().value.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_takes_the_place_of_a_name_moves_what_is_read_by_that_name() {
    let server = server(SHOP);
    let postgres = connect(&server).await;
    let form = KeyForm::columns([Part::new("id", ColumnForm::Integer)]).unwrap();
    let options = QueryOptions {
        many: false,
        limit: LIMIT,
        value_bytes_max: LOAD_BYTES_MAX,
        age_bounded: false,
        tables: None,
        groups: BTreeMap::new(),
    };
    let sql = "SELECT name FROM product WHERE id = :id";
    let loader = QueryLoader::new(&postgres, sql, form.clone(), options).await.unwrap();
    assert_eq!(loader.dependencies().tables, ["public.product"]);
    // Another session's temporary table takes nobody's place.
    server.query("CREATE TEMPORARY TABLE product (id int); SELECT 1").unwrap();
    assert!(!postgres.catalogue_altered().await.unwrap());
    // The schema of the role's own name comes before `public`.
    server
        .query(
            "CREATE SCHEMA postgres; CREATE TABLE postgres.product (id int PRIMARY KEY, name text); \
             INSERT INTO postgres.product VALUES (1, 'mine'); ALTER PUBLICATION trueup ADD TABLE postgres.product",
        )
        .unwrap();
    assert!(postgres.catalogue_altered().await.unwrap());
    postgres.look_at_catalogue().await.unwrap();
    assert_eq!(loader.dependencies().tables, ["postgres.product"]);
    let loaded = loader.load(&form.parse("1").unwrap()).await.unwrap();
    assert_eq!(&loaded.value.unwrap().0[..], br#"{"name": "mine"}"#);
    assert_eq!(&loaded.tags[..], [Tag::any("postgres.product")]);
    // A path that is set meanwhile is for handles that are made later.
    server.query("ALTER ROLE postgres SET search_path = nowhere").unwrap();
    let path = postgres.write(async |tx| tx.query_row("SHOW search_path", &[]).await).await.unwrap().0;
    assert_eq!(path.unwrap().get::<_, &str>(0), "\"$user\", public");
}
