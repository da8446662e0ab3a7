//! The table of the HTTP contract, case by case.

use serde_json::json;

use crate::support::{ANN, Answer, BEN, OPENING, World, charge_of, id, on_both, transfer_of};

on_both! {
    a_missing_key_and_a_malformed_one_are_told_apart
    a_repeat_gets_the_same_bytes
    a_bare_key_is_the_quoted_one
    another_body_under_the_key_is_refused
    a_decline_is_kept
    an_expired_key_repeats_no_money
    what_is_accepted_is_read_anew
    if_match_is_demanded_and_compared
    a_repeat_of_a_change_is_no_stale_version
    who_asks_comes_before_what_is_asked
    requests_in_flight_meet
}

async fn a_missing_key_and_a_malformed_one_are_told_apart(world: World) {
    let missing = world.ask("ann", "POST", "/transfers").json(&transfer_of(1)).send().await;
    assert_eq!((missing.status, missing.problem().as_str()), (400, "idempotency-key-missing"));
    assert!(missing.header("link").contains("rel=\"describedby\""), "{missing:?}");
    for key in ["short", "\"unclosed-aaaaaaaaaaaaaaaaaaaa", "has space aaaaaaaaaaaaaaaaa", "\"\""] {
        let malformed =
            world.ask("ann", "POST", "/transfers").header("idempotency-key", key).json(&transfer_of(1));
        let malformed = malformed.send().await;
        assert_eq!(
            (malformed.status, malformed.problem().as_str()),
            (400, "idempotency-key-malformed"),
            "{key}"
        );
    }
    assert_eq!(world.count("SELECT COUNT(*) FROM once_keys").await, 0, "nothing before the claim is stored");
    world.end().await;
}

/// Status, kept headers, body.
fn kept(answer: &Answer) -> (u16, String, String, Vec<u8>) {
    (
        answer.status,
        answer.header("content-type").to_owned(),
        answer.header("location").to_owned(),
        answer.body.clone(),
    )
}

async fn a_repeat_gets_the_same_bytes(world: World) {
    let (key, body) = (id(), transfer_of(1_250));
    let ask = || world.ask("ann", "POST", "/transfers").key(&key).json(&body).send();
    let first = ask().await;
    assert_eq!(first.status, 201, "{first:?}");
    assert_eq!(first.header("location"), format!("/transfers/{}", body["id"].as_str().unwrap()));
    assert!(first.header("trueup-token").contains('-') && !first.headers.contains_key("idempotent-replayed"));
    for _ in 0..3 {
        let again = ask().await;
        assert_eq!(kept(&again), kept(&first));
        assert_eq!(again.header("idempotent-replayed"), "true");
    }
    assert_eq!(world.balance(ANN).await, OPENING - 1_250);
    assert_eq!(world.balance(BEN).await, OPENING + 1_250);
    world.end().await;
}

async fn a_bare_key_is_the_quoted_one(world: World) {
    let (key, body) = (id(), transfer_of(5));
    let quoted = world.ask("ann", "POST", "/transfers").key(&key).json(&body).send().await;
    let bare =
        world.ask("ann", "POST", "/transfers").header("idempotency-key", &key).json(&body).send().await;
    assert_eq!((quoted.status, bare.header("idempotent-replayed")), (201, "true"));
    // Another's key of the same text is another key.
    let other = json!({"id": id(), "from": BEN, "to": ANN, "amount": 5, "currency": "EUR"});
    let other = world.ask("ben", "POST", "/transfers").key(&key).json(&other).send().await;
    assert_eq!((other.status, other.header("idempotent-replayed")), (201, ""));
    world.end().await;
}

async fn another_body_under_the_key_is_refused(world: World) {
    let (key, body) = (id(), transfer_of(7));
    assert_eq!(world.ask("ann", "POST", "/transfers").key(&key).json(&body).send().await.status, 201);
    let mut other = body.clone();
    other["amount"] = json!(8);
    let other = world.ask("ann", "POST", "/transfers").key(&key).json(&other).send().await;
    assert_eq!((other.status, other.problem().as_str()), (422, "idempotency-key-reused"));
    // What does not decide what is done does not count.
    let mut with_code = body;
    with_code["otp"] = json!({"challenge": id(), "code": "000000"});
    let with_code = world.ask("ann", "POST", "/transfers").key(&key).json(&with_code).send().await;
    assert_eq!((with_code.status, with_code.header("idempotent-replayed")), (201, "true"));
    world.end().await;
}

async fn a_decline_is_kept(world: World) {
    world.run("UPDATE tenant SET otp_from = NULL").await;
    let (key, body) = (id(), transfer_of(OPENING + 1));
    let ask = || world.ask("ann", "POST", "/transfers").key(&key).json(&body).send();
    let first = ask().await;
    assert_eq!((first.status, first.problem().as_str()), (402, "insufficient-funds"));
    let deposit = json!({"id": id(), "from": BEN, "to": ANN, "amount": 50, "currency": "EUR"});
    assert_eq!(world.post("ben", "/transfers", &deposit).await.status, 201);
    let again = ask().await;
    assert_eq!((kept(&again), again.header("idempotent-replayed")), (kept(&first), "true"));
    world.end().await;
}

async fn an_expired_key_repeats_no_money(world: World) {
    let body = transfer_of(100);
    let first = world.post("ann", "/transfers", &body).await;
    assert_eq!(first.status, 201);
    world.run("DELETE FROM once_keys").await;
    let again = world.post("ann", "/transfers", &body).await;
    assert_eq!((again.status, again.json()), (200, first.json()), "as it stands");
    let mut other = body;
    other["amount"] = json!(101);
    let other = world.post("ann", "/transfers", &other).await;
    assert_eq!((other.status, other.problem().as_str()), (422, "business-id-reused"));
    assert_eq!(world.balance(ANN).await, OPENING - 100);
    world.end().await;
}

async fn what_is_accepted_is_read_anew(world: World) {
    world.script(&["lose-reply"]).await;
    let (key, body) = (id(), charge_of(5_000));
    let payment = body["id"].as_str().unwrap().to_owned();
    let ask = || world.ask("ann", "POST", "/payments").key(&key).json(&body).send();
    let accepted = ask().await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    assert_eq!(accepted.header("location"), format!("/payments/{payment}"));
    assert_eq!((accepted.header("retry-after"), accepted.header("cache-control")), ("1", "no-store"));
    assert_eq!(accepted.json()["state"], "intent");
    world.rest().await;
    let after = ask().await;
    assert_eq!((after.status, after.json()["state"].as_str().unwrap()), (200, "charged"));
    let seen = world.get("ann", &format!("/payments/{payment}")).await;
    assert_eq!((seen.status, seen.header("etag")), (200, "\"2\""));
    assert_eq!(seen.header("cache-control"), "no-store");
    assert_eq!(world.charges(&payment).await, 1);
    world.end().await;
}

async fn if_match_is_demanded_and_compared(world: World) {
    let path = format!("/accounts/{ANN}");
    let body = json!({"status": "frozen"});
    let ask = || world.ask("olga", "PATCH", &path).key(&id());
    let missing = ask().json(&body).send().await;
    assert_eq!((missing.status, missing.problem().as_str()), (428, "precondition-required"));
    let stale = ask().header("if-match", "\"1\"").json(&body).send().await;
    assert_eq!((stale.status, stale.problem().as_str()), (412, "precondition-failed"));
    let current = stale.header("etag").to_owned();
    assert_eq!(stale.json()["version"].to_string(), current.trim_matches('"'));
    let done = ask().header("if-match", &current).json(&body).send().await;
    assert_eq!((done.status, done.json()["status"].as_str().unwrap()), (200, "frozen"), "{done:?}");
    assert_ne!(done.header("etag"), current);
    // A transfer that demands a version of the paying account.
    let seen = world.ask("ben", "POST", "/transfers").key(&id()).header("if-match", "\"77\"");
    let body = json!({"id": id(), "from": BEN, "to": ANN, "amount": 5, "currency": "EUR"});
    assert_eq!(seen.json(&body).send().await.status, 412);
    world.end().await;
}

async fn a_repeat_of_a_change_is_no_stale_version(world: World) {
    let path = format!("/accounts/{ANN}");
    let key = id();
    let seen = world.get("olga", &path).await.header("etag").to_owned();
    let body = json!({"overdraft": 500});
    let ask = || world.ask("olga", "PATCH", &path).key(&key).header("if-match", &seen).json(&body).send();
    let (first, again) = (ask().await, ask().await);
    assert_eq!(first.status, 200, "{first:?}");
    assert_eq!((again.status, &again.body), (200, &first.body), "the success itself made the version stale");
    assert_eq!(again.header("idempotent-replayed"), "true");
    world.end().await;
}

async fn who_asks_comes_before_what_is_asked(world: World) {
    let nobody = world.ask("nobody", "POST", "/transfers").json(&json!({})).send().await;
    assert_eq!((nobody.status, nobody.problem().as_str()), (401, "unauthorized"));
    assert_eq!(nobody.header("www-authenticate"), "Bearer");
    // No key and a bad body: the key is told first.
    let both = world.ask("ann", "POST", "/transfers").json(&json!({})).send().await;
    assert_eq!(both.problem(), "idempotency-key-missing");
    // A finished one replays before If-Match is looked at.
    let (key, body) = (id(), transfer_of(3));
    assert_eq!(world.ask("ann", "POST", "/transfers").key(&key).json(&body).send().await.status, 201);
    let again =
        world.ask("ann", "POST", "/transfers").key(&key).header("if-match", "\"1\"").json(&body).send().await;
    assert_eq!((again.status, again.header("idempotent-replayed")), (201, "true"));
    world.end().await;
}

async fn requests_in_flight_meet(world: World) {
    world.script(&["hold-reply"]).await;
    let (key, body) = (id(), charge_of(900));
    let ask = || world.ask("ann", "POST", "/payments").key(&key).json(&body).send();
    let (first, second) = tokio::join!(ask(), async {
        // Until the first one stands at its intent.
        while world.count("SELECT COUNT(*) FROM payment").await == 0 {
            tokio::task::yield_now().await;
        }
        ask().await
    });
    assert_eq!((second.status, second.problem().as_str()), (409, "request-in-flight"));
    assert!(!second.header("retry-after").is_empty() && second.header("location").starts_with("/payments/"));
    assert_eq!(first.status, 202, "the gateway took longer than we wait");
    world.rest().await;
    assert_eq!(world.charges(body["id"].as_str().unwrap()).await, 1);
    world.end().await;
}
