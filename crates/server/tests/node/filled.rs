//! Cache-aside over both protocols: clients take a lease, load, and fill.

use crate::support::{Redis, Server};

/// The lease that a reply or a body names.
fn lease_in(text: &str) -> String {
    let is_lease = |word: &&str| word.len() == 16 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.split(|c: char| !c.is_ascii_alphanumeric()).find(is_lease).expect("a lease in the reply").to_owned()
}

async fn granted(redis: &mut Redis, key: &str) -> String {
    let reply = redis.ask(&format!("TRUEUP.LEASE rate {key}")).await;
    assert!(reply.starts_with("[lease | ") && reply.ends_with(" | 60000]"), "{reply}");
    lease_in(&reply)
}

#[tokio::test]
async fn one_client_fills_and_all_read() {
    let server = Server::start().await;
    let (mut one, mut other) = (server.redis().await, server.redis().await);
    assert_eq!(one.ask("GET rate:EUR-USD").await, "nil", "a miss as every client of cache-aside knows it");
    let lease = granted(&mut one, "EUR-USD").await;
    let wait = other.ask("TRUEUP.LEASE rate EUR-USD").await;
    assert!(wait.starts_with("[wait | "), "{wait}");
    assert_eq!(one.ask(&format!("TRUEUP.FILL rate EUR-USD {lease} 1.08")).await, "+OK");
    assert_eq!(other.ask("GET rate:EUR-USD").await, "1.08");
    assert_eq!(other.ask("MGET rate:EUR-USD rate:EUR-GBP user:7").await, "[1.08 | nil | nil]");
    assert_eq!(other.ask("EXISTS rate:EUR-USD rate:EUR-GBP").await, "1");
    let found = other.ask("TRUEUP.LEASE rate EUR-USD").await;
    assert!(found.starts_with("[found | 1.08 | ") && found.ends_with(" | l1]"), "{found}");
    assert_eq!(server.database.loads(), 1, "only of `user`: the database has no rates");
}

#[tokio::test]
async fn a_fill_that_began_before_a_delete_is_not_kept() {
    let server = Server::start().await;
    let (mut one, mut other) = (server.redis().await, server.redis().await);
    let slow = granted(&mut one, "EUR-USD").await;
    other.ask("DEL rate:EUR-USD").await;
    let late = one.ask(&format!("TRUEUP.FILL rate EUR-USD {slow} old")).await;
    assert!(late.starts_with("-INVALIDATED it was invalidated while it was loaded"), "{late}");
    assert_eq!(other.ask("GET rate:EUR-USD").await, "nil");
    let again = one.ask(&format!("TRUEUP.FILL rate EUR-USD {slow} old")).await;
    assert!(again.starts_with("-LEASELOST the lease does not run any more"), "{again}");
    let whole = granted(&mut one, "EUR-USD").await;
    other.ask("TRUEUP.INVALIDATE rate").await;
    let late = one.ask(&format!("TRUEUP.FILL rate EUR-USD {whole} old")).await;
    assert!(late.starts_with("-INVALIDATED"), "{late}");
}

#[tokio::test]
async fn what_is_no_lease_fills_nothing_and_is_not_repeated() {
    let server = Server::start().await;
    let mut redis = server.redis().await;
    for lease in ["hunter2", "0123456789abcdef", "%ff"] {
        let reply = redis.ask(&format!("TRUEUP.FILL rate EUR-USD {lease} 1")).await;
        assert!(reply.starts_with("-LEASELOST") && !reply.contains(lease), "{reply}");
    }
    let unfilled = redis.ask("TRUEUP.GET rate EUR-USD").await;
    assert!(unfilled.starts_with("-UNFILLED nobody has filled it: take its lease"), "{unfilled}");
}

#[tokio::test]
async fn the_same_over_http() {
    let server = Server::start().await;
    let unfilled = server.get("/v1/rate/EUR-USD").await;
    assert_eq!((unfilled.status, unfilled.problem().as_str()), (404, "unfilled"));
    let leased = server.http("POST /v1/lease/rate/EUR-USD", "", "").await;
    assert_eq!((leased.status, leased.json()["life_ms"].as_u64()), (201, Some(60_000)));
    assert_eq!(leased.header("cache-control"), "no-store");
    let wait = server.http("POST /v1/lease/rate/EUR-USD", "", "").await;
    assert_eq!((wait.status, wait.problem().as_str(), wait.header("retry-after")), (409, "leased", "1"));
    let none = server.http("PUT /v1/rate/EUR-USD", "", "1.08").await;
    assert_eq!((none.status, none.problem().as_str()), (400, "no-lease"));
    let header = format!("Trueup-Lease: {}\r\n", lease_in(&leased.body));
    let filled = server.http("PUT /v1/rate/EUR-USD", &header, "1.08").await;
    assert_eq!((filled.status, filled.body.as_str()), (204, ""));
    let again = server.http("PUT /v1/rate/EUR-USD", &header, "1.09").await;
    assert_eq!((again.status, again.problem().as_str()), (409, "lease-lost"));
    let value = server.get("/v1/rate/EUR-USD").await;
    assert_eq!((value.status, value.body.as_str()), (200, "1.08"));
    assert!(value.header("cache-control").starts_with("max-age="), "bounded by its age: {value:?}");
    let found = server.http("POST /v1/lease/rate/EUR-USD", "", "").await;
    assert_eq!((found.status, found.body.as_str()), (200, "1.08"));
    let wrong = server.http("PUT /v1/user/42", &header, "{}").await;
    assert_eq!((wrong.status, wrong.problem().as_str()), (405, "wrong-method"));
    let loads = server.http("POST /v1/lease/user/42", "", "").await;
    assert_eq!((loads.status, loads.problem().as_str()), (502, "source-refused"));
}
