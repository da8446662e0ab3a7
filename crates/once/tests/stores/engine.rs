//! Keys: claimed by one, taken over by one, answered the same for ever.

use std::{sync::Arc, time::Duration};

use once::{
    Claim, KeyId, LookUp, OnceError, Options, Point, Ran, Step, StoredResponse,
    store::{Owned as _, Store as _, StoreErrorKind},
};

use crate::bed::{
    Bed, LONG, answer, both, business, change, claim, effect, effects, finish, granted, number, pass,
    request, resumed,
};

const CLIENTS: usize = 64;
const INTENT: Point = Point::new("INTENT");

both! {
    of_64_clients_with_one_key_exactly_one_is_granted
    of_64_clients_that_run_at_once_one_works_and_all_get_its_answer
    keys_of_two_principals_have_nothing_to_do_with_each_other
    a_key_used_for_something_else_is_refused_in_every_state
    a_worker_that_dies_before_its_commit_leaves_nothing
    an_answer_is_given_again_byte_for_byte_by_any_instance
    a_key_is_taken_over_only_after_its_lease_and_only_by_one
    a_worker_that_was_paused_past_its_lease_changes_nothing
    of_two_that_make_the_same_step_one_does
    what_a_step_leaves_is_there_for_whoever_goes_on
    an_accepted_request_is_followed_at_its_location
    news_from_outside_end_a_key_before_its_holder_does
    a_business_id_outlives_its_key
    a_claim_that_is_rolled_back_uses_up_no_business_id
    a_known_business_id_leaves_no_key_behind
    only_what_is_finished_and_old_is_forgotten
    work_that_fails_leaves_the_key_free
    what_cannot_be_kept_is_refused_before_anything_is_written
    a_step_in_a_transaction_that_is_rolled_back_did_not_happen
}

async fn of_64_clients_with_one_key_exactly_one_is_granted<B: Bed>(bed: Arc<B>) {
    let instances = [bed.once(), bed.once()];
    let clients = (0..CLIENTS).map(|client| {
        let once = instances[client % 2].clone();
        tokio::spawn(async move {
            let tx = once.store().begin().await.unwrap();
            match once.claim(&tx, &request("ann", 1, "a")).await.unwrap() {
                Claim::Granted(held) => {
                    effect(&tx, "a", &client.to_string()).await;
                    tx.commit().await.unwrap();
                    Some(held)
                }
                Claim::InFlight { .. } => None,
                other => panic!("{other:?}"),
            }
        })
    });
    let mut held = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        held.extend(client.await.unwrap());
    }
    assert_eq!(held.len(), 1);
    assert_eq!(effects(instances[0].store(), "a").await, 1);
    assert_eq!(instances.iter().map(|once| once.counters().claims_granted.get()).sum::<u64>(), 1);
    assert_eq!(instances.iter().map(|once| once.counters().in_flight.get()).sum::<u64>(), CLIENTS as u64 - 1);
}

async fn of_64_clients_that_run_at_once_one_works_and_all_get_its_answer<B: Bed>(bed: Arc<B>) {
    let instances = [bed.once(), bed.once()];
    let clients = (0..CLIENTS).map(|client| {
        let once = instances[client % 2].clone();
        tokio::spawn(async move {
            let request = request("ann", 1, "a");
            // In flight where the one that works takes longer than a lock is waited for.
            loop {
                let ran = once.run(&request, |tx, _| {
                    Box::pin(async move {
                        effect(tx, "a", &client.to_string()).await;
                        Ok::<_, OnceError>(answer(&format!("by {client}")))
                    })
                });
                match ran.await {
                    Ok(Ran::Fresh(response)) => return (true, response),
                    Ok(Ran::Not(Claim::Replay(response))) => return (false, response),
                    Ok(Ran::Not(Claim::InFlight { .. })) => {}
                    Err(error) if error.is_transient() => {}
                    other => panic!("{other:?}"),
                }
            }
        })
    });
    let mut answers = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        answers.push(client.await.unwrap());
    }
    assert_eq!(answers.iter().filter(|(fresh, _)| *fresh).count(), 1);
    assert!(answers.iter().all(|(_, response)| *response == answers[0].1));
    assert_eq!(effects(instances[0].store(), "a").await, 1);
}

async fn keys_of_two_principals_have_nothing_to_do_with_each_other<B: Bed>(bed: Arc<B>) {
    let once = bed.once();
    let ann = granted(claim(&once, &request("tenant-1/ann", 1, "a")).await);
    let bob = granted(claim(&once, &request("tenant-1/bob", 1, "b")).await);
    assert_ne!(ann.id(), bob.id());
    finish(&once, &ann, "for ann").await.unwrap();
    assert!(matches!(claim(&once, &request("tenant-1/bob", 1, "b")).await, Claim::InFlight { .. }));
    finish(&once, &bob, "for bob").await.unwrap();
    assert_eq!(claim(&once, &request("tenant-1/ann", 1, "a")).await, Claim::Replay(answer("for ann")));
}

async fn a_key_used_for_something_else_is_refused_in_every_state<B: Bed>(bed: Arc<B>) {
    let once = bed.once();
    let (right, wrong) = (request("ann", 1, "a"), request("ann", 1, "b"));
    let refused = async || {
        assert_eq!(claim(&once, &wrong).await, Claim::Mismatch);
        assert_eq!(once.look_up(&wrong).await.unwrap(), LookUp::Mismatch);
    };
    let held = granted(claim(&once, &right).await);
    refused().await;
    pass(once.store(), LONG).await;
    refused().await;
    finish(&once, &held, "done").await.unwrap();
    refused().await;
    assert_eq!(once.counters().mismatches.get(), 6);
}

async fn a_worker_that_dies_before_its_commit_leaves_nothing<B: Bed>(bed: Arc<B>) {
    let once = bed.once();
    let request = request("ann", 1, "a").business(business("order-1"));
    let tx = once.store().begin().await.unwrap();
    let held = granted(once.claim(&tx, &request).await.unwrap());
    effect(&tx, "a", "dead").await;
    once.finish(&tx, &held, &answer("never")).await.unwrap();
    drop(tx); // the connection breaks
    assert_eq!(once.look_up(&request).await.unwrap(), LookUp::New);
    let again = bed.once();
    granted(claim(&again, &request).await);
    assert_eq!(effects(again.store(), "a").await, 0);
}

async fn an_answer_is_given_again_byte_for_byte_by_any_instance<B: Bed>(bed: Arc<B>) {
    let once = bed.once();
    let request = request("ann", 1, "a");
    let held = granted(claim(&once, &request).await);
    let body: Vec<u8> = (0..=255).collect();
    let response = StoredResponse::new(402, body).unwrap().header("X-Reason", b"declined \xe9").unwrap();
    let response = response.header("x-reason", b"twice").unwrap().header("Empty", b"").unwrap();
    let tx = once.store().begin().await.unwrap();
    once.finish(&tx, &held, &response).await.unwrap();
    tx.commit().await.unwrap();
    let other = bed.once();
    for _ in 0..3 {
        assert_eq!(claim(&other, &request).await, Claim::Replay(response.clone()));
        assert_eq!(other.look_up(&request).await.unwrap(), LookUp::Replay(response.clone()));
    }
    pass(other.store(), LONG).await;
    assert_eq!(claim(&other, &request).await, Claim::Replay(response));
}

async fn a_key_is_taken_over_only_after_its_lease_and_only_by_one<B: Bed>(bed: Arc<B>) {
    let instances = [bed.once(), bed.once()];
    let first = granted(claim(&instances[0], &request("ann", 1, "a")).await);
    let Claim::InFlight { retry_after, location: None } = claim(&instances[1], &request("ann", 1, "a")).await
    else {
        panic!("in flight")
    };
    assert!((Duration::from_secs(1)..=Duration::from_secs(30)).contains(&retry_after), "{retry_after:?}");
    pass(instances[0].store(), LONG).await;
    assert_eq!(instances[0].look_up(&request("ann", 1, "a")).await.unwrap(), LookUp::Lapsed);
    let clients = (0..16).map(|client| {
        let once = instances[client % 2].clone();
        tokio::spawn(async move { claim(&once, &request("ann", 1, "a")).await })
    });
    let mut taken = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        match client.await.unwrap() {
            Claim::Resumed(held) => taken.push(held),
            Claim::InFlight { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(taken.len(), 1);
    assert_eq!((taken[0].id(), taken[0].fence(), taken[0].attempts()), (first.id(), 2, 1));
}

async fn a_worker_that_was_paused_past_its_lease_changes_nothing<B: Bed>(bed: Arc<B>) {
    let (paused, other) = (bed.once(), bed.once());
    let old = granted(claim(&paused, &request("ann", 1, "a")).await);
    pass(other.store(), LONG).await;
    let new = resumed(claim(&other, &request("ann", 1, "a")).await);
    // It wakes up, wherever it was.
    let tx = paused.store().begin().await.unwrap();
    effect(&tx, "a", "paused").await;
    let discarded = paused.finish(&tx, &old, &answer("late")).await.unwrap_err();
    assert!(matches!(discarded, OnceError::Discarded { fence: 1, .. }), "{discarded}");
    drop(tx);
    let tx = paused.store().begin().await.unwrap();
    assert!(matches!(paused.advance(&tx, &old, Step::to(INTENT)).await, Err(OnceError::Discarded { .. })));
    assert!(matches!(paused.postpone(&tx, &old, LONG).await, Err(OnceError::Discarded { .. })));
    assert!(matches!(paused.review(&tx, &old, "?").await, Err(OnceError::Discarded { .. })));
    drop(tx);
    let tx = other.store().begin().await.unwrap();
    effect(&tx, "a", "other").await;
    other.finish(&tx, &new, &answer("in time")).await.unwrap();
    tx.commit().await.unwrap();
    assert!(matches!(finish(&paused, &old, "late").await, Err(OnceError::Discarded { .. })));
    assert_eq!(effects(other.store(), "a").await, 1);
    assert_eq!(claim(&paused, &request("ann", 1, "a")).await, Claim::Replay(answer("in time")));
}

async fn of_two_that_make_the_same_step_one_does<B: Bed>(bed: Arc<B>) {
    let once = bed.once();
    let held = granted(claim(&once, &request("ann", 1, "a")).await);
    let step = async |worker: &str| {
        let tx = once.store().begin().await?;
        effect(&tx, "step", worker).await;
        let next = once.advance(&tx, &held, Step::to(INTENT)).await?;
        tx.commit().await?;
        Ok::<_, OnceError>(next)
    };
    let (one, two) = tokio::join!(step("one"), step("two"));
    let next = match (one, two) {
        (Ok(next), Err(OnceError::Discarded { .. })) | (Err(OnceError::Discarded { .. }), Ok(next)) => next,
        other => panic!("{other:?}"),
    };
    assert_eq!(*next.point(), INTENT);
    assert_eq!(effects(once.store(), "step").await, 1);
    assert!(matches!(finish(&once, &held, "from the old point").await, Err(OnceError::Discarded { .. })));
    finish(&once, &next, "done").await.unwrap();
    assert!(matches!(finish(&once, &next, "again").await, Err(OnceError::Discarded { .. })));
}

async fn what_a_step_leaves_is_there_for_whoever_goes_on<B: Bed>(bed: Arc<B>) {
    let once = bed.once();
    let held = granted(claim(&once, &request("ann", 1, "a")).await);
    let tx = once.store().begin().await.unwrap();
    let held =
        once.advance(&tx, &held, Step::to(INTENT).location("/effects/1").data(*b"attempt-\0")).await.unwrap();
    let held = once.advance(&tx, &held, Step::to(Point::new("SENT"))).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(held.location(), Some("/effects/1"));
    let seen = claim(&bed.once(), &request("ann", 1, "a")).await;
    assert!(
        matches!(seen, Claim::InFlight { location: Some(ref path), .. } if path == "/effects/1"),
        "{seen:?}"
    );
    pass(once.store(), LONG).await;
    let next = resumed(claim(&bed.once(), &request("ann", 1, "a")).await);
    assert_eq!(next.point().name(), "SENT");
    assert_eq!(next.data(), Some(&b"attempt-\0"[..]));
    assert_eq!((next.location(), next.principal(), next.id()), (Some("/effects/1"), "ann", held.id()));
}

async fn an_accepted_request_is_followed_at_its_location<B: Bed>(bed: Arc<B>) {
    let once = bed.once();
    let held = granted(claim(&once, &request("ann", 1, "a")).await);
    let tx = once.store().begin().await.unwrap();
    let nowhere = once.advance(&tx, &held, Step::to(INTENT).asynchronous()).await;
    assert!(matches!(nowhere, Err(OnceError::Invalid { .. })));
    let held =
        once.advance(&tx, &held, Step::to(INTENT).location("/effects/1").asynchronous()).await.unwrap();
    tx.commit().await.unwrap();
    let accepted = |finished| Claim::Accepted { location: "/effects/1".to_owned(), finished };
    assert_eq!(claim(&once, &request("ann", 1, "a")).await, accepted(false));
    pass(once.store(), LONG).await;
    // A repeat does not take over what the client follows by itself: the completer does.
    assert_eq!(claim(&once, &request("ann", 1, "a")).await, accepted(false));
    finish(&once, &held, "kept, and not given: the state is read anew").await.unwrap();
    assert_eq!(claim(&once, &request("ann", 1, "a")).await, accepted(true));
}

async fn news_from_outside_end_a_key_before_its_holder_does<B: Bed>(bed: Arc<B>) {
    let once = bed.once();
    let held = granted(claim(&once, &request("ann", 1, "a")).await);
    let tx = once.store().begin().await.unwrap();
    let seen = once.lock(&tx, held.id()).await.unwrap().unwrap();
    assert_eq!(seen, held);
    once.finish(&tx, &seen, &answer("from outside")).await.unwrap();
    tx.commit().await.unwrap();
    assert!(matches!(finish(&once, &held, "mine").await, Err(OnceError::Discarded { .. })));
    let tx = once.store().begin().await.unwrap();
    assert_eq!(once.lock(&tx, held.id()).await.unwrap(), None);
    assert_eq!(once.lock(&tx, KeyId(-1)).await.unwrap(), None);
}

async fn a_business_id_outlives_its_key<B: Bed>(bed: Arc<B>) {
    let once = bed.once();
    let first = request("ann", 1, "a").business(business("order-1"));
    let held = granted(claim(&once, &first).await);
    finish(&once, &held, "done").await.unwrap();
    pass(once.store(), Duration::from_secs(31 * 24 * 3_600)).await;
    assert_eq!(once.reap(10).await.unwrap(), 1);
    // The same key, which nobody remembers, and a new one: neither repeats the effect.
    for (key, body, same) in [(1, "a", true), (2, "a", true), (3, "b", false)] {
        let Claim::Known(known) =
            claim(&once, &request("ann", key, body).business(business("order-1"))).await
        else {
            panic!("the business id is known")
        };
        assert_eq!((known.reference.as_str(), known.same), ("/effects/order-1", same));
    }
}

async fn a_claim_that_is_rolled_back_uses_up_no_business_id<B: Bed>(bed: Arc<B>) {
    let once = bed.once();
    let tx = once.store().begin().await.unwrap();
    granted(once.claim(&tx, &request("ann", 1, "a").business(business("order-1"))).await.unwrap());
    tx.rollback().await.unwrap();
    granted(claim(&once, &request("ann", 2, "a").business(business("order-1"))).await);
}

async fn a_known_business_id_leaves_no_key_behind<B: Bed>(bed: Arc<B>) {
    let once = bed.once();
    granted(claim(&once, &request("ann", 1, "a").business(business("order-1"))).await);
    // Committed, which is not asked for, and must do no harm.
    assert!(matches!(
        claim(&once, &request("ann", 2, "a").business(business("order-1"))).await,
        Claim::Known(_)
    ));
    assert_eq!(number(once.store(), "SELECT count(*) FROM once_keys", &[]).await, 1);
    assert_eq!(once.look_up(&request("ann", 2, "a")).await.unwrap(), LookUp::New);
}

async fn only_what_is_finished_and_old_is_forgotten<B: Bed>(bed: Arc<B>) {
    let once = once::Once::new(bed.store(), Options::new().retention(Duration::from_secs(100)));
    for key in 0..6 {
        let held = granted(claim(&once, &request("ann", key, "a")).await);
        if key < 4 {
            finish(&once, &held, "done").await.unwrap();
        }
    }
    assert_eq!(once.reap(10).await.unwrap(), 0);
    pass(once.store(), Duration::from_secs(200)).await;
    change(once.store(), "UPDATE once_keys SET finished_ms = {now} WHERE idempotency_key LIKE '%0'", &[])
        .await;
    assert_eq!(once.reap(2).await.unwrap(), 2);
    assert_eq!(once.reap(2).await.unwrap(), 1);
    assert_eq!(once.reap(2).await.unwrap(), 0);
    let left = number(once.store(), "SELECT count(*) FROM once_keys", &[]).await;
    assert_eq!(left, 3, "the young one and two that are unfinished");
    assert_eq!(once.look_up(&request("ann", 1, "a")).await.unwrap(), LookUp::New);
    assert_eq!(once.look_up(&request("ann", 5, "a")).await.unwrap(), LookUp::Lapsed);
}

async fn work_that_fails_leaves_the_key_free<B: Bed>(bed: Arc<B>) {
    let once = bed.once();
    let request = request("ann", 1, "a");
    let failed = once.run(&request, |tx, _| {
        Box::pin(async move {
            effect(tx, "a", "failed").await;
            Err(OnceError::Invalid { what: "the work", why: "failed".to_owned() })
        })
    });
    assert!(matches!(failed.await, Err(OnceError::Invalid { .. })));
    assert_eq!(effects(once.store(), "a").await, 0);
    assert_eq!(once.look_up(&request).await.unwrap(), LookUp::New);
    // A transaction that the database asks to run again is run again, from the beginning.
    let mut attempts = 0;
    let ran = once.run(&request, |tx, _| {
        attempts += 1;
        let attempt = attempts;
        Box::pin(async move {
            effect(tx, "a", &attempt.to_string()).await;
            if attempt == 1 {
                return Err(OnceError::Store(once::store::StoreError::new(StoreErrorKind::Busy, "deadlock")));
            }
            Ok(answer("done"))
        })
    });
    let ran = ran.await;
    assert_eq!(ran.unwrap(), Ran::Fresh(answer("done")));
    assert_eq!(effects(once.store(), "a").await, 1);
}

async fn what_cannot_be_kept_is_refused_before_anything_is_written<B: Bed>(bed: Arc<B>) {
    let once = bed.once();
    let held = granted(claim(&once, &request("ann", 1, "a")).await);
    let tx = once.store().begin().await.unwrap();
    for step in [
        Step::to(Point::FINISHED),
        Step::to(Point::new("")),
        Step::to(INTENT).location("/".repeat(3_000)),
        Step::to(INTENT).data(vec![0; 100_000]),
    ] {
        assert!(matches!(once.advance(&tx, &held, step).await, Err(OnceError::Invalid { .. })));
    }
    once.finish(&tx, &held, &answer("still possible")).await.unwrap();
    tx.commit().await.unwrap();
}

async fn a_step_in_a_transaction_that_is_rolled_back_did_not_happen<B: Bed>(bed: Arc<B>) {
    let once = bed.once();
    let held = granted(claim(&once, &request("ann", 1, "a")).await);
    let tx = once.store().begin().await.unwrap();
    once.finish(&tx, &held, &answer("never")).await.unwrap();
    tx.rollback().await.unwrap();
    let tx = once.store().begin().await.unwrap();
    effect(&tx, "a", "one").await;
    once.finish(&tx, &held, &answer("done")).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(claim(&once, &request("ann", 1, "a")).await, Claim::Replay(answer("done")));
}
