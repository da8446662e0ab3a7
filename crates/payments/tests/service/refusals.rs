//! Bad input gets the contract's answers, and leaves nothing half done.

use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{ANN, ANN_PERSON, Ask, BEN, OPENING, World, id, on_both, transfer_of};

on_both! {
    bodies_that_are_none
    what_is_another_tenants_is_not_there
    who_may_not_is_told_so
    ended_sessions_move_nothing
    one_time_passwords_are_used_once_and_tried_thrice
    unknown_people_pay_nothing
    webhooks_need_a_signature
    large_and_slow_requests_are_cut
    a_body_with_a_number_in_it_is_not_repeated
}

fn with(member: &str, value: Json) -> Json {
    let mut body = transfer_of(1);
    body[member] = value;
    body
}

async fn bodies_that_are_none(world: World) {
    let cases = [
        (with("amount", json!(0)), 400),
        (with("amount", json!(-5)), 400),
        (with("amount", json!(1.5)), 400),
        (with("amount", json!("5")), 400),
        (with("amount", json!(1_000_000_000_000_001_i64)), 400),
        (with("amount", json!(99_999_999_999_999_999_999_f64)), 400),
        (with("currency", json!("eur")), 400),
        (with("currency", json!("XXX")), 400),
        (with("currency", json!("CZK")), 422),
        (with("from", json!("1")), 400),
        (with("id", json!("0197B1F0-0000-7000-8000-00000000000A")), 400),
        (with("to", json!(ANN)), 400),
        (with("note", json!("a".repeat(141))), 400),
        (with("note", json!("a\u{0}b")), 400),
        (with("surprise", json!(1)), 400),
        (with("from", json!(id())), 404),
        (with("to", json!(id())), 404),
        (json!([]), 400),
        (json!(null), 400),
    ];
    for (body, status) in cases {
        let answer = world.post("ann", "/transfers", &body).await;
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        answer.problem();
    }
    for (kind, body, status) in [
        ("application/json", "{", 400),
        ("application/json", "", 400),
        ("application/json", "{\"id\": \"a\", \"id\": \"b\"}", 400),
        ("application/json", "\u{feff}{}", 400),
        ("text/plain", "{}", 415),
        ("application/x-www-form-urlencoded", "a=b", 415),
    ] {
        let ask = world.ask("ann", "POST", "/transfers").key(&id()).body(kind, body.as_bytes().to_vec());
        assert_eq!(ask.send().await.status, status, "{kind} {body}");
    }
    for (method, path, status) in [
        ("GET", "/nothing", 404),
        ("PUT", "/transfers", 405),
        ("GET", "/accounts/1", 404),
        ("GET", "/payments/../secret", 404),
        ("GET", &format!("/accounts/{ANN}/statement?limit=0"), 400),
        ("GET", &format!("/accounts/{ANN}/statement?limit=a"), 400),
        ("GET", &format!("/accounts/{ANN}/statement?x=1"), 400),
    ] {
        let answer = world.ask("ann", method, path).send().await;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        answer.problem();
    }
    assert_eq!((world.balance(ANN).await, world.balance(BEN).await), (OPENING, OPENING));
    world.end().await;
}

async fn what_is_another_tenants_is_not_there(world: World) {
    let (theirs, person) = (id(), id());
    world
        .run(&format!(
            "INSERT INTO tenant (id, created_ms) VALUES ('other', 0);
             INSERT INTO person (id, tenant, name, email) VALUES ('{person}', 'other', 'x', 'x@example.org');
             INSERT INTO account (id, tenant, owner, kind, currency, created_ms) VALUES ('{theirs}', 'other', '{person}', 'wallet', 'EUR', 0);"
        ))
        .await;
    for who in ["ann", "olga", "ada"] {
        for path in [format!("/accounts/{theirs}"), format!("/accounts/{theirs}/statement")] {
            let answer = world.get(who, &path).await;
            assert_eq!((answer.status, answer.problem().as_str()), (404, "unknown-account"), "{who} {path}");
        }
    }
    assert_eq!(world.post("ann", "/transfers", &with("to", json!(theirs))).await.status, 404);
    assert_eq!(world.post("olga", "/transfers", &with("from", json!(theirs))).await.status, 404);
    // Within the tenant a customer sees their own, and pays from their own.
    assert_eq!(world.get("ann", &format!("/accounts/{BEN}")).await.status, 404);
    assert_eq!(world.get("olga", &format!("/accounts/{BEN}")).await.status, 200);
    let from_ben = json!({"id": id(), "from": BEN, "to": ANN, "amount": 1, "currency": "EUR"});
    assert_eq!(world.post("ann", "/transfers", &from_ben).await.status, 404);
    world.end().await;
}

async fn who_may_not_is_told_so(world: World) {
    let open = json!({"id": id(), "owner": ANN_PERSON, "currency": "EUR"});
    for (who, status) in [("ann", 403), ("otto", 403), ("ada", 201)] {
        assert_eq!(world.post(who, "/accounts", &open).await.status, status, "{who}");
    }
    for who in ["otto", "ada"] {
        assert_eq!(world.post(who, "/transfers", &transfer_of(1)).await.status, 403, "{who}");
    }
    let kyc = format!("/people/{ANN_PERSON}/kyc");
    let seen = world.get("otto", &kyc).await;
    assert_eq!(seen.json()["status"], "verified");
    for (who, status) in [("ann", 403), ("olga", 403), ("otto", 200)] {
        let ask = world.ask(who, "PATCH", &kyc).key(&id()).header("if-match", seen.header("etag"));
        assert_eq!(ask.json(&json!({"status": "verified"})).send().await.status, status, "{who}");
    }
    let fee = "/fees/charge/EUR";
    let seen = world.get("ann", fee).await;
    assert_eq!(seen.json()["rate_ppm"], 14_000);
    for (who, status) in [("ann", 403), ("olga", 403), ("ada", 200)] {
        let ask = world.ask(who, "PATCH", fee).key(&id()).header("if-match", seen.header("etag"));
        assert_eq!(ask.json(&json!({"fixed": 30, "rate_ppm": 10_000})).send().await.status, status, "{who}");
    }
    world.end().await;
}

async fn ended_sessions_move_nothing(world: World) {
    let (key, made) = (id(), json!({"id": id(), "person": ANN_PERSON, "role": "customer", "life_s": 60}));
    let ask = || world.ask("olga", "POST", "/sessions").key(&key).json(&made).send();
    let (session, again) = (ask().await, ask().await);
    assert_eq!(session.status, 201, "{session:?}");
    let bearer = session.json()["bearer"].as_str().unwrap().to_owned();
    assert_eq!(again.json(), session.json(), "a repeat gets the token again");
    let stored = world.count("SELECT COUNT(*) FROM once_keys WHERE response_body IS NOT NULL").await;
    assert_eq!(stored, 1);
    let with_bearer = |method: &str, path: &str| {
        Ask::new(world.http, method, path).header("authorization", &format!("Bearer {bearer}"))
    };
    assert_eq!(with_bearer("GET", "/sessions/current").send().await.json()["role"], "customer");
    assert_eq!(with_bearer("POST", "/transfers").key(&id()).json(&transfer_of(1)).send().await.status, 201);
    assert_eq!(with_bearer("DELETE", "/sessions/current").send().await.status, 204);
    // At once, whatever a cache still shows of the session.
    let late = with_bearer("POST", "/transfers").key(&id()).json(&transfer_of(1)).send().await;
    assert_eq!((late.status, late.problem().as_str()), (401, "unauthorized"));
    world.run("UPDATE session SET expires_ms = 1").await;
    let expired = world.post("ann", "/transfers", &transfer_of(1)).await;
    assert_eq!((expired.status, expired.problem().as_str()), (401, "unauthorized"));
    assert_eq!(world.balance(ANN).await, OPENING - 1);
    for bearer in ["", "x", "Bearer", "Basic abc", "Bearer ", "Bearer pay_0000"] {
        let ask = Ask::new(world.http, "GET", "/sessions/current").header("authorization", bearer);
        assert_eq!(ask.send().await.status, 401, "{bearer}");
    }
    world.end().await;
}

/// The code that was delivered for a challenge.
fn code(world: &World, challenge: &str) -> String {
    let codes = std::fs::read_to_string(world.folder.path().join("codes.txt")).unwrap();
    let line = codes.lines().find(|line| line.contains(challenge)).unwrap();
    line.rsplit_once(' ').unwrap().1.to_owned()
}

async fn one_time_passwords_are_used_once_and_tried_thrice(world: World) {
    let large = |challenge: &str, code: &str| {
        let mut body = transfer_of(50_000);
        body["otp"] = json!({"challenge": challenge, "code": code});
        body
    };
    let none = world.post("ann", "/transfers", &transfer_of(50_000)).await;
    assert_eq!((none.status, none.problem().as_str()), (403, "otp-required"));
    let sent = async || {
        let challenge = id();
        assert_eq!(world.post("ann", "/challenges", &json!({"id": challenge})).await.status, 201);
        let code = code(&world, &challenge);
        (challenge, code)
    };
    let wrong_of = |code: &str| if code == "000000" { "000001" } else { "000000" };
    // Two wrong ones, then the right one, then nothing more.
    let (challenge, right) = sent().await;
    for _ in 0..2 {
        let wrong = world.post("ann", "/transfers", &large(&challenge, wrong_of(&right))).await;
        assert_eq!((wrong.status, wrong.problem().as_str()), (403, "otp-required"));
    }
    // Another's code is none.
    let mut by_ben = json!({"id": id(), "from": BEN, "to": ANN, "amount": 50_000, "currency": "EUR"});
    by_ben["otp"] = json!({"challenge": challenge, "code": right});
    assert_eq!(world.post("ben", "/transfers", &by_ben).await.status, 403);
    assert_eq!(world.post("ann", "/transfers", &large(&challenge, &right)).await.status, 201);
    assert_eq!(world.post("ann", "/transfers", &large(&challenge, &right)).await.status, 403, "used");
    let (challenge, right) = sent().await;
    for _ in 0..3 {
        assert_eq!(world.post("ann", "/transfers", &large(&challenge, wrong_of(&right))).await.status, 403);
    }
    assert_eq!(
        world.post("ann", "/transfers", &large(&challenge, &right)).await.status,
        403,
        "tried too often"
    );
    // 32 guesses at once are three.
    let (challenge, right) = sent().await;
    let guess =
        |_| async { world.post("ann", "/transfers", &large(&challenge, wrong_of(&right))).await.status };
    let guesses = futures_util::future::join_all((0..32).map(guess)).await;
    assert!(guesses.iter().all(|status| *status != 201));
    let left = world.count(&format!("SELECT attempts_left FROM challenge WHERE id = '{challenge}'")).await;
    assert_eq!(left, 0);
    assert_eq!(world.balance(ANN).await, OPENING - 50_000);
    world.end().await;
}

async fn unknown_people_pay_nothing(world: World) {
    world.run("UPDATE kyc SET status = 'rejected', version = version + 1").await;
    let answer = world.post("ann", "/transfers", &transfer_of(1)).await;
    assert_eq!((answer.status, answer.problem().as_str()), (403, "kyc-required"));
    world.run(&format!("UPDATE account SET status = 'frozen' WHERE id = '{ANN}'")).await;
    world.run("UPDATE kyc SET status = 'verified', version = version + 1").await;
    let answer = world.post("ann", "/transfers", &transfer_of(1)).await;
    assert_eq!((answer.status, answer.problem().as_str()), (422, "account-not-open"));
    world.end().await;
}

async fn webhooks_need_a_signature(world: World) {
    let body = json!({"event": id(), "reference": id(), "status": "done"}).to_string();
    let ask = |signature: &str| {
        Ask::new(world.http, "POST", "/webhooks/gateway")
            .header("gateway-signature", signature)
            .body("application/json", body.clone().into_bytes())
    };
    assert_eq!(ask("00").send().await.status, 401);
    let key = payments::gateway::WebhookKey::new(world.secret.derive("webhooks"));
    assert_eq!(ask(&key.sign(body.as_bytes())).send().await.status, 404, "no such operation");
    let garbage = b"{}".to_vec();
    let ask =
        Ask::new(world.http, "POST", "/webhooks/gateway").header("gateway-signature", &key.sign(&garbage));
    assert_eq!(ask.body("application/json", garbage).send().await.status, 400);
    world.end().await;
}

async fn large_and_slow_requests_are_cut(world: World) {
    let large =
        world.ask("ann", "POST", "/transfers").key(&id()).body("application/json", vec![b' '; 10 << 20]);
    assert_eq!(large.send().await.status, 413);
    // Chunked, without saying how much will come.
    let mut stream = TcpStream::connect(world.http).await.unwrap();
    let head = format!(
        "POST /transfers HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\nidempotency-key: {}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n",
        world.bearer("ann"),
        id()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("8000\r\n{}\r\n", " ".repeat(0x8000));
    let _ = stream.write_all(chunk.as_bytes()).await;
    let mut answer = [0; 64];
    let read =
        tokio::time::timeout(Duration::from_secs(20), stream.read(&mut answer)).await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&answer[..read]).starts_with("HTTP/1.1 413"), "{:?}", &answer[..read]);
    // A head that never ends.
    let mut stream = TcpStream::connect(world.http).await.unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n").await.unwrap();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "a slow client is cut");
    assert_eq!(Ask::new(world.http, "GET", "/livez").send().await.status, 204, "and others are served");
    world.end().await;
}

async fn a_body_with_a_number_in_it_is_not_repeated(world: World) {
    let card =
        json!({"id": id(), "account": ANN, "amount": 5, "currency": "EUR", "card": "4111111111111111"});
    let answer = world.post("ann", "/payments", &card).await;
    assert_eq!(answer.status, 400);
    assert!(!String::from_utf8_lossy(&answer.body).contains("4111"));
    world.end().await;
}
