//! Every route.

use crate::support::{Mood, Server, within};

const ADA: &str = r#"{"id":42,"name":"Ada"}"#;

#[tokio::test]
async fn a_value_comes_with_its_evidence() {
    let server = Server::start().await;
    let first = server.get("/v1/user/42").await;
    assert_eq!((first.status, first.body.as_str()), (200, ADA));
    assert_eq!(first.header("content-type"), "application/json");
    assert_eq!(first.header("cache-status"), "trueup; fwd=miss; detail=cold");
    assert_eq!(first.header("cache-control"), "no-cache", "the feed proves it, so others must ask");
    assert!(first.header("age").parse::<u64>().is_ok());
    let tag = first.header("etag");
    assert!(tag.len() == 18 && tag.starts_with('"'), "{tag}");
    let second = server.get("/v1/user/042").await;
    assert_eq!((second.header("cache-status"), second.header("etag")), ("trueup; hit", tag));
    assert!(second.header("trueup-token").parse::<trueup_core::proof::Token>().is_ok());
    let head = server.http("HEAD /v1/user/42", "", "").await;
    assert_eq!((head.status, head.body.as_str(), head.header("etag")), (200, "", tag));
}

#[tokio::test]
async fn what_the_reader_has_is_not_sent_again() {
    let server = Server::start().await;
    let tag = server.get("/v1/user/42").await.header("etag").to_owned();
    for has in [tag.clone(), format!("\"other\", W/{tag}"), "*".to_owned()] {
        let answer = server.http("GET /v1/user/42", &format!("If-None-Match: {has}\r\n"), "").await;
        assert_eq!(
            (answer.status, answer.body.as_str(), answer.header("etag")),
            (304, "", tag.as_str()),
            "{has}"
        );
    }
    let changed = server.database.write("user", "42", "{}");
    server.hears(changed).await;
    let answer = server.http("GET /v1/user/42", &format!("If-None-Match: {tag}\r\n"), "").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "{}"));
}

#[tokio::test]
async fn absence_is_an_answer_with_evidence() {
    let server = Server::start().await;
    let absent = server.get("/v1/user/7").await;
    assert_eq!((absent.status, absent.problem().as_str()), (404, "absent"));
    assert_eq!(absent.header("etag"), "");
    assert_eq!(server.get("/v1/user/7").await.header("cache-status"), "trueup; hit");
}

#[tokio::test]
async fn the_token_goes_in_and_comes_out() {
    let server = Server::start().await;
    server.get("/v1/user/42").await;
    server.database.stall_feed(true);
    let token = server.database.write("user", "42", "{}");
    let answer = server.http("GET /v1/user/42", &format!("Trueup-Token: {token}\r\n"), "").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "{}"));
    assert_eq!(answer.header("cache-status"), "trueup; fwd=request; detail=bypass");
    assert_eq!(answer.header("trueup-token"), token.to_string());
}

#[tokio::test]
async fn a_tighter_bound_goes_to_the_source() {
    let server = Server::start().await;
    server.get("/v1/user/42").await;
    let answer = server.http("GET /v1/user/42", "Trueup-Max-Staleness: 0ms\r\n", "").await;
    assert_eq!(answer.header("cache-status"), "trueup; fwd=stale; detail=too_old");
}

#[tokio::test]
async fn what_others_may_keep_depends_on_the_class() {
    let server = Server::start().await;
    server.database.write("news", "1", "{}");
    server.database.write("authorisation", "1", "true");
    server.database.write("account", "@tenant=acme:1", "{}");
    let news = server.get("/v1/news/1").await;
    assert_eq!(news.header("cache-control"), "max-age=60, stale-while-revalidate=300");
    let decision = server.get("/v1/authorisation/1").await;
    assert_eq!(decision.header("cache-control"), "no-store");
    assert_eq!(decision.header("cache-status"), "trueup; fwd=bypass; detail=never-cached");
    let scoped = server.http("GET /v1/account/1", "Trueup-Scope: tenant=acme\r\n", "").await;
    assert_eq!((scoped.status, scoped.header("cache-control")), (200, "private, no-cache"));
    assert_eq!(scoped.header("vary"), "trueup-scope");
}

#[tokio::test]
async fn keys_are_taken_as_they_are_written() {
    let server = Server::start().await;
    server.database.write("pair", "a%2Cb,%40c", "1");
    server.database.write("pair", "a%2Fb,c", "2");
    server.database.write("search", "q=red%20shoes", "3");
    assert_eq!(server.get("/v1/pair/a%2Cb,%40c").await.body, "1");
    assert_eq!(server.get("/v1/pair/a%2Fb,c").await.body, "2");
    for query in
        ["?q=red+shoes", "?page=1&q=red%20shoes", "?utm_source=x&q=red++shoes&page=1.0", "/q=red%20shoes"]
    {
        assert_eq!(server.get(&format!("/v1/search{query}")).await.body, "3", "{query}");
    }
    let batch = server.get("/v1/pair/batch").await;
    assert_eq!(batch.problem(), "bad-key", "a key called batch is a key");
}

#[tokio::test]
async fn a_scope_is_the_header_or_the_key() {
    let server = Server::start().await;
    server.database.write("account", "@tenant=a%3Ab:1", "1");
    for (target, headers) in [
        ("/v1/account/1", "Trueup-Scope: tenant=a:b\r\n"),
        ("/v1/account/1", "Trueup-Scope: tenant=a%3Ab\r\n"),
        ("/v1/account/@tenant=a%3Ab:1", ""),
    ] {
        assert_eq!(server.http(&format!("GET {target}"), headers, "").await.body, "1", "{target} {headers}");
    }
    let other = server.http("GET /v1/account/1", "Trueup-Scope: tenant=b\r\n", "").await;
    assert_eq!(other.problem(), "absent", "another tenant's row is another row");
}

#[tokio::test]
async fn a_batch_is_read_together() {
    let server = Server::start().await;
    let body = r#"{"keys":["42",7],"consistent":true}"#;
    let answer = server.post("/v1/user/batch", body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let json = answer.json();
    assert_eq!(json["answers"][0]["value"]["name"], "Ada");
    assert_eq!(json["answers"][0]["served_by"], "source");
    assert_eq!(json["answers"][0]["proven"], true);
    assert!(json["answers"][1]["value"].is_null());
    assert_eq!(server.database.loads(), 1);
    let token = json["token"].as_str().unwrap();
    let again = server.post("/v1/user/batch", &format!(r#"{{"keys":[42],"token":"{token}"}}"#)).await;
    assert_eq!(again.json()["answers"][0]["served_by"], "l1");
}

#[tokio::test]
async fn invalidation_answers_a_token() {
    let server = Server::start().await;
    server.get("/v1/user/42").await;
    let done = server.post("/v1/invalidate", r#"{"tags":["user:42","pair"]}"#).await;
    assert_eq!((done.status, &done.json()["invalidated"]), (200, &2.into()));
    assert!(done.json()["token"].as_str().unwrap().parse::<trueup_core::proof::Token>().is_ok());
    let after = server.get("/v1/user/42").await;
    assert_eq!(after.header("cache-status"), "trueup; fwd=stale; detail=invalidated");
    assert_eq!(server.post("/v1/invalidate", r#"{"tags":["search"]}"#).await.problem(), "not-invalidated");
}

#[tokio::test]
async fn explain_tells_why() {
    let server = Server::start().await;
    let cold = server.get("/v1/explain/user/042").await.json();
    assert_eq!(cold["canonical_key"], "42");
    assert!(
        cold["entry"].is_null() && cold["verdict"].as_str().unwrap().contains("memory holds nothing"),
        "{cold}"
    );
    server.get("/v1/user/42").await;
    let held = server.get("/v1/explain/user/42").await.json();
    assert_eq!(held["entry"]["served"], true, "{held}");
    assert_eq!(held["verdict"], "served from memory: it is proven");
    let written = server.database.write("user", "42", "{}");
    server.hears(written).await;
    let changed = server.get("/v1/explain/user/42").await.json();
    assert_eq!(
        (&changed["entry"]["served"], &changed["entry"]["reason"]),
        (&false.into(), &"changed".into())
    );
    assert!(changed["entry"]["last_change"].as_u64() >= changed["entry"]["proven_at"].as_u64());
    let decision = server.get("/v1/explain/authorisation/1").await.json();
    assert!(
        decision["verdict"].as_str().unwrap().starts_with("read from the source each time"),
        "{decision}"
    );
}

#[tokio::test]
async fn health_follows_the_feed() {
    let server = Server::start().await;
    assert_eq!(server.get("/livez").await.status, 200);
    assert_eq!(server.get("/readyz").await.status, 200);
    server.database.stall_feed(true);
    within(async {
        while server.get("/readyz").await.status != 503 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    })
    .await;
    let stalled = server.get("/readyz").await;
    assert_eq!(stalled.problem(), "not-ready");
    assert!(stalled.json()["detail"].as_str().unwrap().contains("the test holds the feed"));
    assert_eq!(server.get("/livez").await.status, 200, "it runs all the same");
}

#[tokio::test]
async fn status_counts_what_was_done() {
    let server = Server::start().await;
    server.get("/v1/user/42").await;
    server.get("/v1/user/42").await;
    server.get("/v1/authorisation/1").await;
    let status = server.get("/v1/status").await.json();
    assert_eq!((&status["ready"], &status["totals"]["reads"]), (&true.into(), &3.into()), "{status}");
    assert_eq!(status["totals"]["served"]["l1"], 1);
    assert_eq!(status["totals"]["served"]["source"], 2);
    assert_eq!(status["totals"]["entries"], 1);
    assert_eq!(status["classes"].as_array().unwrap().len(), 7);
    assert!(status["feed"]["lag_ms"].is_f64());
    assert!(status["feed"]["position"].as_u64().unwrap() >= 2);
}

#[tokio::test]
async fn the_page_needs_no_network() {
    let server = Server::start().await;
    let page = server.get("/").await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
    assert!(
        !page.body.contains("http://") && !page.body.contains("https://") && !page.body.contains("//cdn")
    );
}

#[tokio::test]
async fn trouble_at_the_source_is_a_problem_with_a_time_to_come_back() {
    let server = Server::start().await;
    server.database.mood(Mood::Down);
    let down = server.get("/v1/pair/a,b").await;
    assert_eq!((down.status, down.problem().as_str()), (503, "source-unavailable"));
    assert_eq!(down.header("cache-control"), "no-store");
    server.database.mood(Mood::Shedding);
    let shed = server.get("/v1/pair/a,b").await;
    assert_eq!(
        (shed.status, shed.problem().as_str(), shed.header("retry-after")),
        (503, "too-many-loads", "2")
    );
    let body: serde_json::Value = serde_json::from_str(&shed.body).unwrap();
    assert_eq!((&body["reason"], &body["retry_after_ms"]), (&"queue_full".into(), &1_500.into()));
}

#[tokio::test]
async fn a_declared_value_that_stands_in_can_be_taken_for_nothing_else() {
    let server = Server::start().await;
    server.database.mood(Mood::Down);
    let answer = server.get("/v1/search?q=x").await;
    assert_eq!((answer.status, answer.body.as_str()), (203, r#"{"results":[]}"#));
    assert_eq!(answer.header("trueup-served-by"), "fallback");
    assert!(answer.header("cache-status").ends_with("detail=fallback"));
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(["etag", "age", "trueup-token"].iter().all(|name| answer.header(name).is_empty()));
    let batch = server
        .http("POST /v1/search/batch", "Content-Type: application/json\r\n", r#"{"keys": ["q=x"]}"#)
        .await;
    let one = &serde_json::from_str::<serde_json::Value>(&batch.body).unwrap()["answers"][0];
    assert_eq!((&one["served_by"], &one["proven"]), (&"fallback".into(), &false.into()));
    assert!(one["age_ms"].is_null());
}

#[tokio::test]
async fn a_source_that_is_left_alone_shows_in_status_metrics_and_explanations() {
    let server = Server::start().await;
    server.database.mood(Mood::Down);
    for key in 0..5 {
        assert_eq!(server.get(&format!("/v1/pair/a,{key}")).await.status, 503);
    }
    let refused = server.get("/v1/pair/a,b").await;
    assert_eq!((refused.status, refused.problem().as_str()), (503, "source-left-alone"));
    assert!(!refused.header("retry-after").is_empty());
    let status: serde_json::Value = serde_json::from_str(&server.get("/v1/status").await.body).unwrap();
    assert!(status["guard"]["left_alone"].as_str().unwrap().contains("stopped the database"), "{status}");
    let metrics = server.get("/metrics").await.body;
    assert!(metrics.contains("trueup_breaker_open{dependency=\"source\"} 1"), "{metrics}");
    assert!(metrics.contains("trueup_source_loads_total{priority=\"normal\"} 5"), "{metrics}");
    let explained: serde_json::Value =
        serde_json::from_str(&server.get("/v1/explain/search/q=x").await.body).unwrap();
    assert!(explained["node"]["source_left_alone"].is_string(), "{explained}");
    assert!(explained["in_trouble"].as_str().unwrap().contains("the declared value"), "{explained}");
}
