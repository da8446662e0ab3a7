//! Write-through on SQLite.

use trueup::{Fate, ServedBy, Written};

use super::support::{THROUGH, loads, price, redis, row, shared, shoe, sqlite_node, until, warm};

#[tokio::test(flavor = "multi_thread")]
async fn one_commit_and_every_read_shows_it_here_and_on_another_node() {
    let redis = redis().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let a = sqlite_node(&path, Some(&redis.url()), &shared(&redis.url())).await;
    let b = sqlite_node(&path, Some(&redis.url()), &shared(&redis.url())).await;
    let (here, there) = (a.class("product").unwrap(), b.class("product").unwrap());
    warm(&here, 42).await;
    warm(&there, 42).await;
    for new in 1..=20 {
        let before = loads(&here);
        let written = a
            .write_through(async |tx| {
                here.publish(tx, &42).unwrap();
                tx.execute("UPDATE product SET price = ?1 WHERE id = 42", [new])
            })
            .await
            .unwrap();
        assert_eq!(written.published[0].fate, Fate::Kept);
        let seen = here.get(&42).await.unwrap();
        assert_eq!((price(&seen), seen.receipt().served_by), (new, ServedBy::L1));
        until("a confirmed token", || async {
            let own = here.read(&42).token(written.token).run().await.unwrap();
            assert_eq!(price(&own), new);
            (own.receipt().served_by == ServedBy::L1).then_some(())
        })
        .await;
        assert!(loads(&here) > before);
        let own = there.read(&42).token(written.token).run().await.unwrap();
        assert_eq!(price(&own), new);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_and_go_and_what_is_refused_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let node = sqlite_node(&folder.path().join("shop.db"), None, THROUGH).await;
    let products = node.class("product").unwrap();
    warm(&products, 42).await;
    products.put(&42, row(&serde_json::json!({"price": 5}))).await.unwrap();
    assert_eq!(products.get(&42).await.unwrap().value(), Some(&shoe(5)));
    let refused = products.put(&42, row(&shoe(-5))).await.unwrap_err();
    assert!(refused.to_string().contains("a constraint is violated"), "{refused}");
    let refused = products.put(&7, row(&serde_json::json!({"price": 5}))).await.unwrap_err();
    assert!(refused.to_string().contains("a constraint is violated"), "a name is needed: {refused}");
    let deleted = products.delete(&42).await.unwrap();
    assert!(matches!(deleted, Written::Committed { .. }));
    assert!(products.get(&42).await.unwrap().is_absent());
    let failed = node
        .write_through(async |tx| {
            products.publish(tx, &43).unwrap();
            tx.execute("UPDATE product SET price = 1 WHERE id = 43", []).unwrap();
            Err::<(), _>("no")
        })
        .await;
    assert!(failed.is_err());
    assert_eq!(price(&products.get(&43).await.unwrap()), 100);
}
