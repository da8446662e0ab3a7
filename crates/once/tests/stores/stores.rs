//! The seam itself: values, errors by what can be done, and transactions that end as they should.

use std::sync::Arc;

use once::{
    postgres::{self, PostgresOptions, PostgresStore},
    sqlite::{self, SqliteOptions, SqliteStore},
    store::{Owned as _, Store as _, StoreErrorKind, Transaction, Value},
};
use rusqlite::Connection;

use crate::bed::{Bed, PostgresBed, SqliteBed, both, effect, effects, number, run};

both! {
    values_come_back_as_they_were_given
    constraints_are_told_apart_and_tell_no_values
    a_mistake_in_a_statement_is_one
    what_was_read_is_one_state_and_cannot_be_written_in
}

async fn values_come_back_as_they_were_given<B: Bed>(bed: Arc<B>) {
    let store = bed.store();
    let tx = store.begin().await.unwrap();
    let bytes = match tx.dialect() {
        once::store::Dialect::Postgres => "BYTEA",
        once::store::Dialect::Sqlite => "BLOB",
    };
    tx.batch(&format!("CREATE TABLE v (a BIGINT, b TEXT, c {bytes}, d BOOLEAN, e SMALLINT)")).await.unwrap();
    let params: [Value<'_>; 5] =
        [i64::MIN.into(), "é'\"$1{now}".into(), (&[0, 255, 39]).into(), true.into(), 7i64.into()];
    tx.execute("INSERT INTO v VALUES ($1, $2, $3, $4, $5)", &params).await.unwrap();
    tx.execute("INSERT INTO v VALUES ($1, $2, $3, $4, $5)", &[Value::Null; 5]).await.unwrap();
    let rows = tx
        .query(
            "SELECT a, b, c, d, e FROM v WHERE a IS NULL OR a = $2 OR b = $1 ORDER BY a NULLS LAST",
            &["".into(), i64::MIN.into()],
        )
        .await
        .unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].int(0).unwrap(), i64::MIN);
    assert_eq!(rows[0].text(1).unwrap(), "é'\"$1{now}");
    assert_eq!(rows[0].bytes(2).unwrap(), [0, 255, 39]);
    assert!(rows[0].flag(3).unwrap());
    assert_eq!(rows[0].int(4).unwrap(), 7);
    assert_eq!(
        (rows[1].opt_int(0).unwrap(), rows[1].opt_text(1).unwrap(), rows[1].opt_bytes(2).unwrap()),
        (None, None, None)
    );
    let now = tx.query_row("SELECT {now}", &[]).await.unwrap().unwrap().int(0).unwrap();
    let here = i64::try_from(trueup_core::env::unix_ms()).unwrap();
    assert!((now - here).abs() < 60_000, "{now} is not a time in ms");
}

async fn constraints_are_told_apart_and_tell_no_values<B: Bed>(bed: Arc<B>) {
    let store = bed.store();
    let tx = store.begin().await.unwrap();
    tx.batch("CREATE TABLE c (name TEXT NOT NULL PRIMARY KEY, amount INTEGER NOT NULL CONSTRAINT not_negative CHECK (amount >= 0))").await.unwrap();
    tx.execute("INSERT INTO c VALUES ($1, 1)", &["secret-name".into()]).await.unwrap();
    tx.commit().await.unwrap();
    for (amount, kind) in [
        ("1", StoreErrorKind::Unique),
        ("-1", StoreErrorKind::Constraint),
        ("NULL", StoreErrorKind::Constraint),
    ] {
        let tx = store.begin().await.unwrap();
        let name = if amount == "1" { "secret-name" } else { "secret-other" };
        let error =
            tx.execute(&format!("INSERT INTO c VALUES ($1, {amount})"), &[name.into()]).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
        assert!(!error.is_transient());
        if amount == "-1" {
            assert_eq!(error.constraint(), Some("not_negative"));
        }
    }
}

async fn a_mistake_in_a_statement_is_one<B: Bed>(bed: Arc<B>) {
    let store = bed.store();
    for sql in ["SELECT nothing FROM nowhere", "SELEC 1", "SELECT 1.5"] {
        let tx = store.begin().await.unwrap();
        let error = tx.query(sql, &[]).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Usage, "{sql}: {error}");
    }
    let tx = store.begin().await.unwrap();
    assert_eq!(
        tx.execute("INSERT INTO effect (name, worker) VALUES ($1, $2)", &["a".into()])
            .await
            .unwrap_err()
            .kind(),
        StoreErrorKind::Usage
    );
}

async fn what_was_read_is_one_state_and_cannot_be_written_in<B: Bed>(bed: Arc<B>) {
    let (reader, writer) = (bed.store(), bed.store());
    let tx = reader.begin_read().await.unwrap();
    let count =
        async || tx.query_row("SELECT count(*) FROM effect", &[]).await.unwrap().unwrap().int(0).unwrap();
    assert_eq!(count().await, 0);
    let writing = writer.begin().await.unwrap();
    effect(&writing, "a", "writer").await;
    writing.commit().await.unwrap();
    assert_eq!(count().await, 0);
    assert!(tx.execute("DELETE FROM effect", &[]).await.is_err());
    drop(tx);
    assert_eq!(effects(&reader, "a").await, 1);
}

/// COMMIT alone would answer with success, and roll back.
#[test]
fn postgres_does_not_call_a_failed_transaction_committed() {
    run(async |bed: Arc<PostgresBed>| {
        let store = bed.store();
        let tx = store.begin().await.unwrap();
        effect(&tx, "a", "x").await;
        assert!(tx.query("SELECT 1/0", &[]).await.is_err());
        assert_eq!(tx.commit().await.unwrap_err().kind(), StoreErrorKind::Usage);
        assert_eq!(effects(&store, "a").await, 0);
    });
}

#[test]
fn a_lock_that_is_held_for_too_long_is_busy_on_postgres() {
    run(async |bed: Arc<PostgresBed>| {
        let options = PostgresOptions {
            lock_wait: std::time::Duration::from_millis(100),
            ..PostgresOptions::default()
        };
        let store = PostgresStore::with_options(bed.pool(4), options);
        let first = store.begin().await.unwrap();
        effect(&first, "a", "x").await;
        first.commit().await.unwrap();
        let holder = store.begin().await.unwrap();
        holder.execute("UPDATE effect SET worker = 'holder'", &[]).await.unwrap();
        let waiter = store.begin().await.unwrap();
        let busy = waiter.execute("UPDATE effect SET worker = 'waiter'", &[]).await.unwrap_err();
        assert_eq!(busy.kind(), StoreErrorKind::Busy);
        assert!(busy.is_transient());
    });
}

#[test]
fn a_broken_connection_is_unavailable_and_its_commit_unknown() {
    run(async |bed: Arc<PostgresBed>| {
        let store = bed.store();
        let broken = async |store: &PostgresStore| {
            let tx = store.begin().await.unwrap();
            let pid = tx.query_row("SELECT pg_backend_pid()", &[]).await.unwrap().unwrap().int(0).unwrap();
            effect(&tx, "a", "x").await;
            let killer = bed.store();
            let other = killer.begin().await.unwrap();
            other.query("SELECT pg_terminate_backend($1::int4, 5000)", &[pid.into()]).await.unwrap();
            tx
        };
        let tx = broken(&store).await;
        assert_eq!(tx.query("SELECT 1", &[]).await.unwrap_err().kind(), StoreErrorKind::Unavailable);
        drop(tx);
        let tx = broken(&store).await;
        assert_eq!(tx.commit().await.unwrap_err().kind(), StoreErrorKind::Unknown);
        // The pool gets over it.
        assert_eq!(effects(&store, "a").await, 0);
    });
}

#[test]
fn a_pool_without_a_free_connection_is_unavailable() {
    run(async |bed: Arc<PostgresBed>| {
        let mut pool = bed.pool(1);
        let timeouts = deadpool_postgres::Timeouts {
            wait: Some(std::time::Duration::from_millis(50)),
            ..pool.timeouts()
        };
        pool = deadpool_postgres::Pool::builder(deadpool_postgres::Manager::new(
            "host=127.0.0.1 port=1 user=x".parse().unwrap(),
            tokio_postgres::NoTls,
        ))
        .max_size(1)
        .timeouts(timeouts)
        .runtime(deadpool_postgres::Runtime::Tokio1)
        .build()
        .unwrap();
        let error = PostgresStore::new(pool).begin().await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
    });
}

#[test]
fn sqlites_write_lock_is_waited_for_and_then_busy() {
    run(async |bed: Arc<SqliteBed>| {
        let options =
            SqliteOptions { lock_wait: std::time::Duration::from_millis(100), ..SqliteOptions::default() };
        let (one, two) = (bed.store(), SqliteStore::with_options(bed.path(), options));
        let tx = one.begin().await.unwrap();
        assert_eq!(two.begin().await.unwrap_err().kind(), StoreErrorKind::Busy);
        let waiting = tokio::spawn({
            let store = bed.store();
            async move { store.begin().await.map(drop) }
        });
        effect(&tx, "a", "x").await;
        tx.commit().await.unwrap();
        waiting.await.unwrap().unwrap();
    });
}

#[test]
fn a_transaction_that_sqlite_ended_by_itself_commits_nothing_more() {
    run(async |bed: Arc<SqliteBed>| {
        let store = bed.store();
        let tx = store.begin().await.unwrap();
        effect(&tx, "a", "x").await;
        tx.with(|conn| conn.execute_batch("ROLLBACK")).unwrap();
        let late = tx.execute("INSERT INTO effect VALUES ('b', 'late')", &[]).await.unwrap_err();
        assert_eq!(late.kind(), StoreErrorKind::Usage);
        assert!(tx.commit().await.is_err());
        assert_eq!(number(&store, "SELECT count(*) FROM effect", &[]).await, 0);
    });
}

/// The engine works in a transaction that a service opened in its own way.
#[test]
fn a_claim_can_be_made_within_somebody_elses_transaction_on_postgres() {
    run(async |bed: Arc<PostgresBed>| {
        let once = bed.once();
        let request = crate::bed::request("ann", 1, "a").business(crate::bed::business("order-1"));
        let mut client = bed.pool(1).get().await.unwrap();
        for commits in [false, true] {
            let own = client.transaction().await.unwrap();
            let within = postgres::Within::new(own.client());
            claim_within(&once, &within, &request).await;
            if commits { own.commit().await.unwrap() } else { own.rollback().await.unwrap() }
        }
        assert_eq!(effects(once.store(), "within").await, 1);
        assert!(matches!(crate::bed::claim(&once, &request).await, once::Claim::Replay(_)));
    });
}

struct Lender(parking_lot::Mutex<Connection>);

impl sqlite::Lends for Lender {
    fn lend<T>(&self, work: impl FnOnce(&Connection) -> T) -> T {
        work(&self.0.lock())
    }
}

#[test]
fn a_claim_can_be_made_within_somebody_elses_transaction_on_sqlite() {
    run(async |bed: Arc<SqliteBed>| {
        let once = bed.once();
        let request = crate::bed::request("ann", 1, "a").business(crate::bed::business("order-1"));
        let lender = Lender(Connection::open(bed.path()).unwrap().into());
        for end in ["ROLLBACK", "COMMIT"] {
            lender.0.lock().execute_batch("BEGIN IMMEDIATE").unwrap();
            claim_within(&once, &sqlite::Within::new(&lender), &request).await;
            lender.0.lock().execute_batch(end).unwrap();
        }
        assert_eq!(effects(once.store(), "within").await, 1);
        assert!(matches!(crate::bed::claim(&once, &request).await, once::Claim::Replay(_)));
    });
}

async fn claim_within<S: once::store::Store, T: Transaction>(
    once: &once::Once<S>,
    tx: &T,
    request: &once::Request,
) {
    let held = crate::bed::granted(once.claim(tx, request).await.unwrap());
    effect(tx, "within", "x").await;
    let step = once::Step::to(once::Point::new("INTENT")).location("/effects/1").data(*b"data");
    let held = once.advance(tx, &held, step).await.unwrap();
    let held = once.advance(tx, &held, once::Step::to(once::Point::new("SENT"))).await.unwrap();
    assert_eq!(once.lock(tx, held.id()).await.unwrap().unwrap(), held);
    once.outbox().put(tx, &once::outbox::NewMessage::new("a", "t", "1", b"")).await.unwrap();
    once.finish(tx, &held, &crate::bed::answer("done")).await.unwrap();
}

/// Whoever only reads drops its transaction: to connect anew for the next would take many times as long as the read.
#[test]
fn the_connection_of_a_dropped_transaction_serves_the_next_one_without_its_changes() {
    run(async |bed: Arc<PostgresBed>| {
        let store = PostgresStore::new(bed.pool(1));
        let process = async |write: bool| {
            let tx = if write { store.begin().await.unwrap() } else { store.begin_read().await.unwrap() };
            let number = async |sql| tx.query_row(sql, &[]).await.unwrap().unwrap().int(0).unwrap();
            assert_eq!(number("SELECT count(*) FROM pg_tables WHERE tablename = 'dropped'").await, 0);
            if write {
                tx.batch("CREATE TABLE dropped (a BIGINT)").await.unwrap();
            }
            number("SELECT pg_backend_pid()::int8").await
        };
        let first = process(false).await;
        for write in [true, false, true, false] {
            assert_eq!(process(write).await, first);
        }
    });
}
