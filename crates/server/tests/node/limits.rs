//! How much is worked on at once, and for how long.

use std::time::Duration;

use trueup_server::{http::Limits, serve::Settings};

use crate::support::{Mood, Server, settings, within};

async fn limited(http_limits: Limits) -> Server {
    let server = Server::start_with(Settings { http_limits, ..settings() }).await.unwrap();
    server.database.mood(Mood::Slow);
    server
}

#[tokio::test]
async fn one_request_too_many_is_told_to_come_back_and_the_server_is_alive() {
    let server = limited(Limits { requests_max: 1, ..Limits::default() }).await;
    let second = async {
        within(async {
            while server.running.node().status().totals.loads_in_flight == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        let busy = server.get("/v1/user/42").await;
        assert_eq!((busy.status, busy.problem().as_str(), busy.header("retry-after")), (503, "busy", "1"));
        assert_eq!(server.get("/livez").await.status, 200);
        server.database.gate.add_permits(1);
    };
    let (first, ()) = tokio::join!(server.get("/v1/user/42"), second);
    assert_eq!(first.status, 200);
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_ended() {
    let limits = Limits { request_timeout: Duration::from_millis(20), ..Limits::default() };
    let server = limited(limits).await;
    let late = server.get("/v1/user/42").await;
    assert_eq!((late.status, late.problem().as_str()), (504, "timed-out"));
}
