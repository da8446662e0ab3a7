//! Filters that go on over a restart, and those that must not.

use std::{convert::Infallible, os::unix::fs::PermissionsExt as _, path::Path};

use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::net::TcpListener;
use trueup::{
    engine::{FilterStart, env, receipt::ServedBy},
    postgres::{Role, fleet},
};

use super::{
    node::{File, Node, until},
    postgres::server,
};

const LITE: &str = "CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT); \
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) INSERT INTO item SELECT i * 2, 'x' FROM n";
const PG: &str = "CREATE TABLE item (id int PRIMARY KEY, name text); \
    INSERT INTO item SELECT g * 2, 'x' FROM generate_series(1, 3000) g";
const FILTERED: &str = "[defaults]\nmax_staleness = \"20s\"\n[class.item]\ntable = \"item\"\nkey = \"id\"\nnegative_life = \"off\"\n\
    bloom = { entries = 20_000 }\n";
/// What happens while nobody looks: rows come one by one, one moves, one goes, one comes and goes, one does not come.
const MEANWHILE: [&str; 6] = [
    "INSERT INTO item VALUES (101, 'new')",
    "INSERT INTO item VALUES (1001, 'new'), (1003, 'new')",
    "UPDATE item SET id = 7001 WHERE id = 4",
    "DELETE FROM item WHERE id = 6",
    "BEGIN; INSERT INTO item VALUES (9001, 'no'); DELETE FROM item WHERE id = 9001; COMMIT",
    "BEGIN; INSERT INTO item VALUES (9003, 'no'); ROLLBACK",
];

fn state() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn saved(folder: &Path) -> std::path::PathBuf {
    folder.join("filter-item")
}

/// The node has come to know the keys in this way, and is right about all of them.
async fn knows(node: &Node, how: FilterStart, there: &[u64], what: &str) {
    node.until_known("item").await;
    let filter = node.filter("item");
    let builds = u64::from(how != FilterStart::Reloaded);
    assert_eq!((filter.start, filter.builds), (Some(how), builds), "{what}");
    for id in there {
        let (found, by) = node.read("item", &id.to_string()).await;
        assert!(found.is_some(), "{what}: {id} is there, {by:?}");
    }
    let loads = node.loads("item");
    for id in (20_001..20_401).step_by(2) {
        assert_eq!(node.read("item", &id.to_string()).await, (None, ServedBy::Filter), "{what}: {id}");
    }
    assert_eq!(node.loads("item"), loads, "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_a_saved_filter_goes_on_and_finds_what_was_written_meanwhile() {
    let (file, folder) = (File::new(LITE), state());
    let start = || Node::sqlite_kept(&file, FILTERED, folder.path());
    let first = start().await;
    knows(&first, FilterStart::Nothing, &[2, 6_000], "the first").await;
    file.program().execute_batch("INSERT INTO item VALUES (11, 'new')").unwrap();
    first.catch_up().await;
    first.shut_down().await;
    let mode = std::fs::metadata(saved(folder.path())).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for sql in MEANWHILE {
        file.program().execute_batch(sql).unwrap();
    }
    let there = [2, 11, 101, 1_001, 1_003, 7_001];
    let second = start().await;
    knows(&second, FilterStart::Reloaded, &there, "after a restart").await;
    for gone in ["4", "6", "9001", "9003"] {
        assert_eq!(second.read("item", gone).await.0, None);
    }
    file.program().execute_batch("INSERT INTO item VALUES (13, 'new')").unwrap();
    second.catch_up().await;
    assert!(second.read("item", "13").await.0.is_some(), "told since");
    second.shut_down().await;
    // Nothing happens, and then the process dies: the place of before still is one.
    drop(start().await);
    file.program().execute_batch("INSERT INTO item VALUES (15, 'new')").unwrap();
    knows(&start().await, FilterStart::Reloaded, &[13, 15, 101], "after one that died").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_what_does_not_go_on_for_certain_is_built_anew() {
    type Spoil = fn(&File, &Path);
    let cases: [(&str, FilterStart, Spoil); 6] = [
        ("a flipped bit", FilterStart::Damaged, |_, folder| {
            let mut bytes = std::fs::read(saved(folder)).unwrap();
            let at = bytes.len() / 2;
            bytes[at] ^= 4;
            std::fs::write(saved(folder), bytes).unwrap();
        }),
        ("a schema that was altered", FilterStart::NotContinued, |file, _| {
            file.program().execute_batch("CREATE TABLE other (id INTEGER PRIMARY KEY)").unwrap();
        }),
        ("a bulk change", FilterStart::Hidden, |file, _| {
            let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10050) \
                INSERT INTO item SELECT 100001 + i * 2, 'x' FROM n";
            file.program().execute_batch(sql).unwrap();
        }),
        ("the row of the log with another nonce", FilterStart::NotContinued, |file, _| {
            let sql =
                "UPDATE _trueup_log SET nonce = nonce + 1 WHERE seq = (SELECT max(seq) FROM _trueup_log)";
            file.program().execute_batch(sql).unwrap();
        }),
        ("a log that was trimmed", FilterStart::NotContinued, |file, _| {
            let sql = "INSERT INTO item VALUES (31, 'new'); DELETE FROM _trueup_log WHERE seq < (SELECT max(seq) FROM _trueup_log)";
            file.program().execute_batch(sql).unwrap();
        }),
        ("nothing there", FilterStart::Nothing, |_, folder| std::fs::remove_file(saved(folder)).unwrap()),
    ];
    for (what, how, spoil) in cases {
        let (file, folder) = (File::new(LITE), state());
        let first = Node::sqlite_kept(&file, FILTERED, folder.path()).await;
        knows(&first, FilterStart::Nothing, &[2], what).await;
        first.shut_down().await;
        spoil(&file, folder.path());
        file.program().execute_batch("INSERT INTO item VALUES (101, 'new')").unwrap();
        let second = Node::sqlite_kept(&file, FILTERED, folder.path()).await;
        knows(&second, how, &[2, 101], what).await;
        second.shut_down().await;
        let third = Node::sqlite_kept(&file, FILTERED, folder.path()).await;
        knows(&third, FilterStart::Reloaded, &[2, 101], what).await;
    }
    // Another plan, and the file of another database.
    let (file, other, folder) = (File::new(LITE), File::new(LITE), state());
    let first = Node::sqlite_kept(&file, FILTERED, folder.path()).await;
    first.until_known("item").await;
    first.shut_down().await;
    let more = FILTERED.replace("20_000", "30_000");
    let second = Node::sqlite_kept(&file, &more, folder.path()).await;
    knows(&second, FilterStart::Other, &[2], "other entries").await;
    second.shut_down().await;
    other.program().execute_batch("INSERT INTO item VALUES (101, 'new')").unwrap();
    let elsewhere = Node::sqlite_kept(&other, &more, folder.path()).await;
    knows(&elsewhere, FilterStart::NotContinued, &[2, 101], "another database").await;
}

/// The incident: an older copy of the file is put in its place, and its log grows past what the saved filter had heard.
#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_an_older_copy_that_has_grown_past_the_saved_place_is_told_from_it() {
    let (file, folder) = (File::new(LITE), state());
    Node::sqlite_kept(&file, FILTERED, folder.path()).await.shut_down().await;
    let settle = "PRAGMA wal_checkpoint(TRUNCATE)";
    file.program().query_row(settle, [], |_| Ok(())).unwrap();
    let copy = folder.path().join("copy.db");
    std::fs::copy(file.path(), &copy).unwrap();
    let first = Node::sqlite_kept(&file, FILTERED, folder.path()).await;
    first.until_known("item").await;
    file.program().execute_batch("INSERT INTO item VALUES (11, 'lost')").unwrap();
    first.catch_up().await;
    first.shut_down().await;
    file.program().query_row(settle, [], |_| Ok(())).unwrap();
    std::fs::copy(&copy, file.path()).unwrap();
    for id in (101..201).step_by(2) {
        file.program().execute("INSERT INTO item VALUES (?1, 'other')", [id]).unwrap();
    }
    let second = Node::sqlite_kept(&file, FILTERED, folder.path()).await;
    let there: Vec<u64> = (101..201).step_by(2).collect();
    knows(&second, FilterStart::NotContinued, &there, "an older copy").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres_a_saved_filter_goes_on_and_finds_what_was_written_meanwhile() {
    let (server, folder) = (server(PG), state());
    let start = || Node::postgres_kept(&server, FILTERED, folder.path(), None);
    let (first, _source) = start().await;
    knows(&first, FilterStart::Nothing, &[2, 6_000], "the first").await;
    server.query("INSERT INTO item VALUES (11, 'new')").unwrap();
    first.catch_up().await;
    first.shut_down().await;
    assert!(saved(folder.path()).exists());
    for sql in MEANWHILE {
        server.query(sql).unwrap();
    }
    let there = [2, 11, 101, 1_001, 1_003, 7_001];
    let (second, _source) = start().await;
    knows(&second, FilterStart::Reloaded, &there, "after a restart").await;
    for gone in ["4", "6", "9001", "9003"] {
        assert_eq!(second.read("item", gone).await.0, None);
    }
    server.query("INSERT INTO item VALUES (13, 'new')").unwrap();
    second.catch_up().await;
    assert!(second.read("item", "13").await.0.is_some(), "told since");
    second.shut_down().await;
    knows(&start().await.0, FilterStart::Reloaded, &[13, 101], "once more").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres_what_does_not_go_on_for_certain_is_built_anew() {
    let cases: [(&str, FilterStart, &str); 5] = [
        ("a table of another shape", FilterStart::Other, "ALTER TABLE item ADD COLUMN note text"),
        (
            "a table that went and came back",
            FilterStart::Other,
            "BEGIN; ALTER PUBLICATION trueup DROP TABLE item; INSERT INTO item VALUES (103, 'untold'); \
             ALTER PUBLICATION trueup ADD TABLE item; COMMIT; INSERT INTO item VALUES (105, 'told')",
        ),
        (
            "a bulk change",
            FilterStart::Hidden,
            "INSERT INTO item SELECT 200001 + g * 2, 'x' FROM generate_series(1, 12000) g",
        ),
        ("a slot that was lost", FilterStart::NotContinued, "SELECT pg_drop_replication_slot('trueup')"),
        ("another epoch", FilterStart::NotContinued, "UPDATE trueup.feed SET generation = generation + 1"),
    ];
    for (what, how, sql) in cases {
        let (server, folder) = (server(PG), state());
        let (first, source) = Node::postgres_kept(&server, FILTERED, folder.path(), None).await;
        knows(&first, FilterStart::Nothing, &[2], what).await;
        first.shut_down().await;
        drop(source);
        let is_held = "SELECT count(*) FROM pg_replication_slots WHERE active";
        until("the slot to be free", || server.query(is_held).unwrap() == "0").await;
        server.query(sql).unwrap();
        server.query("INSERT INTO item VALUES (101, 'new')").unwrap();
        let (second, _source) = Node::postgres_kept(&server, FILTERED, folder.path(), None).await;
        let there: &[u64] = if sql.contains("103") { &[2, 101, 103, 105] } else { &[2, 101] };
        knows(&second, how, there, what).await;
    }
}

/// The incident: a node saves where it is in the log, is killed, and finds a filter that has heard less than that.
#[tokio::test(flavor = "multi_thread")]
async fn on_postgres_a_filter_that_is_behind_the_saved_ledger_is_built_anew() {
    let (server, folder) = (server(PG), state());
    let start = || Node::postgres_kept(&server, FILTERED, folder.path(), None);
    let (first, _source) = start().await;
    first.until_known("item").await;
    first.shut_down().await;
    let old = std::fs::read(saved(folder.path())).unwrap();
    let (second, _source) = start().await;
    knows(&second, FilterStart::Reloaded, &[2], "before").await;
    server.query("INSERT INTO item VALUES (101, 'new')").unwrap();
    second.catch_up().await;
    second.shut_down().await;
    std::fs::write(saved(folder.path()), old).unwrap();
    knows(&start().await.0, FilterStart::NotContinued, &[2, 101], "the filter of before").await;
}

/// A small filter is written before each ledger, so that a node that dies finds it no further behind.
#[tokio::test(flavor = "multi_thread")]
async fn on_postgres_the_filter_of_a_node_that_died_goes_on() {
    let (server, folder) = (server(PG), state());
    let start = || Node::postgres_kept(&server, FILTERED, folder.path(), None);
    let (first, source) = start().await;
    first.until_known("item").await;
    for id in (101..131).step_by(2) {
        server.query(&format!("INSERT INTO item VALUES ({id}, 'new')")).unwrap();
    }
    first.catch_up().await;
    until("the filter to be saved", || saved(folder.path()).exists()).await;
    // Without it the feed itself would begin anew.
    until("the ledger to be saved", || folder.path().join("ledger").exists()).await;
    // Without a word.
    drop((first, source));
    server.query("INSERT INTO item VALUES (131, 'new')").unwrap();
    let there: Vec<u64> = (101..133).step_by(2).collect();
    knows(&start().await.0, FilterStart::Reloaded, &there, "after a death").await;
}

/// A node that follows another one begins with what it has saved itself, as long as the other one still has all that it missed.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_comes_back_goes_on_with_its_filter() {
    let (server, one, two) = (server(PG), state(), state());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (holder, source) = Node::postgres_kept(&server, FILTERED, one.path(), Some(address)).await;
    let told = source.fleet().unwrap();
    let _serving = env::spawn("serving followers", async move {
        while let Ok((socket, _)) = listener.accept().await {
            let told = told.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let told = told.clone();
                async move { Ok::<_, Infallible>(fleet::respond(&told, request.uri()).await) }
            });
            env::spawn("a follower", async move {
                drop(http1::Builder::new().serve_connection(TokioIo::new(socket), service).await);
            });
        }
    });
    holder.until_known("item").await;
    let (first, follows) = Node::postgres_kept(&server, FILTERED, two.path(), None).await;
    until("it to follow", || matches!(follows.feed_state().role, Role::Follower { .. })).await;
    knows(&first, FilterStart::Nothing, &[2], "the first").await;
    first.catch_up().await;
    first.shut_down().await;
    server.query("INSERT INTO item VALUES (101, 'new')").unwrap();
    holder.catch_up().await;
    let (second, _follows) = Node::postgres_kept(&server, FILTERED, two.path(), None).await;
    knows(&second, FilterStart::Reloaded, &[2, 101], "back").await;
    server.query("INSERT INTO item VALUES (103, 'new')").unwrap();
    second.catch_up().await;
    assert!(second.read("item", "103").await.0.is_some());
}
