//! The database itself is away.

use std::time::Duration;

use trueup::{LoadError, ReadError, ServedBy, engine::guard::LoadLimits};
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
    assert_eq!(accounts.get(&1).await.unwrap().value().unwrap().balance, 100);
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
