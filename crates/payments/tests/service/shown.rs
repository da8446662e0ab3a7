//! What is shown: by way of the cache, with its evidence, and with one's own writes in it.

use std::time::Duration;

use serde_json::json;

use crate::support::{ANN, ANN_PERSON, BEN_PERSON, OPENING, World, id, on_both, transfer_of};

on_both! {
    a_balance_comes_with_its_evidence
    a_token_shows_ones_own_write
    whoever_writes_is_seen
    personal_data_is_shown_to_whom_it_concerns
    a_statement_has_pages
    the_document_names_every_route
    it_says_how_it_is
}

async fn a_balance_comes_with_its_evidence(world: World) {
    let path = format!("/accounts/{ANN}");
    let first = world.get("ann", &path).await;
    assert_eq!((first.status, first.json()["balance"].as_i64()), (200, Some(OPENING)));
    assert!(first.header("cache-status").starts_with("trueup; fwd="), "{first:?}");
    let second = world.get("ann", &path).await;
    assert!(second.header("cache-status").starts_with("trueup; hit"), "{second:?}");
    for header in ["age", "etag", "fetched-at-ms", "trueup-token", "cache-control", "vary"] {
        assert!(!second.header(header).is_empty(), "{header}");
    }
    assert_eq!(second.header("cache-control"), "private, no-cache");
    assert_eq!(second.header("etag"), format!("\"{}\"", second.json()["version"]));
    let same = world.ask("ann", "GET", &path).header("if-none-match", second.header("etag")).send().await;
    assert_eq!((same.status, same.body.len()), (304, 0));
    for token in ["nonsense", "00-1"] {
        let bad = world.ask("ann", "GET", &path).header("trueup-token", token).send().await;
        assert_eq!((bad.status, bad.problem().as_str()), (400, "invalid-header"));
    }
    world.end().await;
}

async fn a_token_shows_ones_own_write(world: World) {
    let path = format!("/accounts/{ANN}");
    for made in 1..=20 {
        let token = world.post("ann", "/transfers", &transfer_of(1)).await.header("trueup-token").to_owned();
        let seen = world.ask("ann", "GET", &path).header("trueup-token", &token).send().await;
        assert_eq!(seen.json()["balance"], OPENING - made);
    }
    world.end().await;
}

async fn whoever_writes_is_seen(world: World) {
    let path = format!("/accounts/{ANN}");
    world.get("ann", &path).await;
    world.run(&format!("UPDATE account SET overdraft = 77, version = version + 1 WHERE id = '{ANN}'")).await;
    let token = world.app.shown().token().await.unwrap().to_string();
    let seen = world.ask("ann", "GET", &path).header("trueup-token", &token).send().await;
    assert_eq!(seen.json()["overdraft"], 77);
    world.end().await;
}

async fn personal_data_is_shown_to_whom_it_concerns(world: World) {
    let ann = format!("/people/{ANN_PERSON}");
    assert_eq!(world.get("ann", &ann).await.json()["email"], "ann@example.org");
    assert_eq!(world.get("otto", &ann).await.json()["email"], "ann@example.org");
    let by_operator = world.get("olga", &ann).await.json();
    assert_eq!((by_operator["name"].as_str(), by_operator["email"].is_null()), (Some("ann"), true));
    assert_eq!(world.get("ann", &format!("/people/{BEN_PERSON}")).await.status, 404);
    assert_eq!(world.get("ann", &format!("/people/{BEN_PERSON}/kyc")).await.status, 404);
    world.end().await;
}

async fn a_statement_has_pages(world: World) {
    for _ in 0..5 {
        assert_eq!(world.post("ann", "/transfers", &transfer_of(2)).await.status, 201);
    }
    let mut path = format!("/accounts/{ANN}/statement?limit=2");
    let mut amounts = Vec::new();
    loop {
        let page = world.get("ann", &path).await.json();
        amounts.extend(page["lines"].as_array().unwrap().iter().map(|line| line["amount"].as_i64().unwrap()));
        let Some(before) = page["next_before"].as_i64() else { break };
        path = format!("/accounts/{ANN}/statement?limit=2&before={before}");
    }
    assert_eq!(amounts, [-2, -2, -2, -2, -2, OPENING]);
    world.end().await;
}

async fn the_document_names_every_route(world: World) {
    let document = world.get("nobody", "/openapi.json").await.json();
    let paths = document["paths"].as_object().unwrap();
    for path in [
        "/transfers",
        "/payments",
        "/payments/{id}/refunds",
        "/accounts/{id}",
        "/people/{id}/kyc",
        "/challenges",
    ] {
        assert!(paths.contains_key(path), "{path}");
    }
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().unwrap() {
            let answers = operation["responses"].as_object().unwrap();
            assert!(answers.contains_key("401") && !answers.contains_key("500"), "{method} {path}");
            if method == "post" && !path.starts_with("/webhooks") {
                assert!(operation["parameters"].to_string().contains("Idempotency-Key"), "{method} {path}");
            }
        }
    }
    world.end().await;
}

async fn it_says_how_it_is(world: World) {
    for path in ["/livez", "/readyz"] {
        assert_eq!(world.get("nobody", path).await.status, 204, "{path}");
    }
    assert_eq!(world.post("ann", "/transfers", &json!({"id": id()})).await.status, 400);
    let metrics = world.get("nobody", "/metrics").await;
    assert!(String::from_utf8_lossy(&metrics.body).contains("once_outbox_published_total"));
    let problems = world.get("nobody", "/docs/problems").await;
    let text = String::from_utf8_lossy(&problems.body).into_owned();
    for kind in ["idempotency-key-missing", "insufficient-funds", "refund-exceeds-payment"] {
        assert!(text.contains(kind), "{kind}");
    }
    world.end().await;
}

/// A feed of PostgreSQL begins only when every transaction of the server that writes has ended: one that somebody left open, or whose
/// process stands still, holds up what the cache could do, and no money.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_left_open_holds_up_neither_a_start_nor_a_payment() {
    let before = World::postgres().await;
    let url = before.url().expect("it is on PostgreSQL");
    let (writer, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    trueup::engine::env::spawn("a writer", async move { drop(connection.await) });
    writer.batch_execute("BEGIN; SELECT pg_current_xact_id()").await.unwrap();

    let world = before.beside(|_| ()).await;
    assert!(!world.app.shown().cache().is_ready());
    assert_eq!(world.get("ann", "/readyz").await.status, 204);
    let path = format!("/accounts/{ANN}");
    let token = world.post("ann", "/transfers", &transfer_of(1)).await.header("trueup-token").to_owned();
    for _ in 0..2 {
        let seen = world.ask("ann", "GET", &path).header("trueup-token", &token).send().await;
        assert_eq!((seen.status, seen.json()["balance"].as_i64()), (200, Some(OPENING - 1)));
        assert!(seen.header("cache-status").starts_with("trueup; fwd="), "{seen:?}");
    }
    writer.batch_execute("COMMIT").await.unwrap();
    let ready = world.app.shown().cache().ready();
    tokio::time::timeout(Duration::from_secs(30), ready).await.expect("it begins by itself");
    world.end().await;
    before.end().await;
}
