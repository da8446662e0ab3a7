//! Write-behind on real databases.

use std::path::Path;

use trueup::{
    AcceptError, LoadError, PutError, ReadError, ServedBy, Trueup, TrueupError, Written,
    engine::behind::BehindCounts,
};

use super::support::{PgNode, Product, blocking, postgres, price, row, shoe, sqlite_node, until, warm};

pub(crate) fn plan(journal: &Path) -> String {
    format!(
        r#"
[write_behind]
journal = "{}"
flush_every = "20ms"

[class.product]
table = "product"
key = ["id"]
pattern = "write-behind"
loss = "prices set in the last moment before a disk is lost"
invalidation = {{ owner = "shop team", reason = "shown only" }}
life = "1min"
"#,
        journal.display()
    )
}

fn counts(trueup: &Trueup<impl trueup::Database>) -> BehindCounts {
    trueup.cache().write_behind_counts().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_accepted_is_read_here_at_once_and_everywhere_after_it_is_applied() {
    let server = postgres().await;
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let a = PgNode::start(&server.url(), None, &plan(one.path())).await;
    let b = PgNode::start(&server.url(), None, &plan(two.path())).await;
    let (here, there) = (a.products(), b.products());
    warm(&here, 42).await;
    warm(&there, 42).await;
    // Nothing reaches the table while somebody holds it.
    let mut holder = server.psql();
    holder.args(["-c", "BEGIN; LOCK TABLE product IN SHARE MODE; SELECT pg_sleep(3); COMMIT"]);
    let mut holder = holder.spawn().unwrap();
    let locked = "SELECT count(*) FROM pg_locks WHERE relation = 'product'::regclass AND mode = 'ShareLock' AND granted";
    until("the lock", || async { (server.query(locked).unwrap() == "1").then_some(()) }).await;
    let accepted = here.put(&42, row(&serde_json::json!({"price": 7}))).await.unwrap();
    assert!(matches!(accepted, Written::Accepted { .. }), "{accepted:?}");
    here.put(&7, row(&Product { id: 7, name: "Glove".into(), price: 3 })).await.unwrap();
    here.delete(&43).await.unwrap();
    let seen = here.get(&42).await.unwrap();
    assert_eq!(seen.value(), Some(&shoe(7)), "what is not given shows through");
    assert_eq!((seen.receipt().served_by, seen.receipt().proven), (ServedBy::Pending, false));
    assert_eq!(here.seen_token(&seen), None);
    assert!(here.get(&43).await.unwrap().is_absent());
    let many = here.get_many(&[7, 42, 43]).await.unwrap();
    assert_eq!(
        many.iter().map(|answer| answer.value().map(|v| v.price)).collect::<Vec<_>>(),
        [Some(3), Some(7), None]
    );
    assert_eq!(price(&there.get(&42).await.unwrap()), 900, "not applied yet");
    assert!(counts(&a.trueup).pending >= 1);
    assert!(holder.wait().unwrap().success());
    until("the other node's memory to be ended by the feed", || async {
        (price(&there.get(&42).await.unwrap()) == 7).then_some(())
    })
    .await;
    until("the database's own answer here", || async {
        let seen = here.get(&42).await.unwrap();
        assert_eq!(seen.value(), Some(&shoe(7)), "never back: {:?}", seen.receipt());
        (seen.receipt().served_by != ServedBy::Pending).then_some(())
    })
    .await;
    until("the deletion there", || async { there.get(&43).await.unwrap().is_absent().then_some(()) }).await;
    assert_eq!(counts(&a.trueup).applied, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_of_one_row_are_one_and_a_row_that_is_refused_keeps_no_other_back() {
    let server = postgres().await;
    let folder = tempfile::tempdir().unwrap();
    let node = PgNode::start(&server.url(), None, &plan(folder.path())).await;
    let products = node.products();
    let mut writers = tokio::task::JoinSet::new();
    for n in 0..200_i64 {
        let products = products.clone();
        writers.spawn(async move {
            products.put(&(n % 4), row(&Product { id: n % 4, name: "n".into(), price: n })).await
        });
    }
    assert!(writers.join_all().await.iter().all(Result::is_ok));
    products.put(&42, row(&shoe(-1))).await.unwrap();
    products.put(&43, row(&serde_json::json!({"price": 8}))).await.unwrap();
    let behind = counts(&node.trueup);
    node.trueup.shut_down().await;
    let left = counts(&node.trueup);
    assert_eq!((left.pending, left.accepted, left.rejected), (0, 202, 1), "{left:?}");
    assert!(left.coalesced > 100 && left.syncs < 150, "{behind:?} {left:?}");
    let (rows, refused) = blocking(move || {
        let rows = "SELECT string_agg(id || '=' || price, ',' ORDER BY id) FROM product WHERE id >= 42";
        let refused = "SELECT class, key, kind, row->>'price', reason FROM trueup.write_behind_refused";
        (server.query(rows).unwrap(), server.query(refused).unwrap())
    })
    .await;
    assert_eq!(rows, "42=900,43=8");
    assert!(refused.contains("product|42|put|-1|a constraint is violated"), "{refused}");
    let late = products.put(&42, row(&shoe(1))).await.unwrap_err();
    assert!(matches!(late, PutError::Journal(AcceptError::Stopping { .. })), "{late}");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_what_is_accepted_reaches_the_file_and_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (path, journal) = (folder.path().join("shop.db"), folder.path().join("journal"));
    let node = sqlite_node(&path, None, &plan(&journal)).await;
    let products = node.class::<i64, Product>("product").unwrap();
    warm(&products, 42).await;
    // Another program holds the only write lock.
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    products.put(&42, row(&serde_json::json!({"price": 5}))).await.unwrap();
    products.put(&7, row(&Product { id: 7, name: "Glove".into(), price: 3 })).await.unwrap();
    products.delete(&43).await.unwrap();
    assert_eq!(products.get(&42).await.unwrap().value(), Some(&shoe(5)));
    other.execute_batch("COMMIT").unwrap();
    until("all of it in the file", || async { (counts(&node).pending == 0).then_some(()) }).await;
    node.shut_down().await;
    let rows: String = other
        .query_row(
            "SELECT group_concat(id || '=' || price, ',') FROM (SELECT * FROM product ORDER BY id)",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(rows, "7=3,42=5");
    drop((products, node));
    let again = sqlite_node(&path, None, &plan(&journal)).await;
    assert_eq!(counts(&again).replayed, 0, "nothing is applied twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_decision_rests_on_a_class_that_is_written_behind() {
    let folder = tempfile::tempdir().unwrap();
    let node = sqlite_node(&folder.path().join("shop.db"), None, &plan(&folder.path().join("journal"))).await;
    let products = node.class::<i64, Product>("product").unwrap();
    let decided = node.write(async |tx| products.authoritative(tx, &42).await.map(drop)).await.unwrap_err();
    assert!(decided.to_string().contains("no decision may rest on it"), "{decided}");
    let refused = products.put(&42, row(&serde_json::json!({"colour": 1}))).await.unwrap_err();
    assert!(refused.to_string().contains("no column \"colour\""), "{refused}");
    // A second process, or a second cache in this one, cannot have the same journal.
    let source =
        trueup::Sqlite::open(folder.path().join("shop.db"), trueup::SqliteOptions::default()).unwrap();
    let second = trueup::Plan::parse("test", &plan(&folder.path().join("journal")), &[]).unwrap();
    let second = Trueup::builder().source(source).plan(second).build().await.err().unwrap();
    assert!(
        matches!(second, TrueupError::Catalog(_)) && second.to_string().contains("in use by another"),
        "{second}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_not_arrived_within_the_life_of_the_class_is_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let short = plan(&folder.path().join("journal")).replace("life = \"1min\"", "life = \"200ms\"");
    let path = folder.path().join("shop.db");
    let node = sqlite_node(&path, None, &short).await;
    let products = node.class::<i64, Product>("product").unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    products.put(&42, row(&shoe(5))).await.unwrap();
    assert_eq!(price(&products.get(&42).await.unwrap()), 5);
    let late = until("the end of its life", || async { products.get(&42).await.err() }).await;
    assert!(
        matches!(&late, ReadError::Load(LoadError::Unavailable(why)) if why.contains("has not reached it")),
        "{late}"
    );
    other.execute_batch("COMMIT").unwrap();
    until("its arrival", || async { products.get(&42).await.ok().filter(|seen| price(seen) == 5) }).await;
}
