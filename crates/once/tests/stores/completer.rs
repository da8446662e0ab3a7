//! What was begun and not finished is gone on with, and never failed by itself.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use once::{
    Claim, Completer, CompleterReport, Held, Once, OnceError, Options, Point, Resume, Resumed, Step,
    store::{Owned as _, Store},
};

use crate::bed::{Bed, LONG, answer, both, claim, effect, effects, finish, granted, pass, request, resumed};

type Outcome = Result<Resumed, Box<dyn std::error::Error + Send + Sync>>;

both! {
    only_what_has_lapsed_is_taken_and_it_is_finished
    two_completers_take_no_key_twice
    what_is_not_known_stays_as_it_is_and_is_asked_again_later
    a_key_in_review_waits_for_people
    a_completer_that_dies_is_followed_by_another
    a_resume_that_moves_on_and_then_fails_is_put_aside_from_where_it_stands
    a_round_takes_no_more_than_its_bound
}

/// Ends each key with one effect, as T2 would.
struct Finishes;

impl<S: Store> Resume<S> for Finishes {
    async fn resume(&self, once: &Once<S>, held: Held) -> Outcome {
        let tx = once.store().begin().await?;
        effect(&tx, "completed", &held.id().0.to_string()).await;
        match once.finish(&tx, &held, &answer("completed")).await {
            Ok(()) => tx.commit().await?,
            Err(OnceError::Discarded { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Resumed::Finished)
    }
}

/// Answers the same each time.
struct Says(fn() -> Outcome);

impl<S: Store> Resume<S> for Says {
    async fn resume(&self, _: &Once<S>, _: Held) -> Outcome {
        (self.0)()
    }
}

async fn only_what_has_lapsed_is_taken_and_it_is_finished<B: Bed>(bed: Arc<B>) {
    let once = bed.once();
    let done = granted(claim(&once, &request("ann", 0, "a")).await);
    finish(&once, &done, "done").await.unwrap();
    for key in 1..=3 {
        granted(claim(&once, &request("ann", key, "a")).await);
    }
    let completer = Completer::new(bed.once(), Finishes);
    assert_eq!(completer.run_once().await.unwrap(), CompleterReport::default());
    pass(once.store(), LONG).await;
    granted(claim(&once, &request("ann", 4, "a")).await);
    let report = completer.run_once().await.unwrap();
    assert_eq!((report.taken, report.finished), (3, 3));
    assert_eq!(completer.run_once().await.unwrap().taken, 0);
    assert_eq!(effects(once.store(), "completed").await, 3);
    assert_eq!(claim(&once, &request("ann", 2, "a")).await, Claim::Replay(answer("completed")));
    assert_eq!(claim(&once, &request("ann", 0, "a")).await, Claim::Replay(answer("done")));
    assert!(matches!(claim(&once, &request("ann", 4, "a")).await, Claim::InFlight { .. }));
}

async fn two_completers_take_no_key_twice<B: Bed>(bed: Arc<B>) {
    const KEYS: u32 = 40;
    let once = bed.once();
    for key in 0..KEYS {
        granted(claim(&once, &request("ann", key, "a")).await);
    }
    pass(once.store(), LONG).await;
    let rounds = (0..4).map(|_| {
        let completer = Completer::new(bed.once(), Finishes).bounds(8, 2);
        tokio::spawn(async move {
            let mut taken = 0;
            loop {
                match completer.run_once().await {
                    Ok(CompleterReport { taken: 0, .. }) => return taken,
                    Ok(report) => {
                        assert_eq!(report.finished, report.taken);
                        taken += report.taken;
                    }
                    Err(error) if error.is_transient() => {}
                    Err(error) => panic!("{error}"),
                }
            }
        })
    });
    let mut taken = 0;
    for round in rounds.collect::<Vec<_>>() {
        taken += round.await.unwrap();
    }
    // A key is taken a second time only if its lease has ended, which it has not in this time.
    assert_eq!(taken, KEYS as usize);
    assert_eq!(effects(once.store(), "completed").await, i64::from(KEYS));
}

async fn what_is_not_known_stays_as_it_is_and_is_asked_again_later<B: Bed>(bed: Arc<B>) {
    let once = Once::new(bed.store(), Options::new().stuck(Duration::from_secs(1_000_000), 3));
    granted(claim(&once, &request("ann", 1, "a")).await);
    let alerts = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&alerts);
    let later = Completer::new(once.clone(), Says(|| Ok(Resumed::Later(None))))
        .on_stuck(move |stuck| told.lock().unwrap().push(stuck.to_vec()));
    let failing = Completer::new(once.clone(), Says(|| Err("the gateway answered garbage".into())));
    for attempt in 1..=4 {
        pass(once.store(), LONG).await;
        let report =
            if attempt % 2 == 0 { failing.run_once().await } else { later.run_once().await }.unwrap();
        assert_eq!((report.taken, report.postponed + report.failed), (1, 1));
        // Its pause has not passed.
        assert_eq!(later.run_once().await.unwrap().taken, 0);
        let (count, stuck) = once.stuck(10).await.unwrap();
        assert_eq!(count, u64::from(attempt >= 3));
        assert_eq!(once.counters().stuck.get(), count);
        assert!(stuck.iter().all(|one| one.attempts >= 3 && one.review_reason.is_none()));
    }
    assert!(!alerts.lock().unwrap().is_empty());
    assert!(matches!(claim(&once, &request("ann", 1, "a")).await, Claim::InFlight { .. }));
    pass(once.store(), LONG).await;
    let held = resumed(claim(&once, &request("ann", 1, "a")).await);
    assert_eq!((held.point(), held.attempts()), (&Point::STARTED, 5));
}

async fn a_key_in_review_waits_for_people<B: Bed>(bed: Arc<B>) {
    let once = bed.once();
    let held = granted(claim(&once, &request("ann", 1, "a")).await);
    pass(once.store(), LONG).await;
    let reason = "the gateway knows no such charge, and is too late to ask: ".to_owned() + &"é".repeat(2_000);
    let reviewing = Completer::new(once.clone(), Reviews(reason));
    let report = reviewing.run_once().await.unwrap();
    assert_eq!((report.taken, report.reviews), (1, 1));
    pass(once.store(), LONG).await;
    assert_eq!(reviewing.run_once().await.unwrap().taken, 0);
    assert!(
        matches!(claim(&once, &request("ann", 1, "a")).await, Claim::InFlight { .. }),
        "not taken over either"
    );
    let (count, stuck) = once.stuck(10).await.unwrap();
    assert_eq!((count, stuck[0].id), (1, held.id()));
    assert!(stuck[0].review_reason.as_ref().unwrap().starts_with("the gateway knows"));

    let tx = once.store().begin().await.unwrap();
    assert!(once.reopen(&tx, held.id()).await.unwrap());
    assert!(!once.reopen(&tx, held.id()).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(Completer::new(once.clone(), Finishes).run_once().await.unwrap().finished, 1);
    assert_eq!(once.stuck(10).await.unwrap().0, 0);
}

struct Reviews(String);

impl<S: Store> Resume<S> for Reviews {
    async fn resume(&self, _: &Once<S>, _: Held) -> Outcome {
        Ok(Resumed::Review(self.0.clone()))
    }
}

/// Never comes back the first time.
struct HangsOnce(AtomicUsize);

impl<S: Store> Resume<S> for HangsOnce {
    async fn resume(&self, once: &Once<S>, held: Held) -> Outcome {
        if self.0.fetch_add(1, Ordering::SeqCst) == 0 {
            std::future::pending::<()>().await;
        }
        Finishes.resume(once, held).await
    }
}

async fn a_completer_that_dies_is_followed_by_another<B: Bed>(bed: Arc<B>) {
    let once = bed.once();
    granted(claim(&once, &request("ann", 1, "a")).await);
    pass(once.store(), LONG).await;
    let resume = Arc::new(AtomicUsize::new(0));
    struct Shared(Arc<AtomicUsize>);
    impl<S: Store> Resume<S> for Shared {
        async fn resume(&self, once: &Once<S>, held: Held) -> Outcome {
            let hangs = HangsOnce(AtomicUsize::new(self.0.fetch_add(1, Ordering::SeqCst)));
            hangs.resume(once, held).await
        }
    }
    let dying = Completer::new(once.clone(), Shared(Arc::clone(&resume)));
    let task = tokio::spawn(async move { dying.run_once().await });
    while resume.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    task.abort();
    let next = Completer::new(once.clone(), Shared(resume));
    assert_eq!(next.run_once().await.unwrap().taken, 0, "its lease has not ended");
    pass(once.store(), LONG).await;
    assert_eq!(next.run_once().await.unwrap().finished, 1);
    assert_eq!(effects(once.store(), "completed").await, 1);
}

/// Makes a step, commits it, and fails behind it.
struct StepsAndFails;

impl<S: Store> Resume<S> for StepsAndFails {
    async fn resume(&self, once: &Once<S>, held: Held) -> Outcome {
        let tx = once.store().begin().await?;
        once.advance(&tx, &held, Step::to(Point::new("SENT"))).await?;
        tx.commit().await?;
        Err("the connection broke".into())
    }
}

async fn a_resume_that_moves_on_and_then_fails_is_put_aside_from_where_it_stands<B: Bed>(bed: Arc<B>) {
    let once = bed.once();
    granted(claim(&once, &request("ann", 1, "a")).await);
    pass(once.store(), LONG).await;
    let report = Completer::new(once.clone(), StepsAndFails).run_once().await.unwrap();
    assert_eq!((report.taken, report.failed), (1, 1));
    // The pause of a first failure, not the lease of the step.
    pass(once.store(), Duration::from_secs(2)).await;
    let held = resumed(claim(&once, &request("ann", 1, "a")).await);
    assert_eq!((held.point().name(), held.fence()), ("SENT", 3));
}

async fn a_round_takes_no_more_than_its_bound<B: Bed>(bed: Arc<B>) {
    let once = bed.once();
    for key in 0..5 {
        granted(claim(&once, &request("ann", key, "a")).await);
        pass(once.store(), Duration::from_secs(60)).await;
    }
    let completer = Completer::new(once.clone(), Finishes).bounds(2, 1);
    for taken in [2, 2, 1, 0] {
        assert_eq!(completer.run_once().await.unwrap().taken, taken);
    }
}
