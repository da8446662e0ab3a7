//! Write-through on PostgreSQL.

use std::time::Duration;

use trueup::{Fate, PutError, ServedBy, Written};

use super::support::{
    PgNode, Product, THROUGH, blocking, loads, postgres, price, redis, row, shared, shoe, until, warm,
};

const SET_PRICE: &str = "UPDATE product SET price = $1 WHERE id = 42";

#[tokio::test(flavor = "multi_thread")]
async fn one_commit_and_every_read_shows_it_without_asking_the_database() {
    let server = postgres().await;
    let node = PgNode::start(&server.url(), None, THROUGH).await;
    let products = node.products();
    warm(&products, 42).await;
    for new in 1..=20 {
        let before = loads(&products);
        let written = node
            .trueup
            .write_through(async |tx| {
                products.publish(tx, &42).unwrap();
                tx.execute(SET_PRICE, &[&new]).await
            })
            .await
            .unwrap();
        assert_eq!((written.value, written.published.len()), (1, 1));
        let published = &written.published[0];
        assert_eq!((published.class.as_str(), &published.fate), ("product", &Fate::Kept), "{published:?}");
        // At once, by whoever asks: from memory, by what the load behind the commit saw.
        let seen = products.get(&42).await.unwrap();
        assert_eq!(
            (price(&seen), seen.receipt().served_by, seen.receipt().proven),
            (new, ServedBy::L1, true)
        );
        assert_eq!(published.version, Some(seen.version()));
        // And by whoever carries the token, as soon as the feed has come so far.
        until("a confirmed token", || async {
            let own = products.read(&42).token(written.token).run().await.unwrap();
            assert_eq!(price(&own), new);
            (own.receipt().served_by == ServedBy::L1).then_some(())
        })
        .await;
        let asked = loads(&products) - before;
        assert!(asked >= 1, "the load behind the commit");
    }
    let counts = products.stats().counts();
    assert_eq!(counts.published[0], ("kept", 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_node_has_the_row_from_the_remote_tier_and_its_token_holds_there() {
    let (server, redis) = (postgres().await, redis().await);
    let a = PgNode::start(&server.url(), Some(&redis.url()), &shared(&redis.url())).await;
    let b = PgNode::start(&server.url(), Some(&redis.url()), &shared(&redis.url())).await;
    let (here, there) = (a.products(), b.products());
    warm(&here, 42).await;
    warm(&there, 42).await;
    for new in 1..=10 {
        let before = (a.trueup.cache().remote_counts().unwrap().stored, loads(&there));
        let Written::Committed { token, published } = here.put(&42, row(&shoe(new))).await.unwrap() else {
            panic!("it is written through")
        };
        assert_eq!(published.fate, Fate::Kept);
        assert_eq!(price(&there.read(&42).token(token).run().await.unwrap()), new);
        until("the row in the remote tier", || async {
            (a.trueup.cache().remote_counts()?.stored > before.0).then_some(())
        })
        .await;
        until("memory again", || async {
            let seen = there.read(&42).token(token).run().await.unwrap();
            assert_eq!(price(&seen), new);
            (seen.receipt().served_by != ServedBy::Source).then_some(())
        })
        .await;
    }
    assert!(there.stats().counts().served.iter().any(|(by, n)| *by == ServedBy::L2 && *n > 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_tier_that_is_dead_fails_no_write_and_is_named_in_the_receipt() {
    let (server, mut redis) = (postgres().await, redis().await);
    let node = PgNode::start(&server.url(), Some(&redis.url()), &shared(&redis.url())).await;
    let products = node.products();
    warm(&products, 42).await;
    redis = blocking(move || {
        redis.kill();
        redis
    })
    .await;
    let mut new = 0;
    until("a receipt that names it", || {
        new += 1;
        let products = &products;
        async move {
            let written = products.put(&42, row(&shoe(new))).await.unwrap();
            let Written::Committed { published, .. } = written else { panic!("it is written through") };
            assert!(matches!(published.fate, Fate::Kept | Fate::KeptHere), "{published:?}");
            assert_eq!(price(&products.get(&42).await.unwrap()), new);
            // Reads are what the servers are asked by.
            let _ = products.get(&43).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
            (published.fate == Fate::KeptHere).then_some(())
        }
    })
    .await;
    assert!(products.stats().counts().published[1].1 > 0);
    drop(redis);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_racing_writers_the_later_commit_wins_everywhere() {
    const WRITERS: i64 = 8;
    const ROUNDS: i64 = 25;
    let (server, redis) = (postgres().await, redis().await);
    let a = PgNode::start(&server.url(), Some(&redis.url()), &shared(&redis.url())).await;
    let b = PgNode::start(&server.url(), Some(&redis.url()), &shared(&redis.url())).await;
    warm(&a.products(), 42).await;
    warm(&b.products(), 42).await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let products = if writer % 2 == 0 { a.products() } else { b.products() };
        writers.spawn(async move {
            for round in 0..ROUNDS {
                let price = writer * ROUNDS + round + 1;
                products.put(&42, row(&shoe(price))).await.unwrap();
                assert!(products.get(&42).await.unwrap().receipt().proven);
            }
        });
    }
    writers.join_all().await;
    let (truth, _server): (i64, _) = blocking(move || {
        let price = server.query("SELECT price FROM product WHERE id = 42").unwrap().parse().unwrap();
        (price, server)
    })
    .await;
    let token = a.trueup.cache().token().await.unwrap();
    for products in [a.products(), b.products()] {
        until("the last price from memory", || async {
            let seen = products.read(&42).token(token).run().await.unwrap();
            assert_eq!(price(&seen), truth, "{:?}", seen.receipt());
            (seen.receipt().served_by == ServedBy::L1).then_some(())
        })
        .await;
        assert_eq!(price(&products.get(&42).await.unwrap()), truth);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_to_nothing_is_not_published_and_what_is_refused_says_why() {
    let server = postgres().await;
    let node = PgNode::start(&server.url(), None, THROUGH).await;
    let products = node.products();
    warm(&products, 42).await;
    let failed = node
        .trueup
        .write_through(async |tx| {
            products.publish(tx, &42).unwrap();
            tx.execute(SET_PRICE, &[&7_i64]).await.unwrap();
            Err::<(), _>("changed my mind")
        })
        .await;
    assert!(failed.is_err());
    // Refused by the COMMIT itself.
    let _server = blocking(move || {
        server
            .query("ALTER TABLE product ADD CONSTRAINT one_name UNIQUE (name) DEFERRABLE INITIALLY DEFERRED")
            .unwrap();
        server
    })
    .await;
    let refused = node
        .trueup
        .write_through(async |tx| {
            products.publish(tx, &42).unwrap();
            tx.execute("UPDATE product SET name = 'Hat' WHERE id = 42", &[]).await
        })
        .await;
    assert!(refused.is_err());
    assert!(products.stats().counts().published.iter().take(4).all(|(_, n)| *n == 0));
    assert_eq!(products.get(&42).await.unwrap().value(), Some(&shoe(900)));
    let too_low = products.put(&42, row(&shoe(-1))).await.unwrap_err();
    assert!(too_low.to_string().contains("a constraint is violated"), "{too_low}");
    let unknown = products.put(&42, row(&serde_json::json!({"colour": "red"}))).await.unwrap_err();
    assert!(matches!(&unknown, PutError::Row(why) if why.contains("no column \"colour\"")), "{unknown}");
    let other = products.put(&42, row(&serde_json::json!({"id": 43}))).await.unwrap_err();
    assert!(other.to_string().contains("another than the key's"), "{other}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_and_go_and_some_columns_can_be_given() {
    let server = postgres().await;
    let node = PgNode::start(&server.url(), None, THROUGH).await;
    let products = node.products();
    warm(&products, 42).await;
    products.put(&42, row(&serde_json::json!({"price": 5}))).await.unwrap();
    assert_eq!(products.get(&42).await.unwrap().value(), Some(&shoe(5)), "the name is not given and stays");
    let glove = Product { id: 7, name: "Glove".into(), price: 3 };
    products.put(&7, row(&glove)).await.unwrap();
    assert_eq!(products.get(&7).await.unwrap().value(), Some(&glove));
    products.delete(&7).await.unwrap();
    assert!(products.get(&7).await.unwrap().is_absent());
    // What a session was told to do changes no row that others read.
    let named = node
        .trueup
        .write_through(async |tx| {
            tx.client().batch_execute("SET TimeZone = 'Asia/Tokyo'; SET search_path = pg_temp").await?;
            products.publish(tx, &42).unwrap();
            tx.execute("UPDATE public.product SET price = 6 WHERE id = 42", &[]).await
        })
        .await
        .unwrap();
    assert_eq!(named.published[0].fate, Fate::Kept);
    assert_eq!(products.get(&42).await.unwrap().value(), Some(&shoe(6)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_of_another_pattern_is_not_written_through_the_cache() {
    let server = postgres().await;
    let node = PgNode::start(&server.url(), None, "").await;
    let products = node.products();
    let refused = products.put(&42, row(&shoe(1))).await.unwrap_err();
    assert!(refused.to_string().contains("class `product` is read-through"), "{refused}");
    let noted = node.trueup.write(async |tx| products.publish(tx, &42)).await;
    assert!(noted.is_err());
}
