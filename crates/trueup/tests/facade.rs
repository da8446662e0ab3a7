//! The way in for programs in Rust, on a real database.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{sync::Mutex, time::Duration};

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use trueup::{
    ClassPlan, LoadError, Plan, ReadError, ServedBy, Sqlite, SqliteOptions, Trueup, TrueupError,
    catalog::sqlite::install_options, engine::class::PlanError, sqlite::FeedPlan,
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Product {
    name: String,
    price: i64,
}

struct Shop {
    folder: TempDir,
    trueup: Trueup,
}

/// The bound is so long that a busy machine cannot make a hit a miss.
const CONFIG: &str = r#"
[defaults]
max_staleness = "1min"

[class.price]
purpose = "decision-balance"
table = "product"
key = ["id"]

[class.cheap]
query = "SELECT name, price FROM product WHERE price <= :price ORDER BY id"
rows = "many"
key = ["price"]
scope = []
"#;

#[cfg(test)]
impl Shop {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.db");
        Connection::open(&path)
            .unwrap()
            .execute_batch(
                "CREATE TABLE product (id INTEGER PRIMARY KEY, name TEXT, price INTEGER);
                 INSERT INTO product VALUES (42, 'Shoe', 900), (43, 'Hat', 100);
                 CREATE TABLE note (line TEXT);",
            )
            .unwrap();
        let plan = Plan::parse("test", CONFIG, &[]).unwrap();
        FeedPlan::new(&path, &install_options(&plan)).unwrap().apply().unwrap();
        let source = Sqlite::open(&path, SqliteOptions::default()).unwrap();
        let trueup = Trueup::builder().source(source).plan(plan).online_checks(true).build().await.unwrap();
        Self { folder, trueup }
    }

    fn other_program(&self, sql: &str) {
        let conn = Connection::open(self.folder.path().join("shop.db")).unwrap();
        conn.busy_timeout(Duration::from_secs(30)).unwrap();
        conn.execute_batch(sql).unwrap();
    }
}

#[tokio::test]
async fn a_table_is_a_class_without_being_declared() {
    let shop = Shop::open().await;
    let products = shop.trueup.class::<i64, Product>("product").unwrap();
    let shoe = products.get(&42).await.unwrap();
    assert_eq!(shoe.value(), Some(&Product { name: "Shoe".into(), price: 900 }));
    assert_eq!(products.get(&42).await.unwrap().receipt().served_by, ServedBy::L1);
    assert!(products.get(&7).await.unwrap().is_absent());
}

#[tokio::test]
async fn a_query_is_a_class_of_lists() {
    let shop = Shop::open().await;
    let cheap = shop.trueup.class::<i64, Vec<Product>>("cheap").unwrap();
    assert_eq!(cheap.get(&500).await.unwrap().value().unwrap().len(), 1);
    shop.other_program("UPDATE product SET price = 50 WHERE id = 42");
    let token = shop.trueup.cache().token().await.unwrap();
    assert_eq!(cheap.read(&500).token(token).run().await.unwrap().value().unwrap().len(), 2);
}

#[tokio::test]
async fn a_write_is_seen_by_who_has_its_token() {
    let shop = Shop::open().await;
    let products = shop.trueup.class::<i64, Product>("product").unwrap();
    products.get(&42).await.unwrap();
    let sale = async |tx: &trueup::SqliteTx<'_>| tx.execute("UPDATE product SET price = 1 WHERE id = 42", []);
    let (changed, token) = shop.trueup.write(sale).await.unwrap();
    assert_eq!(changed, 1);
    let own = products.read(&42).token(token).run().await.unwrap();
    assert_eq!(own.value().unwrap().price, 1);
}

#[tokio::test]
async fn what_decides_is_read_in_the_transaction() {
    let shop = Shop::open().await;
    let products = shop.trueup.class::<i64, Product>("product").unwrap();
    let prices = shop.trueup.decision::<i64, Product>("price").unwrap();
    let cheap = shop.trueup.class::<i64, Vec<Product>>("cheap").unwrap();
    let seen = Mutex::new(Vec::new());
    let raise = async |tx: &trueup::SqliteTx<'_>| {
        tx.execute("UPDATE product SET price = price + 1 WHERE id = 42", []).unwrap();
        for product in [products.authoritative(tx, &42).await?, prices.authoritative(tx, &42).await?] {
            seen.lock().unwrap().push(product.value().unwrap().price);
        }
        assert_eq!(cheap.authoritative(tx, &901).await?.value().unwrap().len(), 2);
        assert!(prices.authoritative(tx, &7).await?.value().is_none());
        Ok::<_, ReadError>(())
    };
    shop.trueup.write(raise).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [901, 901], "the transaction's own write");
}

#[tokio::test]
async fn a_decision_is_no_class_to_cache() {
    let shop = Shop::open().await;
    let refused = shop.trueup.class::<i64, Product>("price").err().unwrap();
    let TrueupError::Plan(refused) = refused else { panic!("{refused}") };
    assert!(matches!(*refused, PlanError::NeverCached { .. }));
}

#[tokio::test]
async fn what_does_not_fit_is_named() {
    let shop = Shop::open().await;
    let error = |result: Result<_, TrueupError>| {
        result.map(|_: trueup::Class<_, Product>| ()).unwrap_err().to_string()
    };
    let unknown = error(shop.trueup.class::<i64, Product>("prodct"));
    assert!(unknown.contains("did you mean \"product\"?"), "{unknown}");
    let note = error(shop.trueup.class::<i64, Product>("note"));
    assert!(note.contains("unknown class"), "a table without a key is no class: {note}");
    let pair = shop.trueup.class::<(i64, i64), Product>("product").err().unwrap().to_string();
    assert!(pair.contains("the key has 2 part(s), the class has 1"), "{pair}");
    let decided = shop.trueup.decision::<(i64, i64), Product>("price").err().unwrap().to_string();
    assert!(decided.contains("the key has 2 part(s), the class has 1"), "{decided}");
}

#[tokio::test]
async fn a_row_of_another_shape_is_an_error_that_shows_nothing_of_it() {
    let shop = Shop::open().await;
    let numbers = shop.trueup.class::<i64, i64>("product").unwrap();
    let error = numbers.get(&42).await.unwrap_err();
    assert!(matches!(error, ReadError::Load(LoadError::Refused(_))), "{error}");
    let text = error.to_string();
    assert!(text.contains("class `product`") && text.contains("i64") && !text.contains("Shoe"), "{text}");
}

#[tokio::test]
async fn a_plan_made_in_rust_serves_as_well() {
    let shop = Shop::open().await;
    let path = shop.folder.path().join("shop.db");
    let mut plan = Plan::default();
    let hats = ClassPlan::display("hat").query("SELECT name, price FROM product WHERE id = :id").key(["id"]);
    let hats = hats.same_for_everyone().build().unwrap();
    plan.classes.insert(hats.name().clone(), hats);
    let source = Sqlite::open(&path, SqliteOptions::default()).unwrap();
    let trueup = Trueup::builder().source(source).plan(plan).build().await.unwrap();
    let hats = trueup.class::<i64, Product>("hat").unwrap();
    assert_eq!(hats.get(&43).await.unwrap().value().unwrap().name, "Hat");
    trueup.shut_down().await;
}

/// 12 bytes hold neither a row of the table nor a list of the query's.
#[tokio::test]
async fn a_value_above_its_bound_is_served_and_not_kept() {
    let shop = Shop::open().await;
    let path = shop.folder.path().join("shop.db");
    let config = CONFIG.replace("[defaults]", "[defaults]\nvalue_bytes_max = \"12B\"");
    let source = Sqlite::open(&path, SqliteOptions::default()).unwrap();
    let plan = Plan::parse("test", &config, &[]).unwrap();
    let trueup = Trueup::builder().source(source).plan(plan).build().await.unwrap();
    let products = trueup.class::<i64, Product>("product").unwrap();
    let cheap = trueup.class::<i64, Vec<Product>>("cheap").unwrap();
    for _ in 0..2 {
        let shoe = products.get(&42).await.unwrap();
        assert_eq!((shoe.value().unwrap().price, shoe.receipt().served_by), (900, ServedBy::Source));
        let list = cheap.get(&500).await.unwrap();
        assert_eq!((list.value().unwrap().len(), list.receipt().served_by), (1, ServedBy::Source));
    }
    for (rejected, kept) in [
        (products.stats().counts().rejected, products.memory().len()),
        (cheap.stats().counts().rejected, cheap.memory().len()),
    ] {
        assert!(rejected.contains(&("too_large", 2)), "{rejected:?}");
        assert_eq!(kept, 0);
    }
}
