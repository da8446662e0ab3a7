//! Stopping: no new work, work in flight to its end, within a time.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use trueup_server::serve::Settings;

use crate::support::{Mood, Server, ask, settings, within};

#[tokio::test]
async fn what_is_in_flight_is_answered() {
    let server = Server::start().await;
    server.database.mood(Mood::Slow);
    let (mut redis, http) = (server.redis().await, server.running.http().unwrap());
    let database = server.database.clone();
    let waiting = async { tokio::join!(redis.ask("GET user:42"), ask(http, "GET /v1/user/42", "", "")) };
    let stop = async {
        // Both readers wait for the same load.
        within(async {
            while server.running.node().status().totals.coalesced == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        let stopping = server.running.stop();
        database.gate.add_permits(1);
        stopping.await;
    };
    let ((over_resp, over_http), ()) = within(async { tokio::join!(waiting, stop) }).await;
    assert!(over_resp.starts_with('{'), "{over_resp}");
    assert_eq!(over_http.status, 200);
}

#[tokio::test]
async fn what_does_not_end_is_cut() {
    let settings = settings().stop_timeout(Duration::from_millis(10));
    let server = Server::start_with(Settings { secret: None, ..settings }).await.unwrap();
    let mut redis = server.redis().await;
    redis.ask("PING").await;
    server.database.mood(Mood::Slow);
    redis
        .0
        .write_all(
            b"GET user:42
",
        )
        .await
        .unwrap();
    within(async {
        while server.running.node().status().totals.loads_in_flight == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        server.running.stop().await;
    })
    .await;
    let mut rest = Vec::new();
    assert_eq!(within(redis.0.read_to_end(&mut rest)).await.unwrap_or(0), 0, "the connection is closed");
}
