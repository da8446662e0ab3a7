//! In front of SQLite.

use trueup::engine::receipt::ServedBy;

use super::node::{File, Node, finds_all};

const ITEMS: &str = "CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT); \
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25000) \
    INSERT INTO item SELECT i * 2, 'x' FROM n";
const FILTERED: &str = "[defaults]\nmax_staleness = \"20s\"\n[class.item]\ntable = \"item\"\nkey = \"id\"\nnegative_life = \"off\"\n\
    bloom = { entries = 60_000 }\n";

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_do_not_exist_are_not_asked_for_and_those_inserted_meanwhile_are_found() {
    let file = File::new(ITEMS);
    let node = Node::sqlite(&file, FILTERED).await;
    node.until_known("item").await;
    let loads = node.loads("item");
    for id in (1..2_000).step_by(2) {
        assert_eq!(node.read("item", &id.to_string()).await, (None, ServedBy::Filter));
    }
    assert_eq!(node.loads("item"), loads);
    let program = file.program();
    // One by one, and in transactions below and above what is told row by row.
    for ids in [1..=9, 11..=3_001, 100_001..=130_001] {
        let odd: Vec<i64> = ids.filter(|id| id % 2 == 1).collect();
        program.execute_batch("BEGIN").unwrap();
        for id in &odd {
            program.execute("INSERT INTO item VALUES (?1, 'new')", [id]).unwrap();
        }
        program.execute_batch("COMMIT").unwrap();
        node.catch_up().await;
        for id in odd.iter().step_by(7) {
            assert!(node.read("item", &id.to_string()).await.0.is_some(), "{id} was inserted");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_known_absences_end_with_their_inserts() {
    let file = File::new("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT)");
    let node = Node::sqlite(
        &file,
        "[class.item]\ntable = \"item\"\nkey = \"id\"\nnegative_life = \"1h\"\nmax_staleness = \"20s\"\n",
    )
    .await;
    assert!(node.read_all("item", 0..10_000).await.iter().all(|(found, _)| !found));
    node.catch_up().await;
    assert_eq!(node.read("item", "77").await, (None, ServedBy::L1), "a known absence");
    let program = file.program();
    for begin in (0..10_000).step_by(1_000) {
        program.execute_batch("BEGIN").unwrap();
        for id in begin..begin + 1_000 {
            program.execute("INSERT INTO item VALUES (?1, 'new')", [id]).unwrap();
        }
        program.execute_batch("COMMIT").unwrap();
    }
    node.catch_up().await;
    let found = node.read_all("item", 0..10_000).await;
    assert_eq!(found.iter().filter(|(found, _)| *found).count(), 10_000, "each was inserted");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_every_shape_are_found() {
    let file = File::new(
        "CREATE TABLE loose (name TEXT PRIMARY KEY COLLATE NOCASE, n INT); \
         INSERT INTO loose VALUES ('Anna', 1), ('bob', 2), (NULL, 3), (NULL, 4), ('', 5), ('ö', 6); \
         CREATE TABLE pair (a INT, b TEXT, PRIMARY KEY (b, a)) WITHOUT ROWID; \
         INSERT INTO pair VALUES (1, 'x'), (2, 'x'), (1, 'y,z'), (-5, ''); \
         CREATE TABLE hidden (rowid TEXT, id NUMERIC PRIMARY KEY); \
         INSERT INTO hidden VALUES ('a', 1.5), ('b', 2), ('c', -9007199254740993); \
         CREATE TABLE bytes (id BLOB PRIMARY KEY); INSERT INTO bytes VALUES (x'00ff'), ('text'), (7)",
    );
    let class = |name: &str, key: &str| {
        format!(
            "[class.{name}]\ntable = \"{name}\"\nkey = {key}\nbloom = {{ entries = 100 }}\nmax_staleness = \"20s\"\n"
        )
    };
    let classes =
        [class("loose", "[\"name\"]"), class("pair", "[\"b\", \"a\"]"), class("hidden", "[\"id\"]")];
    let node = Node::sqlite(&file, &classes.concat()).await;
    finds_all(&node, "loose", &["anna", "BOB", "Anna", "ö"], &["carol", "Ö", "annab"]).await;
    finds_all(&node, "pair", &["x,1", "x,2", ",-5"], &["x,3", "y,1", "z,-5"]).await;
    finds_all(&node, "hidden", &["1.5", "1.50", "2", "2.0"], &["3", "1.51"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_schema_and_an_emptied_table_have_the_keys_read_again() {
    let file = File::new(ITEMS);
    let node = Node::sqlite(&file, FILTERED).await;
    finds_all(&node, "item", &["2"], &["3"]).await;
    let program = file.program();
    program
        .execute_batch("ALTER TABLE item ADD COLUMN note TEXT; INSERT INTO item VALUES (3, 'x', 'y')")
        .unwrap();
    node.catch_up().await;
    assert!(node.read("item", "3").await.0.is_some());
    finds_all(&node, "item", &["2", "3"], &["5"]).await;
    program.execute_batch("DELETE FROM item; INSERT INTO item VALUES (5, 'x', 'y')").unwrap();
    node.catch_up().await;
    assert!(node.read("item", "5").await.0.is_some());
    assert!(node.read("item", "2").await.0.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_that_is_no_table_is_refused_a_filter() {
    let text =
        "[class.item]\nquery = \"SELECT 1 AS one\"\nkey = \"id\"\nscope = []\nbloom = { entries = 10 }\n";
    let errors = trueup::Plan::parse("test.toml", text, &[]).unwrap_err().to_string();
    assert!(errors.contains("bloom") && errors.contains("table"), "{errors}");
}
