//! Transactions, tokens, locked reads, invalidation.

use std::time::Duration;

use trueup::{
    engine::{proof::Tag, source::Source as _, write::LockingRead as _},
    postgres::{Postgres, PostgresError, PostgresOptions, WriteError},
};

use super::support::{connect, key, load, rows, server, text, until};

const BANK: &str = "CREATE TABLE account (id int PRIMARY KEY, balance int); INSERT INTO account VALUES (1, 100), (2, 0); \
    CREATE PUBLICATION trueup FOR TABLE account";

fn end_of_log(server: &trueup_testbed::Postgres) -> u64 {
    server.query("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn").unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_lies_at_or_after_the_commit_even_an_asynchronous_one() {
    let server = server(BANK);
    server.query("SELECT pg_create_logical_replication_slot('peek', 'test_decoding')").unwrap();
    let postgres = connect(&server).await;
    for _ in 0..20 {
        let ((), token) = postgres
            .write(async |tx| {
                tx.execute("SET LOCAL synchronous_commit = off", &[]).await?;
                tx.execute("UPDATE account SET balance = balance + 1 WHERE id = 1", &[]).await.map(drop)
            })
            .await
            .unwrap();
        // `lsn` of the COMMIT is where its record ends.
        let commits = "SELECT max(lsn - '0/0'::pg_lsn) FROM pg_logical_slot_peek_changes('peek', NULL, NULL) WHERE data LIKE 'COMMIT%'";
        let committed: u64 = until("the commit in the log", || server.query(commits).unwrap().parse().ok());
        assert!(token.position.0 >= committed);
        assert!(token.position.0 <= end_of_log(&server));
    }
    let now = postgres.token().await.unwrap();
    assert!(now.position.0 <= end_of_log(&server));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_rolled_back_and_says_so() {
    let server = server(BANK);
    let postgres = connect(&server).await;
    let loader = rows(&postgres, "account").await;
    let work = postgres
        .write(async |tx| {
            tx.execute("UPDATE account SET balance = 1", &[]).await.unwrap();
            Err::<(), _>("no")
        })
        .await;
    assert!(matches!(work, Err(WriteError::Work("no"))));
    let hidden = postgres
        .write(async |tx| {
            tx.execute("UPDATE account SET balance = 2", &[]).await.unwrap();
            drop(tx.execute("SELECT 1 / 0", &[]).await);
            Ok::<_, ()>(())
        })
        .await;
    let Err(WriteError::Source(PostgresError::Transaction { reason })) = hidden else { panic!("{hidden:?}") };
    assert!(reason.contains("one of its statements had failed"), "{reason}");
    let ended = postgres
        .write(async |tx| {
            tx.client().batch_execute("COMMIT").await.unwrap();
            Ok::<_, ()>(())
        })
        .await;
    let Err(WriteError::Source(PostgresError::Transaction { reason })) = ended else { panic!("{ended:?}") };
    assert!(reason.contains("ended from within"), "{reason}");
    // Dropped on its way.
    let endless = postgres.write(async |tx| {
        tx.execute("UPDATE account SET balance = 3", &[]).await.unwrap();
        std::future::pending::<Result<(), ()>>().await
    });
    assert!(tokio::time::timeout(Duration::from_millis(200), endless).await.is_err());
    postgres
        .write(async |tx| tx.execute("UPDATE account SET balance = balance + 1 WHERE id = 2", &[]).await)
        .await
        .unwrap();
    assert_eq!(text(&load(&loader, "1").await.unwrap()), Some(r#"{"id": 1, "balance": 100}"#));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_waits_for_a_synchronous_standby_is_not_called_done_when_the_time_is_over() {
    let server = server(BANK);
    let options = PostgresOptions { write_limit: Duration::from_millis(300), ..PostgresOptions::default() };
    let postgres = Postgres::connect(&server.url(), options).await.unwrap();
    server.set("synchronous_standby_names", "ghost").unwrap();
    let write = postgres.write(async |tx| tx.execute("UPDATE account SET balance = 5", &[]).await);
    let mut write = std::pin::pin!(write);
    assert!(tokio::time::timeout(Duration::from_millis(1_500), &mut write).await.is_err(), "it waits");
    server.set("synchronous_standby_names", "").unwrap();
    let (changed, _) = write.await.unwrap();
    assert_eq!(changed, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_read_keeps_a_second_writer_out() {
    let server = server(BANK);
    let patience = Duration::from_millis(300);
    let options = PostgresOptions { write_lock_wait: patience, ..PostgresOptions::default() };
    let postgres = Postgres::connect(&server.url(), options).await.unwrap();
    let loader = rows(&postgres, "account").await;
    let one = key(&loader, "1");
    let raise = "UPDATE account SET balance = balance + 1 WHERE id = 1";
    postgres
        .write(async |tx| {
            let read = tx.reads(&loader).read_locked(&one).await.unwrap().unwrap();
            assert_eq!(&read.0[..], br#"{"id": 1, "balance": 100}"#);
            let second = postgres.write(async |tx| tx.execute(raise, &[]).await).await;
            let Err(WriteError::Work(error)) = second else { panic!("the row was not locked") };
            assert_eq!(error.code().map(|code| code.code()), Some("55P03"));
            assert!(tx.reads(&loader).read_locked(&key(&loader, "9")).await.unwrap().is_none());
            tx.execute(raise, &[]).await
        })
        .await
        .unwrap();
    assert_eq!(text(&load(&loader, "1").await.unwrap()), Some(r#"{"id": 1, "balance": 101}"#));
}

#[tokio::test(flavor = "multi_thread")]
async fn invalidation_is_a_transactional_message_of_the_log() {
    let server = server(BANK);
    server.query("SELECT pg_create_logical_replication_slot('peek', 'test_decoding')").unwrap();
    let postgres = connect(&server).await;
    let token = postgres.invalidate(&[Tag(0x0102_0304_0506_0708), Tag(9)]).await.unwrap();
    assert!(token.position.0 <= end_of_log(&server));
    let told = server.query(
        "SELECT data FROM pg_logical_slot_peek_changes('peek', NULL, NULL) WHERE data LIKE 'message%'",
    );
    assert!(told.unwrap().contains("transactional: 1 prefix: trueup.tags, sz: 24"));
}
