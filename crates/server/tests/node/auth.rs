//! Who may ask.

use std::net::SocketAddr;

use trueup_server::serve::{Settings, StartError};

use crate::support::{Server, settings};

const SECRET: &str = "open sesame";

fn guarded() -> Settings {
    Settings { secret: Some("open-sesame".to_owned()), ..settings() }
}

#[tokio::test]
async fn other_machines_are_served_with_a_token_only() {
    let everywhere = Some(SocketAddr::from(([0, 0, 0, 0], 0)));
    for open in [Settings { resp: everywhere, ..settings() }, Settings { http: everywhere, ..settings() }] {
        let error = Server::start_with(open.clone()).await.err().unwrap();
        assert!(matches!(error, StartError::NeedsToken { .. }));
        assert!(error.to_string().contains("--token-file"), "{error}");
        let closed = Settings { secret: Some(SECRET.to_owned()), ..open };
        Server::start_with(closed).await.unwrap();
    }
}

#[tokio::test]
async fn resp_clients_show_the_token_as_password() {
    let server = Server::start_with(guarded()).await.unwrap();
    let mut redis = server.redis().await;
    assert!(redis.ask("GET user:42").await.starts_with("-NOAUTH"));
    assert!(redis.ask("AUTH open-sesam").await.starts_with("-WRONGPASS"));
    assert_eq!(redis.ask("AUTH open-sesame").await, "+OK");
    assert!(redis.ask("GET user:42").await.starts_with('{'));
}

#[tokio::test]
async fn http_clients_show_it_as_bearer() {
    let server = Server::start_with(guarded()).await.unwrap();
    for target in ["/v1/user/42", "/v1/status", "/metrics", "/v1/explain/user/42", "/v1/search?q=1"] {
        let refused = server.get(target).await;
        assert_eq!((refused.status, refused.problem().as_str()), (401, "unauthorized"), "{target}");
        assert!(refused.header("www-authenticate").starts_with("Bearer"), "{target}");
        let line = format!("GET {target}");
        let wrong = server.http(&line, "Authorization: Bearer open-sesam\r\n", "").await;
        assert_eq!(wrong.status, 401, "{target}");
        let right =
            server.http(&line, "Authorization: Bearer open-sesame\r\nHost: any.example\r\n", "").await;
        assert!(matches!(right.status, 200 | 404), "{target}: {}", right.status);
    }
    let body = r#"{"tags":["user"]}"#;
    assert_eq!(server.post("/v1/invalidate", body).await.status, 401);
    for open in ["/livez", "/"] {
        assert_eq!(server.get(open).await.status, 200, "{open}");
    }
}

#[tokio::test]
async fn a_page_with_another_name_is_kept_out_of_this_machine() {
    let server = Server::start().await;
    let answer = server.http("GET /v1/user/42", "Host: evil.example\r\n", "").await;
    assert_eq!((answer.status, answer.problem().as_str()), (421, "wrong-host"));
}
