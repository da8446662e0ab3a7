//! Loads on a hot standby: what they certainly saw, and when there is nothing to be had from one.

use trueup::{
    engine::{
        proof::{Position, Snapshot},
        source::{LoadError, Loader as _},
    },
    postgres::{Postgres, PostgresOptions},
};

use super::support::{key, load, rows, server, text, until, until_answers};

const BANK: &str = "CREATE TABLE account (id int PRIMARY KEY, balance int); INSERT INTO account VALUES (1, 100); \
    CREATE PUBLICATION trueup FOR TABLE account";

fn position(server: &trueup_testbed::Postgres, function: &str) -> u64 {
    server.query(&format!("SELECT {function}() - '0/0'::pg_lsn")).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_on_a_standby_covers_what_was_replayed_before_it_and_no_more() {
    let primary = server(BANK);
    let standby = primary.standby("near").unwrap();
    let options = PostgresOptions { replicas: vec![standby.url()], ..PostgresOptions::default() };
    let postgres = Postgres::connect(&primary.url(), options).await.unwrap();
    let loader = rows(&postgres, "account").await;
    let one = key(&loader, "1");
    let through = |snapshot: &Snapshot| match snapshot {
        Snapshot::Replayed(through) => *through,
        other => panic!("a standby tells how far it is, not {other:?}"),
    };
    let loaded = loader.load_on_standby(&one).unwrap().await.unwrap();
    assert_eq!(text(&loaded), Some(r#"{"id": 1, "balance": 100}"#));
    assert_eq!(loaded.tags, load(&loader, "1").await.unwrap().tags);
    assert!(through(&loaded.seen.snapshot) <= Position(position(&standby, "pg_last_wal_replay_lsn")));
    assert!(loaded.seen.upper <= Position(position(&primary, "pg_current_wal_insert_lsn")));
    assert_eq!(loader.load_on_standby(&key(&loader, "2")).unwrap().await.unwrap().value, None);
    // It lags: what it has not replayed is not covered, and not shown.
    standby.query("SELECT pg_wal_replay_pause()").unwrap();
    until_answers(&standby, "SELECT pg_get_wal_replay_pause_state()", "paused");
    let ((), token) = postgres
        .write(async |tx| tx.execute("UPDATE account SET balance = 50", &[]).await.map(drop))
        .await
        .unwrap();
    let lagging = loader.load_on_standby(&one).unwrap().await.unwrap();
    assert_eq!(text(&lagging), Some(r#"{"id": 1, "balance": 100}"#));
    assert!(through(&lagging.seen.snapshot) < token.position);
    assert!(lagging.seen.upper >= token.position, "asked of the primary, afterwards");
    standby.query("SELECT pg_wal_replay_resume()").unwrap();
    until("the standby", || (position(&standby, "pg_last_wal_replay_lsn") >= token.position.0).then_some(()));
    let caught_up = loader.load_on_standby(&one).unwrap().await.unwrap();
    assert_eq!(text(&caught_up), Some(r#"{"id": 1, "balance": 50}"#));
    assert!(through(&caught_up.seen.snapshot) >= token.position);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_was_promoted_or_is_gone_answers_nothing_and_is_left_alone_for_a_while() {
    let primary = server(BANK);
    let mut standby = primary.standby("near").unwrap();
    let options = PostgresOptions { replicas: vec![standby.url()], ..PostgresOptions::default() };
    let postgres = Postgres::connect(&primary.url(), options).await.unwrap();
    let loader = rows(&postgres, "account").await;
    let one = key(&loader, "1");
    loader.load_on_standby(&one).unwrap().await.unwrap();
    standby.promote().unwrap();
    standby.query("UPDATE account SET balance = 1").unwrap();
    let error = loader.load_on_standby(&one).unwrap().await.unwrap_err();
    assert!(matches!(&error, LoadError::Unavailable(why) if why.contains("no standby any more")), "{error}");
    assert!(loader.load_on_standby(&one).is_none(), "left alone");
    assert_eq!(text(&load(&loader, "1").await.unwrap()), Some(r#"{"id": 1, "balance": 100}"#));
    standby.stop(trueup_testbed::Stop::Immediate).unwrap();
    let again = until("its pause to end", || loader.load_on_standby(&one));
    assert!(matches!(again.await.unwrap_err(), LoadError::Unavailable(_)));
}
