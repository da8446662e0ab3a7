//! The database itself is away.

use std::time::Duration;

use trueup::{
    LoadError, Plan, Postgres, PostgresOptions, ReadError, ServedBy, Trueup, TrueupError,
    catalog::postgres::install_options, engine::guard::LoadLimits, postgres::FeedPlan,
};
use trueup_testbed::Stop;

use super::world::{Account, Product, World};

const PLAN: &str = "[l2]\nurls = [\"redis://h:1\"]\n\
    [class.account]\ntable = \"account\"\nkey = [\"id\"]\nl2 = false\nfallback = \"last-known-good\"\nhard_timeout = \"500ms\"\n\
    [class.product]\ntable = \"product\"\nkey = [\"id\"]\nhard_timeout = \"500ms\"\n";

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_stops_is_left_alone_values_stand_in_and_it_is_asked_again_when_it_is_back() {
    let mut world = World::start();
    let node = world.node(PLAN, LoadLimits::default()).await;
    let accounts = node.class::<i64, Account>("account").unwrap();
    let products = node.class::<i64, Product>("product").unwrap();
    // What is loaded while the feed is still coming up may be answered and not kept.
    while accounts.get(&1).await.unwrap().receipt().served_by != ServedBy::L1 {}
    world.database.stop(Stop::Immediate).unwrap();

    let left_alone = || node.cache().source_guard().status().left_alone;
    // Now and then one load is let through to see whether it is back.
    let retry_after_ms = tokio::time::timeout(PATIENCE, async {
        let mut id = 0;
        loop {
            id += 1;
            let error = products.get(&id).await.unwrap_err();
            if let ReadError::Load(LoadError::LeftAlone { retry_after_ms }) = error {
                return retry_after_ms;
            }
        }
    })
    .await
    .expect("it is left alone after some failures");
    assert!(retry_after_ms > 0);
    accounts.memory().clear();
    let answer = accounts.get(&1).await.unwrap();
    assert_eq!((answer.receipt().served_by, answer.receipt().proven), (ServedBy::Stale, false));
    assert_eq!(answer.value().unwrap().balance, 100);

    world.database.start_again().unwrap();
    tokio::time::timeout(PATIENCE, async {
        while left_alone().is_some() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        while !matches!(products.get(&10_000).await, Ok(answer) if answer.receipt().proven) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("it is asked again");
    node.shut_down().await;
}

/// A feed begins when every transaction that writes has ended, in any database of the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_can_work_without_a_cache_starts_behind_a_transaction_that_is_left_open() {
    let world = World::start();
    let source = async || Postgres::connect(&world.database.url(), PostgresOptions::default()).await.unwrap();
    let feed = FeedPlan::new(&source().await, &install_options(&Plan::default())).await.unwrap();
    feed.apply().await.unwrap();
    let (writer, connection) =
        tokio_postgres::connect(&world.database.url(), tokio_postgres::NoTls).await.unwrap();
    trueup::engine::env::spawn("a writer", async move { drop(connection.await) });
    writer.batch_execute("SET application_name = 'nightly'; BEGIN").await.unwrap();
    writer.batch_execute("UPDATE product SET name = 'new' WHERE id = 1").await.unwrap();

    let unless_stated = Trueup::builder().source(source().await).build().await;
    let why = unless_stated.expect_err("it does not catch up");
    assert!(matches!(&why, TrueupError::NotReady { problem, .. } if problem.contains("nightly")), "{why}");

    let starting = Trueup::builder().source(source().await).start_unproven_after(Duration::from_millis(200));
    let node = starting.build().await.unwrap();
    assert!(!node.cache().is_ready());
    let products = node.class::<i64, Product>("product").unwrap();
    for id in [1, 2, 2] {
        let answer = products.get(&id).await.unwrap();
        assert_eq!(answer.receipt().served_by, ServedBy::Source);
        assert_eq!(answer.value().unwrap().name, format!("{}{id}", "thing ".repeat(40)));
    }
    writer.batch_execute("COMMIT").await.unwrap();
    tokio::time::timeout(PATIENCE, node.cache().ready()).await.expect("it begins by itself");
    let from_memory = async {
        while products.get(&1).await.unwrap().receipt().served_by != ServedBy::L1 {}
        products.get(&1).await.unwrap()
    };
    let answer = tokio::time::timeout(PATIENCE, from_memory).await.expect("an answer from memory");
    assert_eq!(answer.value().unwrap().name, "new");
    node.shut_down().await;
}
