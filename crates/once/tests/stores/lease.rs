//! One holder at a time, and one who was paused past its end changes nothing.

use std::{sync::Arc, time::Duration};

use once::{
    OnceError,
    lease::{Acquired, Lease},
    store::{Owned as _, Store, StoreErrorKind},
};

use crate::bed::{Bed, LONG, both, effect, effects, number, pass};

const TTL: Duration = Duration::from_secs(60);

both! {
    the_second_of_two_walks_away
    of_16_that_ask_at_once_one_has_it
    a_holder_that_was_paused_past_its_lease_writes_nothing
    a_lease_is_not_taken_in_the_middle_of_its_holders_transaction
    a_released_lease_is_free_at_once_and_its_fence_goes_on
    a_lease_that_ended_is_not_renewed
    a_kept_lease_stays
}

async fn acquire<S: Store>(once: &once::Once<S>, owner: &str) -> Option<Lease<S>> {
    match once.leases().acquire("job/settlement", owner, TTL).await.unwrap() {
        Acquired::Held(lease) => Some(lease),
        Acquired::Elsewhere { .. } => None,
    }
}

async fn the_second_of_two_walks_away<B: Bed>(bed: Arc<B>) {
    let lease = acquire(&bed.once(), "one").await.unwrap();
    assert_eq!(lease.fence(), 1);
    let second = bed.once().leases().acquire("job/settlement", "two", TTL).await.unwrap();
    let Acquired::Elsewhere { owner, left } = second else { panic!("two holders") };
    assert_eq!(owner, "one");
    assert!(left <= TTL && left > TTL / 2);
    assert!(matches!(bed.once().leases().acquire("another", "two", TTL).await.unwrap(), Acquired::Held(_)));
}

async fn of_16_that_ask_at_once_one_has_it<B: Bed>(bed: Arc<B>) {
    let instances = [bed.once(), bed.once()];
    for round in 1..=3 {
        let asking = (0..16).map(|n| {
            let once = instances[n % 2].clone();
            tokio::spawn(async move { acquire(&once, &n.to_string()).await })
        });
        let mut held = Vec::new();
        for asked in asking.collect::<Vec<_>>() {
            held.extend(asked.await.unwrap());
        }
        assert_eq!(held.len(), 1);
        assert_eq!(held[0].fence(), round);
        pass(instances[0].store(), LONG).await;
    }
}

async fn a_holder_that_was_paused_past_its_lease_writes_nothing<B: Bed>(bed: Arc<B>) {
    let (one, two) = (bed.once(), bed.once());
    let paused = acquire(&one, "one").await.unwrap();
    pass(one.store(), LONG).await;
    // Refused already before another has it.
    let tx = one.store().begin().await.unwrap();
    assert!(matches!(paused.check(&tx).await, Err(OnceError::LeaseLost { fence: 1, .. })));
    drop(tx);
    let next = acquire(&two, "two").await.unwrap();
    assert_eq!(next.fence(), 2);
    let tx = one.store().begin().await.unwrap();
    effect(&tx, "a", "paused").await;
    assert!(matches!(paused.check(&tx).await, Err(OnceError::LeaseLost { .. })));
    drop(tx);
    assert!(matches!(paused.renew().await, Err(OnceError::LeaseLost { .. })));
    assert!(matches!(paused.release().await, Err(OnceError::LeaseLost { .. })));
    let tx = two.store().begin().await.unwrap();
    next.check(&tx).await.unwrap();
    effect(&tx, "a", "next").await;
    tx.commit().await.unwrap();
    assert_eq!(effects(two.store(), "a").await, 1);
    assert_eq!(one.counters().leases_lost.get(), 4);
}

async fn a_lease_is_not_taken_in_the_middle_of_its_holders_transaction<B: Bed>(bed: Arc<B>) {
    let (one, two) = (bed.once(), bed.once());
    let Acquired::Held(lease) =
        one.leases().acquire("job/settlement", "one", Duration::from_secs(2)).await.unwrap()
    else {
        panic!("nobody has it")
    };
    let tx = one.store().begin().await.unwrap();
    lease.check(&tx).await.unwrap();
    effect(&tx, "a", "one").await;
    // The lease ends while the transaction is open, and another asks for it.
    let ended = "SELECT count(*) FROM once_leases WHERE expires_ms <= {now}";
    while number(two.store(), ended, &[]).await == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let asking = tokio::spawn({
        let two = two.clone();
        async move { two.leases().acquire("job/settlement", "two", TTL).await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let taken_meanwhile =
        asking.is_finished() && matches!(number(two.store(), "SELECT fence FROM once_leases", &[]).await, 2);
    assert!(!taken_meanwhile);
    tx.commit().await.unwrap();
    match asking.await.unwrap() {
        // It waited for the commit, or walked away.
        Ok(Acquired::Held(next)) => assert_eq!(next.fence(), 2),
        Ok(Acquired::Elsewhere { .. }) => {}
        Err(OnceError::Store(error)) => assert_eq!(error.kind(), StoreErrorKind::Busy),
        Err(error) => panic!("{error}"),
    }
    assert_eq!(effects(two.store(), "a").await, 1);
}

async fn a_released_lease_is_free_at_once_and_its_fence_goes_on<B: Bed>(bed: Arc<B>) {
    let (one, two) = (bed.once(), bed.once());
    for round in 0..3 {
        let lease = acquire(&one, "one").await.unwrap();
        assert_eq!(lease.fence(), 2 * round + 1);
        assert!(acquire(&two, "two").await.is_none());
        lease.release().await.unwrap();
        assert!(matches!(lease.release().await, Err(OnceError::LeaseLost { .. })));
        let next = acquire(&two, "two").await.unwrap();
        assert_eq!(next.fence(), 2 * round + 2);
        next.release().await.unwrap();
    }
}

async fn a_lease_that_ended_is_not_renewed<B: Bed>(bed: Arc<B>) {
    let once = bed.once();
    let lease = acquire(&once, "one").await.unwrap();
    lease.renew().await.unwrap();
    pass(once.store(), LONG).await;
    assert!(matches!(lease.renew().await, Err(OnceError::LeaseLost { .. })));
}

async fn a_kept_lease_stays<B: Bed>(bed: Arc<B>) {
    let once = bed.once();
    let ttl = Duration::from_millis(1_500);
    let Acquired::Held(lease) = once.leases().acquire("kept", "one", ttl).await.unwrap() else {
        panic!("free")
    };
    let end =
        async || number(once.store(), "SELECT expires_ms FROM once_leases WHERE name = 'kept'", &[]).await;
    let first = end().await;
    let kept = lease.keep();
    while end().await <= first {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(kept);
    let tx = once.store().begin().await.unwrap();
    lease.check(&tx).await.unwrap();
}
