//! A message has its effect once, however often and in whatever order it arrives.

use std::sync::Arc;

use once::{
    Once,
    inbox::{Delivery, Received},
    outbox::NewMessage,
    store::{Owned as _, Store},
};

use crate::bed::{Bed, both, effect, effects, number};

both! {
    a_message_delivered_16_times_at_once_has_one_effect
    a_consumer_that_dies_before_its_commit_is_delivered_to_again
    each_consumer_has_each_message_once
    of_states_the_last_counts
    of_changes_each_counts_in_its_turn
    the_effect_and_its_messages_are_there_together
}

/// Consumes as a service would; what it was told.
async fn consume<S: Store>(once: &Once<S>, delivery: &Delivery<'_>, name: &str) -> Received {
    let tx = once.store().begin().await.unwrap();
    let received = once.inbox().receive(&tx, delivery).await.unwrap();
    if received == Received::First {
        effect(&tx, name, "consumer").await;
    }
    if received == Received::Early {
        tx.rollback().await.unwrap();
    } else {
        tx.commit().await.unwrap();
    }
    received
}

async fn a_message_delivered_16_times_at_once_has_one_effect<B: Bed>(bed: Arc<B>) {
    let instances = [bed.once(), bed.once()];
    let deliveries = (0..16).map(|n| {
        let once = instances[n % 2].clone();
        tokio::spawn(async move { consume(&once, &Delivery::new("mailer", "order-1"), "mail").await })
    });
    let mut first = 0;
    for delivery in deliveries.collect::<Vec<_>>() {
        match delivery.await.unwrap() {
            Received::First => first += 1,
            Received::Repeated => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(first, 1);
    assert_eq!(effects(instances[0].store(), "mail").await, 1);
}

async fn a_consumer_that_dies_before_its_commit_is_delivered_to_again<B: Bed>(bed: Arc<B>) {
    let once = bed.once();
    let tx = once.store().begin().await.unwrap();
    assert_eq!(
        once.inbox().receive(&tx, &Delivery::new("mailer", "order-1")).await.unwrap(),
        Received::First
    );
    effect(&tx, "mail", "dead").await;
    drop(tx);
    assert_eq!(consume(&once, &Delivery::new("mailer", "order-1"), "mail").await, Received::First);
    // Committed, and not acknowledged: delivered once more.
    assert_eq!(consume(&once, &Delivery::new("mailer", "order-1"), "mail").await, Received::Repeated);
    assert_eq!(effects(once.store(), "mail").await, 1);
}

async fn each_consumer_has_each_message_once<B: Bed>(bed: Arc<B>) {
    let once = bed.once();
    for (consumer, id) in [("mailer", "a"), ("ledger", "a"), ("mailer", "b")] {
        assert_eq!(consume(&once, &Delivery::new(consumer, id), "x").await, Received::First);
    }
    assert!(
        once.inbox().receive(&once.store().begin().await.unwrap(), &Delivery::new("", "a")).await.is_err()
    );
}

async fn of_states_the_last_counts<B: Bed>(bed: Arc<B>) {
    let once = bed.once();
    for (id, version, received) in [
        ("a", 3, Received::First),
        ("b", 1, Received::Outdated),
        ("c", 3, Received::Outdated),
        ("b", 1, Received::Repeated),
        ("d", 10, Received::First),
    ] {
        let delivery = Delivery::new("search", id).latest("wallet/7", version);
        assert_eq!(consume(&once, &delivery, "state").await, received, "{id}");
    }
    let other = Delivery::new("search", "e").latest("wallet/8", 1);
    assert_eq!(consume(&once, &other, "state").await, Received::First);
    assert_eq!(effects(once.store(), "state").await, 3);
}

async fn of_changes_each_counts_in_its_turn<B: Bed>(bed: Arc<B>) {
    let once = bed.once();
    for (id, version, received) in [
        ("b", 2, Received::Early),
        ("a", 1, Received::First),
        ("c", 3, Received::Early),
        ("b", 2, Received::First),
        ("b", 2, Received::Repeated),
        ("sent under another id", 2, Received::Outdated),
        ("c", 3, Received::First),
    ] {
        let delivery = Delivery::new("ledger", id).next("wallet/7", version);
        assert_eq!(consume(&once, &delivery, "change").await, received, "{id}");
    }
    assert_eq!(effects(once.store(), "change").await, 3);
    // One that came early is not known, even where it was committed.
    let tx = once.store().begin().await.unwrap();
    let early = Delivery::new("ledger", "e").next("wallet/7", 5);
    assert_eq!(once.inbox().receive(&tx, &early).await.unwrap(), Received::Early);
    tx.commit().await.unwrap();
    assert_eq!(
        consume(&once, &Delivery::new("ledger", "d").next("wallet/7", 4), "change").await,
        Received::First
    );
    assert_eq!(consume(&once, &early, "change").await, Received::First);
}

async fn the_effect_and_its_messages_are_there_together<B: Bed>(bed: Arc<B>) {
    let once = bed.once();
    for commits in [false, true, true] {
        let tx = once.store().begin().await.unwrap();
        if once.inbox().receive(&tx, &Delivery::new("ledger", "order-1")).await.unwrap() == Received::First {
            effect(&tx, "posted", "ledger").await;
            once.outbox().put(&tx, &NewMessage::new("order/1", "posted", "order-1", b"{}")).await.unwrap();
        }
        if commits {
            tx.commit().await.unwrap();
        }
    }
    assert_eq!(effects(once.store(), "posted").await, 1);
    assert_eq!(number(once.store(), "SELECT count(*) FROM once_outbox", &[]).await, 1);
    assert_eq!(number(once.store(), "SELECT max(sequence) FROM once_outbox", &[]).await, 1);
}
