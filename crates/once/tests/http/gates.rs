//! The gates stand in the contract's order.

use crate::{service::start, wire::send};

const KEY: &str = "8e03978e-40d5-43dd-bc93-6894a57f9324";
const GOOD: &str = r#"{"text": "a"}"#;

#[tokio::test]
async fn a_request_that_is_wrong_in_every_way_is_told_the_first() {
    let service = start().await;
    // Each line mends what the one before was told.
    for (head, body, status) in [
        ("x-too-often: 1\nidempotency-key: short", "{", 401),
        ("authorization: guest\nx-too-often: 1\nidempotency-key: short", "{", 403),
        ("authorization: ann\nx-too-often: 1\nidempotency-key: short", "{", 429),
        ("authorization: ann\nidempotency-key: short", "{", 400),
        (&format!("authorization: ann\nidempotency-key: {KEY}"), "{", 400),
        (&format!("authorization: ann\nidempotency-key: {KEY}"), GOOD, 201),
    ] {
        let answer = send(service.at, &format!("POST /notes HTTP/1.1\n{head}"), body).await;
        assert_eq!(answer.status, status, "{head} {body}");
    }
    assert_eq!(service.once.counters().claims_granted.get(), 1, "nothing before the claim was kept");
}

#[tokio::test]
async fn only_methods_that_change_something_need_a_key() {
    let service = start().await;
    let read = send(service.at, "GET /document HTTP/1.1\nauthorization: ann", "").await;
    assert_eq!((read.status, read.header("etag"), &read.body[..]), (200, Some("\"1\""), &b"first"[..]));
    assert_eq!(send(service.at, "GET /document HTTP/1.1", "").await.status, 401);
}
