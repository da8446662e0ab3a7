//! The library's way in, on a database where nothing happens.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use trueup::{
    Plan, Postgres, PostgresOptions, ServedBy, Trueup, catalog::postgres::install_options, postgres::FeedPlan,
};

use super::support::server;

/// Below the longest pause between two questions that the options have by themselves.
const BOUND: Duration = Duration::from_millis(100);
const READS: usize = 20;

#[derive(Serialize, Deserialize)]
struct Account {
    balance: i64,
}

/// A busy machine may make some of the reads a miss; a feed that is asked too seldom makes all of them one.
#[tokio::test(flavor = "multi_thread")]
async fn a_class_with_a_short_bound_is_answered_from_memory_without_any_option() {
    let server = server(
        "CREATE TABLE account (id bigint PRIMARY KEY, balance bigint NOT NULL); INSERT INTO account VALUES (1, 7)",
    );
    let postgres = Postgres::connect(&server.url(), PostgresOptions::default()).await.unwrap();
    let plan = format!(
        "[class.account]\ntable = \"account\"\nkey = [\"id\"]\nmax_staleness = \"{}ms\"\n",
        BOUND.as_millis()
    );
    let plan = Plan::parse("test", &plan, &[]).unwrap();
    FeedPlan::new(&postgres, &install_options(&plan)).await.unwrap().apply().await.unwrap();
    let trueup = Trueup::builder().source(postgres).plan(plan).build().await.unwrap();
    let accounts = trueup.class::<i64, Account>("account").unwrap();
    let mut from_memory = 0;
    for _ in 0..READS {
        let answer = accounts.get(&1).await.unwrap();
        assert_eq!(answer.value().unwrap().balance, 7);
        from_memory += usize::from(answer.receipt().served_by == ServedBy::L1);
        // So long that what the last read has asked for is too old.
        tokio::time::sleep(BOUND * 6 / 5).await;
    }
    assert!(from_memory >= READS / 2, "{from_memory} of {READS}");
    trueup.shut_down().await;
}
