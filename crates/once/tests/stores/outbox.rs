//! A message leaves if and only if its transaction was committed: at least once, in order for each aggregate.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use once::{
    Once, OnceError,
    lease::Lease,
    outbox::{Message, NewMessage, PublishError, Relay, Sink},
    store::{Owned as _, Store},
};

use crate::bed::{Bed, LONG, both, number, pass};

both! {
    what_was_rolled_back_never_leaves
    messages_of_an_aggregate_leave_in_the_order_of_their_commits
    a_message_that_is_refused_holds_up_its_aggregate_alone
    what_was_published_and_not_marked_is_published_again_in_order
    a_relay_that_was_paused_past_its_lease_marks_nothing
    of_two_relays_one_works
    only_published_and_old_messages_are_forgotten
}

/// Remembers what it was given, and refuses what it is told to.
#[derive(Clone, Default)]
struct Memory {
    given: Arc<Mutex<Vec<(String, i64)>>>,
    refuse: Arc<Mutex<Option<(String, i64)>>>,
}

impl Memory {
    fn of(&self, aggregate: &str) -> Vec<i64> {
        self.given.lock().unwrap().iter().filter(|(a, _)| a == aggregate).map(|(_, s)| *s).collect()
    }

    fn refuse(&self, what: Option<(&str, i64)>) {
        *self.refuse.lock().unwrap() = what.map(|(aggregate, sequence)| (aggregate.to_owned(), sequence));
    }
}

impl Sink for Memory {
    async fn publish(&self, _: i64, messages: &[Message]) -> Result<(), PublishError> {
        let refuse = self.refuse.lock().unwrap().clone();
        for (index, message) in messages.iter().enumerate() {
            if refuse.as_ref().is_some_and(|(a, s)| *a == message.aggregate && *s == message.sequence) {
                return Err(PublishError { accepted: index, ..PublishError::new("refused") });
            }
            assert_eq!(message.payload, format!("{}:{}", message.aggregate, message.business_id));
            self.given.lock().unwrap().push((message.aggregate.clone(), message.sequence));
        }
        Ok(())
    }
}

async fn put<S: Store>(once: &Once<S>, aggregate: &str, id: &str) -> i64 {
    let tx = once.store().begin().await.unwrap();
    let payload = format!("{aggregate}:{id}");
    let message = NewMessage::new(aggregate, "changed", id, payload.as_bytes());
    let sequence = once.outbox().put(&tx, &message).await.unwrap();
    tx.commit().await.unwrap();
    sequence
}

async fn relay<S: Store>(once: &Once<S>, sink: &Memory) -> (Relay<S, Memory>, Lease<S>) {
    let relay = Relay::new(once.clone(), sink.clone()).tuned(LONG, 100, Duration::from_millis(10));
    let lease = relay.acquire().await.unwrap().expect("the lease is free");
    (relay, lease)
}

async fn what_was_rolled_back_never_leaves<B: Bed>(bed: Arc<B>) {
    let once = bed.once();
    put(&once, "a", "1").await;
    let tx = once.store().begin().await.unwrap();
    once.outbox().put(&tx, &NewMessage::new("a", "changed", "2", b"never")).await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(put(&once, "a", "3").await, 2, "without a gap");
    let sink = Memory::default();
    let (relay, lease) = relay(&once, &sink).await;
    assert_eq!(relay.run_once(&lease).await.unwrap().published, 2);
    assert_eq!(relay.run_once(&lease).await.unwrap().read, 0);
    assert_eq!(sink.of("a"), [1, 2]);
    let tx = once.store().begin().await.unwrap();
    assert!(once.outbox().put(&tx, &NewMessage::new("a", "changed", "4", &vec![0; 300_000])).await.is_err());
}

async fn messages_of_an_aggregate_leave_in_the_order_of_their_commits<B: Bed>(bed: Arc<B>) {
    const WRITERS: usize = 8;
    const EACH: usize = 10;
    let instances = [bed.once(), bed.once()];
    let sink = Memory::default();
    let (relay, lease) = relay(&instances[0], &sink).await;
    let writers = (0..WRITERS).map(|writer| {
        let once = instances[writer % 2].clone();
        tokio::spawn(async move {
            for n in 0..EACH {
                put(&once, ["a", "b", "c"][(writer + n) % 3], &format!("{writer}-{n}")).await;
            }
        })
    });
    let writers = writers.collect::<Vec<_>>();
    let mut published = 0;
    while published < WRITERS * EACH {
        // On SQLite the writers may hold the lock for as long as is waited.
        match relay.run_once(&lease).await {
            Ok(report) => published += report.published,
            Err(error) => assert!(error.is_transient(), "{error}"),
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    for aggregate in ["a", "b", "c"] {
        let sequences = sink.of(aggregate);
        assert_eq!(sequences, (1..=sequences.len() as i64).collect::<Vec<_>>());
    }
}

async fn a_message_that_is_refused_holds_up_its_aggregate_alone<B: Bed>(bed: Arc<B>) {
    let once = bed.once();
    for n in 1..=4 {
        put(&once, "a", &n.to_string()).await;
        put(&once, "b", &n.to_string()).await;
    }
    let sink = Memory::default();
    sink.refuse(Some(("a", 3)));
    let (relay, lease) = relay(&once, &sink).await;
    let report = relay.run_once(&lease).await.unwrap();
    assert_eq!((report.read, report.published, report.failed), (8, 6, 1));
    assert_eq!((sink.of("a"), sink.of("b")), (vec![1, 2], vec![1, 2, 3, 4]));
    put(&once, "b", "5").await;
    assert_eq!(relay.run_once(&lease).await.unwrap().published, 1, "its pause holds up no other");
    pass(once.store(), Duration::from_secs(2)).await;
    assert_eq!(relay.run_once(&lease).await.unwrap().failed, 1);
    pass(once.store(), Duration::from_secs(1)).await;
    assert_eq!(relay.run_once(&lease).await.unwrap().read, 0, "the second pause is longer");
    sink.refuse(None);
    pass(once.store(), Duration::from_secs(2)).await;
    assert_eq!(relay.run_once(&lease).await.unwrap().published, 2);
    assert_eq!(sink.of("a"), [1, 2, 3, 4]);
    assert_eq!(once.counters().outbox_failed.get(), 2);
}

async fn what_was_published_and_not_marked_is_published_again_in_order<B: Bed>(bed: Arc<B>) {
    let once = bed.once();
    for n in 1..=3 {
        put(&once, "a", &n.to_string()).await;
    }
    /// Publishes, and never returns: the process dies before it marks.
    struct Dies(Memory);
    impl Sink for Dies {
        async fn publish(&self, fence: i64, messages: &[Message]) -> Result<(), PublishError> {
            self.0.publish(fence, &messages[..2]).await?;
            std::future::pending().await
        }
    }
    let sink = Memory::default();
    let dying = Relay::new(once.clone(), Dies(sink.clone())).tuned(LONG, 100, Duration::from_millis(10));
    let lease = dying.acquire().await.unwrap().unwrap();
    let task = tokio::spawn(async move { dying.run_once(&lease).await });
    while sink.of("a").len() < 2 {
        tokio::task::yield_now().await;
    }
    task.abort();
    pass(once.store(), 2 * LONG).await;
    let (relay, lease) = relay(&once, &sink).await;
    assert_eq!(lease.fence(), 2);
    assert_eq!(relay.run_once(&lease).await.unwrap().published, 3);
    assert_eq!(sink.of("a"), [1, 2, 1, 2, 3]);
}

async fn a_relay_that_was_paused_past_its_lease_marks_nothing<B: Bed>(bed: Arc<B>) {
    let (one, two) = (bed.once(), bed.once());
    put(&one, "a", "1").await;
    let sink = Memory::default();
    let (paused, old) = relay(&one, &sink).await;
    pass(one.store(), 2 * LONG).await;
    assert!(matches!(paused.run_once(&old).await, Err(OnceError::LeaseLost { .. })));
    let (next, new) = relay(&two, &sink).await;
    assert!(matches!(paused.run_once(&old).await, Err(OnceError::LeaseLost { .. })));
    assert!(sink.of("a").is_empty());
    assert_eq!(next.run_once(&new).await.unwrap().published, 1);
}

async fn of_two_relays_one_works<B: Bed>(bed: Arc<B>) {
    let instances = [bed.once(), bed.once()];
    let sink = Memory::default();
    let tasks = instances.clone().map(|once| {
        Relay::new(once, sink.clone()).tuned(Duration::from_secs(30), 3, Duration::from_millis(5)).start()
    });
    for n in 1..=20 {
        put(&instances[n % 2], "a", &n.to_string()).await;
    }
    while sink.of("a").len() < 20
        || number(instances[0].store(), "SELECT count(*) FROM once_outbox WHERE published_ms IS NULL", &[])
            .await
            > 0
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(sink.of("a"), (1..=20).collect::<Vec<_>>());
    for task in tasks {
        task.stop();
        task.ended().await;
    }
}

async fn only_published_and_old_messages_are_forgotten<B: Bed>(bed: Arc<B>) {
    let once = bed.once();
    let sink = Memory::default();
    put(&once, "a", "1").await;
    put(&once, "a", "2").await;
    let (relay, lease) = relay(&once, &sink).await;
    relay.run_once(&lease).await.unwrap();
    put(&once, "a", "3").await;
    let age = Duration::from_secs(100);
    assert_eq!(once.outbox().purge(once.store(), age, 10).await.unwrap(), 0);
    pass(once.store(), Duration::from_secs(200)).await;
    assert_eq!(once.outbox().purge(once.store(), age, 1).await.unwrap(), 1);
    assert_eq!(once.outbox().purge(once.store(), age, 10).await.unwrap(), 1);
    assert_eq!(once.outbox().purge(once.store(), age, 10).await.unwrap(), 0);
    assert_eq!(put(&once, "a", "4").await, 4, "the sequence goes on");
}
