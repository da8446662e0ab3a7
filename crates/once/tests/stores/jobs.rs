//! Jobs: killed and started again at any point, they change nothing the second time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use once::{
    Once, OnceError,
    jobs::{BusinessDate, JobRun, Started},
    store::{Owned as _, Store, Transaction as _},
};

use crate::bed::{Bed, LONG, both, effects, number, pass};

const ACCOUNTS: i64 = 20;
const CHUNK: i64 = 3;
/// A time that no test takes.
const TTL: Duration = Duration::from_secs(600);

both! {
    the_second_of_two_instances_walks_away
    a_run_killed_after_any_chunk_goes_on_and_ends_the_same
    a_run_that_was_paused_past_its_lease_writes_nothing
    a_finished_run_is_not_begun_again_and_another_date_is
    an_answer_from_outside_is_kept_and_used_again
    a_chunk_that_is_dropped_is_done_again
}

fn date() -> BusinessDate {
    "2026-11-26".parse().unwrap()
}

async fn start<S: Store>(once: &Once<S>, owner: &str) -> JobRun<S> {
    match once.jobs().ttl(TTL).start("settlement", date(), owner).await.unwrap() {
        Started::Running(run) => run,
        _ => panic!("it is to run"),
    }
}

/// Posts to some accounts; whether there are more.
async fn chunk<S: Store>(run: &JobRun<S>) -> Result<bool, OnceError> {
    let chunk = run.chunk().await?;
    let from: i64 = chunk.checkpoint().map_or(0, |text| text.parse().unwrap());
    if from == ACCOUNTS {
        chunk.finish().await?;
        return Ok(false);
    }
    let to = (from + CHUNK).min(ACCOUNTS);
    for account in from..to {
        let id = run.id(&account.to_string()).to_string();
        let sql = "INSERT INTO posting (id, account) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";
        chunk.tx().execute(sql, &[(&id).into(), account.into()]).await?;
        chunk.tx().execute("UPDATE total SET amount = amount + 1", &[]).await?;
    }
    chunk.save(&to.to_string()).await?;
    Ok(true)
}

async fn tables<S: Store>(store: &S) {
    let tx = store.begin().await.unwrap();
    tx.batch("CREATE TABLE posting (id TEXT PRIMARY KEY, account INTEGER NOT NULL); CREATE TABLE total (amount INTEGER NOT NULL); INSERT INTO total VALUES (0)").await.unwrap();
    tx.commit().await.unwrap();
}

async fn assert_done_once<S: Store>(store: &S) {
    assert_eq!(number(store, "SELECT count(*) FROM posting", &[]).await, ACCOUNTS);
    assert_eq!(number(store, "SELECT CAST(amount AS BIGINT) FROM total", &[]).await, ACCOUNTS);
}

async fn the_second_of_two_instances_walks_away<B: Bed>(bed: Arc<B>) {
    let instances = [bed.once(), bed.once()];
    let starts = instances.clone().map(|once| {
        tokio::spawn(
            async move { once.jobs().ttl(TTL).start("settlement", date(), "one of two").await.unwrap() },
        )
    });
    let (mut running, mut elsewhere) = (Vec::new(), 0);
    for started in starts {
        match started.await.unwrap() {
            Started::Running(run) => running.push(run),
            Started::Elsewhere { .. } => elsewhere += 1,
            Started::Finished { .. } => panic!("nobody finished it"),
        }
    }
    assert_eq!((running.len(), elsewhere), (1, 1));
    // Not for another date either.
    let tomorrow = instances[0].jobs().start("settlement", "2026-11-27".parse().unwrap(), "x").await.unwrap();
    assert!(matches!(tomorrow, Started::Elsewhere { .. }));
}

async fn a_run_killed_after_any_chunk_goes_on_and_ends_the_same<B: Bed>(bed: Arc<B>) {
    tables(&bed.store()).await;
    let mut runs = 0;
    'job: loop {
        runs += 1;
        let once = bed.once();
        let run = start(&once, &runs.to_string()).await;
        // Each run is killed after one chunk and the beginning of another.
        let more = chunk(&run).await.unwrap();
        if more {
            let dying = run.chunk().await.unwrap();
            dying.tx().execute("UPDATE total SET amount = amount + 100", &[]).await.unwrap();
            drop(dying);
            drop(run);
            pass(once.store(), LONG).await;
        } else {
            run.release().await.unwrap();
            break 'job;
        }
    }
    assert_eq!(runs, ACCOUNTS / CHUNK + 2);
    assert_done_once(&bed.store()).await;
    assert_eq!(number(&bed.store(), "SELECT chunks FROM once_job_runs", &[]).await, runs);
}

async fn a_run_that_was_paused_past_its_lease_writes_nothing<B: Bed>(bed: Arc<B>) {
    tables(&bed.store()).await;
    let (one, two) = (bed.once(), bed.once());
    let paused = start(&one, "one").await;
    chunk(&paused).await.unwrap();
    pass(one.store(), LONG).await;
    let next = start(&two, "two").await;
    chunk(&next).await.unwrap();
    // It wakes up: nothing of it is written, and neither is an answer.
    assert!(matches!(chunk(&paused).await, Err(OnceError::LeaseLost { .. })));
    let answer = paused.answer("7", |_| async { Ok::<_, OnceError>(b"late".to_vec()) }).await;
    assert!(matches!(answer, Err(OnceError::LeaseLost { .. })));
    assert!(matches!(paused.release().await, Err(OnceError::LeaseLost { .. })));
    while chunk(&next).await.unwrap() {}
    assert_done_once(two.store()).await;
    assert_eq!(number(two.store(), "SELECT count(*) FROM once_job_items", &[]).await, 0);
}

async fn a_finished_run_is_not_begun_again_and_another_date_is<B: Bed>(bed: Arc<B>) {
    tables(&bed.store()).await;
    let once = bed.once();
    let run = start(&once, "one").await;
    while chunk(&run).await.unwrap() {}
    assert!(matches!(run.chunk().await, Err(OnceError::Invalid { .. })), "no chunk after the last");
    run.release().await.unwrap();
    for _ in 0..2 {
        let again = bed.once().jobs().start("settlement", date(), "two").await.unwrap();
        assert!(matches!(again, Started::Finished { at_ms } if at_ms > 0));
    }
    assert_done_once(once.store()).await;
    let other = once.jobs().start("settlement", "2026-11-27".parse().unwrap(), "two").await.unwrap();
    assert!(matches!(other, Started::Running(_)));
    let other = once.jobs().start("statements", date(), "two").await.unwrap();
    assert!(matches!(other, Started::Running(_)));
}

async fn an_answer_from_outside_is_kept_and_used_again<B: Bed>(bed: Arc<B>) {
    let asked = AtomicUsize::new(0);
    // A price that is another one each time.
    let ask = |id: uuid::Uuid| {
        let n = asked.fetch_add(1, Ordering::SeqCst);
        async move { Ok::<_, OnceError>(format!("{id} costs {n}").into_bytes()) }
    };
    let once = bed.once();
    let run = start(&once, "one").await;
    let failed = run
        .answer("7", |_| async { Err(OnceError::Invalid { what: "it", why: "is down".to_owned() }) })
        .await;
    assert!(failed.is_err());
    let first = run.answer("7", ask).await.unwrap();
    assert_eq!(first, run.answer("7", ask).await.unwrap());
    assert_ne!(first, run.answer("8", ask).await.unwrap());
    drop(run);
    pass(once.store(), LONG).await;
    let again = start(&bed.once(), "two").await;
    assert_eq!(again.answer("7", ask).await.unwrap(), first);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert!(String::from_utf8(first).unwrap().starts_with(&again.id("7").to_string()));
}

async fn a_chunk_that_is_dropped_is_done_again<B: Bed>(bed: Arc<B>) {
    tables(&bed.store()).await;
    let once = bed.once();
    let run = start(&once, "one").await;
    for _ in 0..3 {
        let dropped = run.chunk().await.unwrap();
        assert_eq!(dropped.checkpoint(), None);
        crate::bed::effect(dropped.tx(), "dropped", "one").await;
    }
    while chunk(&run).await.unwrap() {}
    assert_done_once(once.store()).await;
    assert_eq!(effects(once.store(), "dropped").await, 0);
}
