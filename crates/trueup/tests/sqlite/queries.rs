//! What a query depends on is found, not believed.

use std::{collections::BTreeMap, time::Duration};

use trueup::sqlite::{FeedPlan, GroupSpec, InstallOptions, Narrow, QueryLoader, QueryOptions, Sqlite};
use trueup_core::{
    key::{Affinity, Collation, ColumnForm, KeyForm, OwnedSqlValue, Part},
    proof::{Tag, Unproven},
    source::{LoadError, Loader as _},
};

use crate::node::{Database, PATIENCE};

const SHOP: &str = "CREATE TABLE product(id INTEGER PRIMARY KEY, category INTEGER, name TEXT, price REAL);
    CREATE TABLE category(id INTEGER PRIMARY KEY, name TEXT);
    CREATE TABLE secret_plan(id INTEGER PRIMARY KEY);
    CREATE VIEW shelf AS SELECT p.id, p.name, c.name AS category, c.id AS cid
        FROM product p JOIN category c ON c.id = p.category;
    CREATE VIRTUAL TABLE words USING fts5(body);
    INSERT INTO category VALUES (1, 'tea'), (2, 'pots');
    INSERT INTO product VALUES (1, 1, 'Assam', 4.5), (2, 1, 'Sencha', 6), (3, 2, 'Kyusu', 40);";

fn options(many: bool) -> QueryOptions {
    QueryOptions {
        many,
        limit: Duration::from_secs(5),
        value_bytes_max: 1 << 20,
        age_bounded: false,
        tables: None,
        groups: BTreeMap::new(),
    }
}

fn form(names: &[&str]) -> KeyForm {
    let number = ColumnForm::Sqlite { affinity: Affinity::Integer, collation: Collation::Binary };
    KeyForm::columns(names.iter().map(|name| Part::new(*name, number))).unwrap()
}

fn shop() -> (Database, Sqlite) {
    let database = Database::bare(SHOP);
    let group = GroupSpec { name: "category".into(), columns: vec!["category".into()] };
    let tables = Some(vec!["product".to_owned(), "category".to_owned()]);
    let groups = BTreeMap::from([("product".to_owned(), vec![group])]);
    let options = InstallOptions { tables, groups, ..InstallOptions::default() };
    FeedPlan::new(&database.path, &options).unwrap().apply().unwrap();
    let sqlite = database.open();
    (database, sqlite)
}

/// The tables found, or the complaint.
fn found(sqlite: &Sqlite, sql: &str) -> Result<Vec<String>, String> {
    let loader =
        QueryLoader::new(sqlite, sql, form(&["id"]), options(true)).map_err(|error| error.to_string())?;
    Ok(loader.dependencies().tables.clone())
}

#[test]
fn tables_are_found_through_views_subqueries_and_common_tables() {
    let (_database, sqlite) = shop();
    for (sql, tables) in [
        ("SELECT name FROM product WHERE id = :id", vec!["product"]),
        ("SELECT name FROM shelf WHERE id = :id", vec!["category", "product"]),
        ("SELECT count(*) AS n FROM product", vec!["product"]),
        ("SELECT 1 AS one WHERE EXISTS (SELECT 1 FROM category WHERE id = :id)", vec!["category"]),
        (
            "WITH cheap AS (SELECT * FROM product WHERE price < 5) SELECT count(*) AS n FROM cheap",
            vec!["product"],
        ),
        (
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT i FROM n",
            vec![],
        ),
        ("SELECT value FROM json_each('[1,2]')", vec![]),
    ] {
        assert_eq!(found(&sqlite, sql), Ok(tables.into_iter().map(str::to_owned).collect()), "{sql}");
    }
}

#[test]
fn what_cannot_be_proven_is_refused_with_the_reason() {
    let (_database, sqlite) = shop();
    for (sql, reason) in [
        ("SELECT id FROM secret_plan", "not followed; run `trueup init --apply`"),
        ("SELECT name FROM sqlite_master", "SQLite's own table"),
        ("SELECT body FROM words WHERE words MATCH 'x'", "virtual tables"),
        ("SELECT random() AS r FROM product", "random()"),
        ("SELECT date('now') AS d", "date()"),
        ("SELECT CURRENT_TIMESTAMP AS t", "current_timestamp()"),
        ("SELECT changes() AS c", "changes()"),
        ("SELECT name FROM pragma_table_info('product')", "table function"),
        ("DELETE FROM product", "only SELECT is allowed"),
        ("SELECT 1 AS one; SELECT 2 AS two", "several statements"),
        ("PRAGMA user_version", "only SELECT is allowed"),
        ("SELECT name FROM product WHERE id = ?", "parameter without a name"),
        ("SELECT name FROM product WHERE id = :nr", "neither a key part"),
        ("SELECT p.name, c.name FROM product p, category c", "two columns called `name`"),
        ("SELECT weight FROM product", "no such column"),
    ] {
        let refusal = found(&sqlite, sql).unwrap_err();
        assert!(refusal.contains(reason), "{sql}: {refusal}");
    }
    let declared = QueryOptions { tables: Some(vec!["product".into()]), ..options(true) };
    let error = QueryLoader::new(&sqlite, "SELECT name FROM shelf", form(&[]), declared).unwrap_err();
    assert!(error.to_string().contains("table `category`, which its declaration leaves out"), "{error}");
}

#[tokio::test]
async fn answers_are_rows_or_lists_and_carry_the_tables() {
    let (_database, sqlite) = shop();
    let sql = "SELECT name, price FROM product WHERE category = :id ORDER BY id";
    let list = QueryLoader::new(&sqlite, sql, form(&["id"]), options(true)).unwrap();
    let loaded = list.load(&list.key_form().parse("1").unwrap()).await.unwrap();
    let json = br#"[{"name":"Assam","price":4.5},{"name":"Sencha","price":6.0}]"#;
    assert_eq!(&**loaded.value.as_ref().unwrap(), json);
    assert_eq!(loaded.tags.as_slice(), [Tag::any("product")]);
    let none = list.load(&list.key_form().parse("9").unwrap()).await.unwrap();
    assert_eq!(&**none.value.as_ref().unwrap(), b"[]");

    let one = QueryLoader::new(&sqlite, sql, form(&["id"]), options(false)).unwrap();
    let key = |text| one.key_form().parse(text).unwrap();
    assert_eq!(&*one.load(&key("2")).await.unwrap().value.unwrap(), br#"{"name":"Kyusu","price":40.0}"#);
    assert!(one.load(&key("9")).await.unwrap().value.is_none());
    let error = one.load(&key("1")).await.unwrap_err();
    assert!(matches!(&error, LoadError::Refused(why) if why.contains("several rows")), "{error}");
}

#[tokio::test]
async fn a_group_is_raised_for_old_and_new_values_alone() {
    let (database, sqlite) = shop();
    let group = GroupSpec { name: "category".into(), columns: vec!["category".into()] };
    let options = QueryOptions { groups: BTreeMap::from([("product".to_owned(), group)]), ..options(true) };
    let sql = "SELECT name FROM product WHERE category = :category";
    let loader = QueryLoader::new(&sqlite, sql, form(&["category"]), options).unwrap();
    let loaded = loader.load(&loader.key_form().parse("1").unwrap()).await.unwrap();
    let tag = |category| Tag::group("product", "category", [category]);
    assert_eq!(loaded.tags.as_slice(), [tag("1"), Tag::wide("product")]);

    let node = database.node().await;
    let [old, new, other] = ["1", "3", "2"].map(|category| node.entry(tag(category)));
    database.program().execute("UPDATE product SET category = 3 WHERE id = 1", []).unwrap();
    node.catch_up().await;
    assert_eq!(node.check(&old), Err(Unproven::Changed));
    assert_eq!(node.check(&new), Err(Unproven::Changed));
    assert_eq!(node.check(&other), Ok(()));
    node.stop().await;
}

#[tokio::test]
async fn a_closure_is_watched_each_time_it_compiles_something_new() {
    let (_database, sqlite) = shop();
    let loader = sqlite
        .loader(PATIENCE, |conn, id: &i64| {
            let mut statement = conn.prepare_cached("SELECT name FROM product WHERE id = ?1")?;
            let name = statement.query_row([id], |row| row.get::<_, String>(0))?;
            // Another table on one branch alone.
            let sql = "SELECT name FROM category WHERE id = 2";
            let suffix = if *id == 3 { conn.query_row(sql, [], |row| row.get(0))? } else { String::new() };
            Ok(Some(name + &suffix))
        })
        .build();
    let first = loader.load(&1).await.unwrap();
    assert_eq!((first.value.as_deref(), first.tags.as_slice()), (Some("Assam"), &[Tag::any("product")][..]));
    let branch = loader.load(&3).await.unwrap();
    assert_eq!(branch.value.as_deref(), Some("Kyusupots"));
    assert_eq!(branch.tags.as_slice(), [Tag::any("category"), Tag::any("product")]);

    let unfollowed = sqlite
        .loader(PATIENCE, |conn, (): &()| {
            conn.query_row("SELECT count(*) FROM secret_plan", [], |row| row.get(0)).map(Some::<i64>)
        })
        .build();
    assert!(matches!(unfollowed.load(&()).await, Err(LoadError::Refused(_))));
    let writing =
        sqlite.loader(PATIENCE, |conn, (): &()| conn.execute("DELETE FROM product", []).map(Some)).build();
    assert!(matches!(writing.load(&()).await, Err(LoadError::Refused(_))));
    let narrow = sqlite
        .loader(PATIENCE, |conn, id: &i64| {
            conn.query_row("SELECT price FROM product WHERE id = ?1", [id], |row| row.get::<_, f64>(0))
                .map(Some)
        })
        .narrow("product", |id| Narrow::Row(vec![OwnedSqlValue::Int(*id)]))
        .build();
    assert_eq!(
        narrow.load(&1).await.unwrap().tags.as_slice(),
        [Tag::row("product", ["1"]), Tag::wide("product")]
    );
}

#[tokio::test]
async fn a_load_that_runs_too_long_is_interrupted() {
    let (_database, sqlite) = shop();
    let endless =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS n FROM n";
    let loader = sqlite
        .loader(Duration::from_millis(20), move |conn, (): &()| {
            conn.query_row(endless, [], |row| row.get(0)).map(Some::<i64>)
        })
        .build();
    assert_eq!(loader.load(&()).await.unwrap_err(), LoadError::TimedOut { limit_ms: 20 });
    // The connection is as good as new.
    assert!(sqlite.load(PATIENCE, |conn| conn.query_row("SELECT 1", [], |row| row.get::<_, i64>(0))).is_ok());
}

/// Whatever a class keeps, a load brings only so much into the process's memory.
#[tokio::test]
async fn a_load_that_would_fill_the_memory_is_given_up() {
    let (_database, sqlite) = shop();
    let options = QueryOptions { value_bytes_max: 64, ..options(true) };
    let sql = "SELECT p.name FROM product p, product q, product r WHERE :id IS NOT NULL";
    let loader = QueryLoader::new(&sqlite, sql, form(&["id"]), options).unwrap();
    let key = form(&["id"]).parse("1").unwrap();
    let error = loader.load(&key).await.unwrap_err();
    assert!(matches!(error, LoadError::TooLarge { limit: 64, bytes } if bytes < 100), "{error}");
}
