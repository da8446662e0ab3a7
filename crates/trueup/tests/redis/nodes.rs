//! Two nodes over one database that share entries: what one has loaded the other serves, and a write by anyone ends it on both.

use std::{path::Path, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use trueup::{
    Cached, Plan, ServedBy, Sqlite, SqliteOptions, Trueup,
    redis::Redis,
    sqlite::{FeedPlan, InstallOptions},
};

use super::support::{blocking, options, patient, server, until};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Account {
    id: i64,
    balance: i64,
    owner: String,
}

const SECRET: &str = "5a015a015a015a015a015a015a015a015a015a015a015a015a015a015a015a01";

/// A bank in a file, written by plain SQL.
fn bank(path: &Path) {
    let database = rusqlite::Connection::open(path).unwrap();
    let schema = "PRAGMA journal_mode = wal; CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL, owner TEXT NOT NULL);";
    database.execute_batch(schema).unwrap();
    for id in 1..=50 {
        database.execute("INSERT INTO account VALUES (?1, 100, ?2)", (id, "wallet ".repeat(400))).unwrap();
    }
    FeedPlan::new(path, &InstallOptions::default()).unwrap().apply().unwrap();
}

fn write(path: &Path, sql: &str) {
    let database = rusqlite::Connection::open(path).unwrap();
    database.busy_timeout(Duration::from_secs(10)).unwrap();
    database.execute_batch(sql).unwrap();
}

async fn node(path: &Path, url: &str, plan: &str) -> Trueup {
    let keys = trueup_core::entry::KeyRing::parse(SECRET).unwrap();
    let l2 = Redis::standalone(url).options(patient()).secret(keys);
    let source = Sqlite::open(path, SqliteOptions::default()).unwrap();
    let plan = Plan::parse("test", plan, &[]).unwrap();
    Trueup::builder().source(source).l2(l2).plan(plan).build().await.unwrap()
}

fn balance(answer: &Cached<Account>) -> i64 {
    answer.value().unwrap().balance
}

const AT_REST: [&str; 2] = ["", "[defaults]\nat_rest = \"encrypted\"\n"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_loads_the_other_serves_it_from_the_remote_tier_and_a_write_ends_both() {
    for at_rest in AT_REST {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bank.db");
        bank(&path);
        let redis = Arc::new(server(options()).await);
        let a = node(&path, &redis.url(), at_rest).await;
        let b = node(&path, &redis.url(), at_rest).await;
        let (accounts_a, accounts_b) =
            (a.class::<i64, Account>("account").unwrap(), b.class::<i64, Account>("account").unwrap());

        assert_eq!(accounts_a.get(&1).await.unwrap().receipt().served_by, ServedBy::Source);
        until("the entry in the remote tier", || async {
            (a.cache().remote_counts()?.stored >= 1).then_some(())
        })
        .await;
        let answer = accounts_b.get(&1).await.unwrap();
        assert_eq!(
            (answer.receipt().served_by, answer.receipt().proven, balance(&answer)),
            (ServedBy::L2, true, 100)
        );
        // In the clear or not, as the class decides.
        let server = Arc::clone(&redis);
        let kept = blocking(move || {
            let names = server.cli(&["KEYS", "trueup:account:*"]).unwrap();
            let length: usize = server.cli(&["STRLEN", &names]).unwrap().parse().unwrap();
            (server.cli(&["GET", &names]).unwrap(), length)
        })
        .await;
        assert_eq!(kept.0.contains("wallet"), at_rest.is_empty());
        // 2,800 bytes of text are packed where they are not encrypted.
        assert_eq!(kept.1 < 1_000, at_rest.is_empty(), "{} bytes", kept.1);

        write(&path, "UPDATE account SET balance = 70 WHERE id = 1");
        for accounts in [&accounts_a, &accounts_b] {
            until("the new balance", || async {
                let answer = accounts.get(&1).await.unwrap();
                assert!(answer.receipt().proven);
                (balance(&answer) == 70).then_some(())
            })
            .await;
        }
        a.shut_down().await;
        b.shut_down().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_and_no_write_fails_while_the_remote_tier_is_killed_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bank.db");
    bank(&path);
    let mut redis = server(options()).await;
    // Locks too are nothing that a read depends on.
    let plan = "[defaults]\nstampede_scope = \"fleet\"\n";
    let a = node(&path, &redis.url(), plan).await;
    let b = node(&path, &redis.url(), plan).await;
    let accounts = [a.class::<i64, Account>("account").unwrap(), b.class::<i64, Account>("account").unwrap()];
    let mut expected = 100;
    for round in 0..30 {
        if round == 10 {
            redis.kill();
        }
        if round == 20 {
            redis = blocking(move || {
                redis.start_again().unwrap();
                redis
            })
            .await;
        }
        expected += 1;
        write(&path, &format!("UPDATE account SET balance = {expected}"));
        for accounts in &accounts {
            for id in 1..=50 {
                until("the balance just written", || async {
                    let answer = accounts.get(&id).await.unwrap();
                    assert!(answer.receipt().proven && balance(&answer) <= expected);
                    (balance(&answer) == expected).then_some(())
                })
                .await;
            }
        }
    }
    until("entries shared after the restart", || async {
        write(&path, "UPDATE account SET balance = balance + 1 WHERE id = 1");
        let before = b.cache().remote_counts()?.found;
        accounts[0].get(&1).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        accounts[1].get(&1).await.unwrap();
        (b.cache().remote_counts()?.found > before).then_some(())
    })
    .await;
    a.shut_down().await;
    b.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_corrupted_foreign_or_moved_entry_is_a_miss() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bank.db");
    bank(&path);
    let redis = Arc::new(server(options()).await);
    let a = node(&path, &redis.url(), "").await;
    let accounts_a = a.class::<i64, Account>("account").unwrap();
    accounts_a.get(&1).await.unwrap();
    accounts_a.get(&2).await.unwrap();
    until("both entries", || async { (a.cache().remote_counts()?.stored >= 2).then_some(()) }).await;
    let server = Arc::clone(&redis);
    blocking(move || {
        let names = server.cli(&["KEYS", "trueup:account:*"]).unwrap();
        let names: Vec<&str> = names.lines().collect();
        // One flipped byte in the first; the first, as it is now, in place of the second.
        server.cli(&["SETRANGE", names[0], "150", "X"]).unwrap();
        server.cli(&["COPY", names[0], names[1], "REPLACE"]).unwrap();
    })
    .await;
    let b = node(&path, &redis.url(), "").await;
    let accounts_b = b.class::<i64, Account>("account").unwrap();
    for id in [1, 2] {
        let answer = accounts_b.get(&id).await.unwrap();
        assert_eq!((answer.receipt().served_by, answer.value().unwrap().id), (ServedBy::Source, id));
    }
    assert_eq!(b.cache().remote_counts().unwrap().refused, 2);
    // A node with another secret takes nothing of theirs.
    let keys = trueup_core::entry::KeyRing::generate().unwrap();
    let l2 = Redis::standalone(&redis.url()).options(patient()).secret(keys);
    let source = Sqlite::open(&path, SqliteOptions::default()).unwrap();
    let c = Trueup::builder().source(source).l2(l2).build().await.unwrap();
    let answer = c.class::<i64, Account>("account").unwrap().get(&1).await.unwrap();
    assert_eq!(answer.receipt().served_by, ServedBy::Source);
    for node in [a, b, c] {
        node.shut_down().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tier_that_is_not_there_is_no_obstacle_to_starting_and_reading() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bank.db");
    bank(&path);
    let port = trueup_testbed::free_port().unwrap();
    let a = node(&path, &format!("redis://127.0.0.1:{port}"), "").await;
    let answer = a.class::<i64, Account>("account").unwrap().get(&1).await.unwrap();
    assert_eq!((answer.receipt().served_by, balance(&answer)), (ServedBy::Source, 100));
    a.shut_down().await;
}

/// The plan names a class and no tier; the program hands one over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn classes_that_a_plan_names_use_the_tier_that_the_program_hands_over_unless_they_say_no() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bank.db");
    bank(&path);
    let redis = Arc::new(server(options()).await);
    let named = |more: &str| format!("[class.account]\ntable = \"account\"\nkey = \"id\"\n{more}");
    for (plan, shares) in [
        (named(""), true),
        (named("life = \"30s\"\n"), true),
        (named("l2 = false\n"), false),
        (format!("[defaults]\nl2 = false\n{}", named("")), false),
    ] {
        let a = node(&path, &redis.url(), &plan).await;
        let accounts = a.class::<i64, Account>("account").unwrap();
        let l2 = accounts.plan().l2;
        assert_eq!(l2.map(|l2| l2.life), shares.then(|| accounts.plan().life), "{plan}");
        accounts.get(&1).await.unwrap();
        if shares {
            until("the entry in the remote tier", || async {
                (a.cache().remote_counts()?.stored >= 1).then_some(())
            })
            .await;
        } else {
            assert_eq!(accounts.get(&1).await.unwrap().receipt().served_by, ServedBy::L1);
            assert_eq!(a.cache().remote_counts().unwrap().stored, 0, "{plan}");
        }
        a.shut_down().await;
    }
}
