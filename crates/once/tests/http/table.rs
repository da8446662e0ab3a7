//! Each row of the contract's table.

use once::{
    Completer, Held, KeyId, Once, Resume, Resumed, StoredResponse,
    store::{Owned as _, Store},
};

use crate::{
    service::{serve, start, start_with_present_states},
    wire::{Answer, send},
};

const KEY: &str = "8e03978e-40d5-43dd-bc93-6894a57f9324";
const OTHER: &str = "c5d3a8de-0ed7-4d6c-a7f1-1df6d5b7cf9a";

async fn note(at: std::net::SocketAddr, key: &str, body: &str) -> Answer {
    send(at, &format!("POST /notes HTTP/1.1\nauthorization: ann\nidempotency-key: {key}"), body).await
}

async fn notes<S: Store>(once: &Once<S>) -> i64 {
    use once::store::Transaction as _;
    let tx = once.store().begin_read().await.unwrap();
    tx.query_row("SELECT count(*) FROM note", &[]).await.unwrap().unwrap().int(0).unwrap()
}

#[tokio::test]
async fn a_missing_key_is_400_and_says_where_the_contract_is() {
    let service = start().await;
    let answer = send(service.at, "POST /notes HTTP/1.1\nauthorization: ann", r#"{"text": "a"}"#).await;
    assert_eq!((answer.status, answer.problem().as_str()), (400, "idempotency-key-missing"));
    assert_eq!(notes(&service.once).await, 0);
}

#[tokio::test]
async fn a_malformed_key_is_400_of_another_type_and_is_not_shown() {
    let service = start().await;
    for key in [
        "short",
        "\"unterminated-unterminated",
        "a b c d e f g h i j k l m",
        "12345678901234567890.5",
        "\"spaces are no part of keys\"",
    ] {
        let answer = note(service.at, key, r#"{"text": "a"}"#).await;
        assert_eq!((answer.status, answer.problem().as_str()), (400, "idempotency-key-malformed"), "{key}");
        assert!(!String::from_utf8_lossy(&answer.body).contains(key));
    }
    let twice =
        format!("POST /notes HTTP/1.1\nauthorization: ann\nidempotency-key: {KEY}\nidempotency-key: {KEY}");
    assert_eq!(send(service.at, &twice, r#"{"text": "a"}"#).await.problem(), "idempotency-key-malformed");
    assert_eq!(notes(&service.once).await, 0);
}

#[tokio::test]
async fn an_answer_is_given_again_byte_for_byte_whichever_way_the_key_is_written() {
    let service = start().await;
    let first = note(service.at, KEY, r#"{"text": "a", "otp": "1"}"#).await;
    assert_eq!(first.status, 201);
    assert_eq!(first.header("idempotent-replayed"), None);
    for (key, body) in [
        (KEY.to_owned(), r#"{"text": "a", "otp": "1"}"#),
        (format!("\"{KEY}\""), r#"{"otp": "2",   "text": "a"}"#),
        (format!("\"{KEY}\";trace=7"), r#"{"text": "a"}"#),
    ] {
        let again = note(service.at, &key, body).await;
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        assert_eq!(again.header("set-cookie"), None, "a session is nobody else's");
        assert_eq!(again.kept(), first.kept());
    }
    assert_eq!(notes(&service.once).await, 1);
}

#[tokio::test]
async fn a_decline_is_given_again_too() {
    let service = start().await;
    let first = note(service.at, KEY, r#"{"text": "refused"}"#).await;
    let again = note(service.at, KEY, r#"{"text": "refused"}"#).await;
    assert_eq!((first.status, again.header("idempotent-replayed")), (402, Some("true")));
    assert_eq!(first.kept(), again.kept());
}

#[tokio::test]
async fn the_same_key_with_another_body_is_422() {
    let service = start().await;
    note(service.at, KEY, r#"{"text": "a"}"#).await;
    let answer = note(service.at, KEY, r#"{"text": "b"}"#).await;
    assert_eq!((answer.status, answer.problem().as_str()), (422, "idempotency-key-reused"));
    let route = format!("POST /charges HTTP/1.1\nauthorization: ann\nidempotency-key: {KEY}");
    assert_eq!(send(service.at, &route, "x").await.problem(), "idempotency-key-reused");
    // Another's key of the same name is another key.
    let bob = format!("POST /notes HTTP/1.1\nauthorization: bob\nidempotency-key: {KEY}");
    assert_eq!(send(service.at, &bob, r#"{"text": "b"}"#).await.status, 201);
}

#[tokio::test]
async fn a_business_id_under_another_key_is_409_and_for_something_else_422() {
    let service = start().await;
    note(service.at, KEY, r#"{"text": "a", "reference": "order-1"}"#).await;
    let answer = note(service.at, OTHER, r#"{"text": "a", "reference": "order-1"}"#).await;
    assert_eq!((answer.status, answer.problem().as_str()), (409, "already-requested"));
    assert_eq!(answer.json()["reference"], "/notes/order-1");
    let answer = note(service.at, OTHER, r#"{"text": "b", "reference": "order-1"}"#).await;
    assert_eq!((answer.status, answer.problem().as_str()), (422, "business-id-reused"));
    assert_eq!(notes(&service.once).await, 1);
}

#[tokio::test]
async fn a_key_that_was_forgotten_repeats_nothing_and_is_told_the_present_state() {
    use once::store::Transaction as _;
    let service = start_with_present_states().await;
    let body = r#"{"text": "a", "reference": "order-1"}"#;
    let first = note(service.at, KEY, body).await;
    assert_eq!(first.status, 201);
    let change = async |sql: &str| {
        let tx = service.once.store().begin().await.unwrap();
        tx.batch(sql).await.unwrap();
        tx.commit().await.unwrap();
    };
    // The key is older than the retention, and the note has changed since.
    change("UPDATE once_keys SET created_ms = 0, finished_ms = 0; UPDATE note SET text = 'changed since'")
        .await;
    assert_eq!(service.once.reap(10).await.unwrap(), 1);
    for key in [KEY, OTHER, KEY] {
        let again = note(service.at, key, body).await;
        assert_eq!((again.status, &again.body[..]), (200, &b"changed since"[..]), "not what was told then");
        assert_eq!(again.header("location"), Some("/notes/order-1"));
        assert_eq!(again.header("idempotent-replayed"), None);
    }
    let other = note(service.at, OTHER, r#"{"text": "b", "reference": "order-1"}"#).await;
    assert_eq!((other.status, other.problem().as_str()), (422, "business-id-reused"));
    // Where the state cannot be read nothing is done either.
    change("UPDATE note SET text = 'torn'").await;
    let torn = note(service.at, KEY, body).await;
    assert_eq!((torn.status, torn.problem().as_str()), (503, "idempotency-store-unavailable"));
    // What is gone is told by its place.
    change("DELETE FROM note").await;
    let gone = note(service.at, KEY, body).await;
    assert_eq!((gone.status, gone.problem().as_str()), (409, "already-requested"));
    assert_eq!(gone.json()["reference"], "/notes/order-1");
    assert_eq!(notes(&service.once).await, 0, "nothing was repeated");
    assert_eq!(service.once.counters().claims_granted.get(), 1);
}

#[tokio::test]
async fn in_flight_is_409_with_a_location_once_there_is_one() {
    let service = start().await;
    let route = format!("POST /charges HTTP/1.1\nauthorization: ann\nidempotency-key: {KEY}");
    let first = send(service.at, &route, "unanswered").await;
    let again = send(service.at, &route, "unanswered").await;
    assert_eq!((again.status, again.problem().as_str()), (409, "request-in-flight"));
    assert_eq!(again.header("location"), first.header("location"));
    let pause: u64 = again.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=30).contains(&pause));
}

/// Finishes whatever it is given.
struct Finishes;

impl<S: Store> Resume<S> for Finishes {
    async fn resume(
        &self,
        once: &Once<S>,
        held: Held,
    ) -> Result<Resumed, Box<dyn std::error::Error + Send + Sync>> {
        let tx = once.store().begin().await?;
        once.finish(&tx, &held, &StoredResponse::new(200, "charged")?).await?;
        tx.commit().await?;
        Ok(Resumed::Finished)
    }
}

#[tokio::test]
async fn accepted_is_202_before_and_after_it_is_finished() {
    let service = start().await;
    let route = format!("POST /charges HTTP/1.1\nauthorization: ann\nidempotency-key: {KEY}");
    let first = send(service.at, &route, "accepted").await;
    assert_eq!(first.status, 202);
    let location = first.header("location").unwrap();
    assert!(first.header("retry-after").is_some());
    let again = send(service.at, &route, "accepted").await;
    assert_eq!((again.status, again.header("location")), (202, Some(location)));
    assert_eq!(again.header("idempotent-replayed"), None, "the state is read anew");
    // The completer finishes it, and the client goes on looking at the location.
    let id = KeyId(location.rsplit('/').next().unwrap().parse().unwrap());
    let tx = service.once.store().begin().await.unwrap();
    let held = service.once.lock(&tx, id).await.unwrap().unwrap();
    service.once.postpone(&tx, &held, std::time::Duration::ZERO).await.unwrap();
    tx.commit().await.unwrap();
    let report = Completer::new(service.once.clone(), Finishes).run_once().await.unwrap();
    assert_eq!(report.finished, 1);
    assert_eq!(send(service.at, &route, "accepted").await.header("location"), Some(location));
}

#[tokio::test]
async fn if_match_missing_is_428_stale_412_and_a_success_is_given_again_all_the_same() {
    let service = start().await;
    let change = async |key: &str, if_match: &str, text: &str| {
        let head = format!("PUT /document HTTP/1.1\nauthorization: ann\nidempotency-key: {key}\n{if_match}");
        send(service.at, &head, text).await
    };
    let missing = change(KEY, "", "second").await;
    assert_eq!((missing.status, missing.problem().as_str()), (428, "precondition-required"));
    let first = change(KEY, "if-match: \"1\"", "second").await;
    assert_eq!((first.status, first.header("etag")), (200, Some("\"2\"")));
    // The version has changed by the success itself: a repeat must not become a 412.
    let again = change(KEY, "if-match: \"1\"", "second").await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.kept(), first.kept());
    let stale = change(OTHER, "if-match: \"1\"", "third").await;
    assert_eq!((stale.status, stale.problem().as_str()), (412, "precondition-failed"));
    assert_eq!((stale.header("etag"), stale.json()["version"].clone()), (Some("\"2\""), 2.into()));
    // What was refused was not kept: the same key may be used once the client has read the document again.
    assert_eq!(change(OTHER, "if-match: \"2\"", "third").await.status, 200);
}

#[tokio::test]
async fn a_store_that_is_down_is_503_and_nothing_is_done() {
    use deadpool_postgres::{Manager, Pool, Runtime, Timeouts};
    let nobody = "host=127.0.0.1 port=9 user=nobody connect_timeout=1".parse().unwrap();
    let limit = Some(std::time::Duration::from_secs(1));
    let pool = Pool::builder(Manager::new(nobody, tokio_postgres::NoTls))
        .timeouts(Timeouts { wait: limit, create: limit, recycle: limit })
        .runtime(Runtime::Tokio1)
        .build()
        .unwrap();
    let service = serve(once::postgres::PostgresStore::new(pool)).await;
    let answer = note(service.at, KEY, r#"{"text": "a"}"#).await;
    assert_eq!((answer.status, answer.problem().as_str()), (503, "idempotency-store-unavailable"));
    assert!(answer.header("retry-after").is_some());
}

#[tokio::test]
async fn of_32_clients_that_send_at_once_one_takes_the_note_and_all_hear_the_same() {
    let service = start().await;
    let clients = (0..32).map(|_| tokio::spawn(note(service.at, KEY, r#"{"text": "a"}"#)));
    let mut answers = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        answers.push(client.await.unwrap());
    }
    assert!(answers.iter().all(|answer| answer.status == 201 && answer.kept() == answers[0].kept()));
    assert_eq!(answers.iter().filter(|answer| answer.header("idempotent-replayed").is_none()).count(), 1);
    assert_eq!(notes(&service.once).await, 1);
}
