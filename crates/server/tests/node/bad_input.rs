//! Bad input gets an error that names the thing and the fix, shows nothing of what was sent, and harms nobody.

use trueup_core::limits::KEY_INPUT_BYTES_MAX;
use trueup_server::http::limits::{BODY_BYTES_MAX_DEFAULT, URI_BYTES_MAX};

use crate::support::Server;

const SECRET: &str = "hunter2";

#[tokio::test]
async fn over_resp() {
    let server = Server::start().await;
    let mut redis = server.redis().await;
    let long = "9".repeat(KEY_INPUT_BYTES_MAX + 1);
    let unknown_epoch = format!("{}-5", "0".repeat(32));
    for (command, expected) in [
        ("GET hunter2", "-ERR the key names no class: write CLASS:KEY"),
        ("GET usr:hunter2", "-ERR unknown class, did you mean `user`?; known: account, authorisation, news"),
        ("GET hunter2:1", "-ERR unknown class; known: "),
        ("GET user:hunter2", "-ERR class `user`: `id` must be"),
        ("GET user:1,hunter2", "-ERR class `user`: the key has 2 part(s), the class has 1"),
        ("GET user:%zz", "-ERR class `user`: the key is not percent-encoded UTF-8"),
        ("GET account:1", "-ERR class `account`: scope dimension `tenant` is missing"),
        (
            "GET account@role=hunter2&tenant=a:1",
            "-ERR class `account`: scope dimension number 1 is not declared",
        ),
        ("GET search:hunter2=1", "-ERR class `search`: parameter number 1 is not declared"),
        (&format!("GET user:{long}"), "-ERR class `user`: the key is longer than"),
        ("MGET user:42 usr:1", "-ERR unknown class, did you mean `user`?"),
        ("EXISTS user:hunter2", "-ERR class `user`: `id` must be"),
        ("TTL hunter2", "-ERR the key names no class"),
        ("DEL user:hunter2", "-ERR class `user`: `id` must be"),
        (
            "SET user:42 hunter2",
            "-ERR SET is refused: the values of this server come from its database of record",
        ),
        ("TRUEUP.GET usr 42", "-ERR unknown class, did you mean `user`?"),
        ("TRUEUP.GET user hunter2", "-ERR class `user`: `id` must be"),
        ("TRUEUP.GET user 42 TOKEN hunter2", "-BADTOKEN not a token: expected 32 hex digits"),
        ("TRUEUP.GET user 42 MAXSTALE hunter2", "-ERR value is not an integer"),
        ("TRUEUP.GET user 42 hunter2", "-ERR syntax error"),
        ("TRUEUP.MGET user 2 1", "-ERR"),
        ("TRUEUP.INVALIDATE hunter2", "-ERR the key names no class"),
        ("TRUEUP.LEASE user 42", "-ERR class `user` is not filled by clients"),
        ("TRUEUP.LEASE hunter2 42", "-ERR unknown class"),
        ("TRUEUP.FILL user 42 lease hunter2", "-ERR class `user` is not filled by clients"),
    ] {
        let reply = redis.ask(command).await;
        assert!(reply.starts_with(expected), "{command}: {reply}");
        assert!(!reply.contains(SECRET), "{command} is repeated: {reply}");
    }
    let foreign = redis.ask(&format!("TRUEUP.GET user 42 TOKEN {unknown_epoch}")).await;
    assert!(foreign.ends_with("source]"), "a token of another epoch is honoured by the source: {foreign}");
    let keys = "user:1 ".repeat(10_001);
    let many = redis.ask(&format!("MGET {}", keys.trim_end())).await;
    assert!(many.starts_with("-ERR 10001 keys at once, at most 10000"), "{many}");
    assert!(redis.ask("GET user:42").await.starts_with('{'), "and it still serves");
}

#[tokio::test]
async fn a_token_beyond_the_source_is_refused() {
    let server = Server::start().await;
    let mut redis = server.redis().await;
    let token = redis.ask("TRUEUP.TOKEN").await;
    let (epoch, _) = token.split_once('-').unwrap();
    let reply = redis.ask(&format!("TRUEUP.GET user 42 TOKEN {epoch}-99999999")).await;
    assert!(reply.starts_with("-BADTOKEN the token lies beyond everything the source knows"), "{reply}");
}

#[tokio::test]
async fn over_http() {
    let server = Server::start().await;
    let long = "9".repeat(KEY_INPUT_BYTES_MAX + 1);
    for (target, headers, status, problem) in [
        ("/v1/usr/hunter2", "", 404, "unknown-class"),
        ("/v1/user/hunter2", "", 400, "bad-key"),
        ("/v1/user", "", 400, "bad-key"),
        ("/v1/user/1,2", "", 400, "bad-key"),
        ("/v1/user/%ff", "", 400, "bad-key"),
        ("/v1/user/42?hunter2=1", "", 400, "bad-key"),
        ("/v1/search?hunter2=1", "", 400, "bad-key"),
        ("/v1/account/1", "", 400, "missing-scope"),
        ("/v1/account/1", "Trueup-Scope: tenant=a&role=hunter2\r\n", 400, "bad-key"),
        ("/v1/user/1", "Trueup-Scope: tenant=hunter2\r\n", 400, "bad-key"),
        ("/v1/user/42", "Trueup-Token: hunter2\r\n", 400, "bad-token"),
        ("/v1/user/42", "Trueup-Max-Staleness: hunter2\r\n", 400, "bad-header"),
        ("/v1/explain/usr/1", "", 404, "unknown-class"),
        ("/v1/user/a/b", "", 404, "unknown-route"),
        ("/hunter2", "", 404, "unknown-route"),
        (&format!("/v1/user/{long}"), "", 400, "bad-key"),
        (&format!("/v1/user/{}", "9".repeat(URI_BYTES_MAX)), "", 414, "uri-too-long"),
    ] {
        let answer = server.http(&format!("GET {target}"), headers, "").await;
        assert_eq!((answer.status, answer.problem().as_str()), (status, problem), "{target} {headers}");
        assert!(!answer.body.contains(SECRET), "{target} is repeated: {}", answer.body);
    }
    let put = server.http("PUT /v1/user/42", "", "{}").await;
    assert_eq!((put.status, put.problem().as_str()), (405, "wrong-method"));
}

#[tokio::test]
async fn bodies_over_http() {
    let server = Server::start().await;
    let many = format!(r#"{{"keys":[{}1]}}"#, "1,".repeat(10_000));
    let large = format!(r#"{{"keys":["{}"]}}"#, "x".repeat(BODY_BYTES_MAX_DEFAULT));
    for (target, body, status, problem) in [
        ("/v1/user/batch", "hunter2", 400, "bad-body"),
        ("/v1/user/batch", r#"{"keys":"hunter2"}"#, 422, "bad-body"),
        ("/v1/user/batch", r#"{"keys":[],"hunter2":1}"#, 422, "bad-body"),
        ("/v1/user/batch", r#"{"keys":["hunter2"]}"#, 400, "bad-key"),
        ("/v1/user/batch", r#"{"keys":[1],"token":"hunter2"}"#, 400, "bad-token"),
        ("/v1/usr/batch", r#"{"keys":[1]}"#, 404, "unknown-class"),
        ("/v1/account/batch", r#"{"keys":[1]}"#, 400, "missing-scope"),
        ("/v1/user/batch", &many, 400, "too-many-keys"),
        ("/v1/user/batch", &large, 413, "body-too-large"),
        ("/v1/invalidate", "{}", 422, "bad-body"),
        ("/v1/invalidate", r#"{"tags":[]}"#, 400, "bad-body"),
        ("/v1/invalidate", r#"{"tags":["hunter2"]}"#, 400, "bad-key"),
        ("/v1/invalidate", r#"{"tags":["usr:1"]}"#, 404, "unknown-class"),
    ] {
        let answer = server.post(target, body).await;
        let shown = &body[..body.len().min(60)];
        assert_eq!((answer.status, answer.problem().as_str()), (status, problem), "{target} {shown}");
        assert!(!answer.body.contains(SECRET), "{shown} is repeated: {}", answer.body);
    }
    // A web page can send this much without asking; it must not be able to change anything.
    let simple =
        server.http("POST /v1/invalidate", "Content-Type: text/plain\r\n", r#"{"tags":["user"]}"#).await;
    assert_eq!((simple.status, simple.problem().as_str()), (415, "bad-content-type"));
    assert_eq!(server.get("/v1/user/42").await.status, 200, "and it still serves");
}

#[tokio::test]
async fn heads_are_bounded() {
    let server = Server::start().await;
    let many: String = (0..100).map(|i| format!("X-{i}: 1\r\n")).collect();
    assert_eq!(server.http("GET /livez", &many, "").await.status, 431);
    let long = format!("X: {}\r\n", "x".repeat(100 << 10));
    assert_eq!(server.http("GET /livez", &long, "").await.status, 431);
    assert_eq!(server.get("/livez").await.status, 200);
}
