//! A node that is not ready before its recorded hot keys have been read, and keys that are read on demand.

use std::time::Duration;

use trueup::warm::saved;
use trueup_core::policy::{RecordedClass, RecordedKey, RecordedKeys};
use trueup_server::{serve::Settings, warm};

use crate::support::{Mood, Server, settings, within};

fn recorded(count: usize) -> RecordedKeys {
    let key = |n: usize| RecordedKey { key: format!("a,{n}").into(), count: 1_000 - n as u64, error: 0 };
    let class = |name: &str| RecordedClass { name: name.into(), keys: (0..count).map(key).collect() };
    // A class of the second name does not start warm, and one of the third is not there.
    RecordedKeys { written_unix_ms: 1, classes: vec![class("pair"), class("user"), class("gone")] }
}

fn warming(folder: &std::path::Path, within: Duration) -> Settings {
    let mut warm = warm::Settings { state_dir: Some(folder.to_owned()), ..warm::Settings::default() };
    warm.rules.within = within;
    Settings { warm, ..settings() }
}

async fn until_ready(server: &Server) {
    within(async {
        while server.get("/readyz").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn it_says_how_far_it_is_and_serves_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    saved::write(folder.path(), &recorded(100)).unwrap();
    let server =
        Server::begin(warming(folder.path(), Duration::from_secs(60)), |database| database.mood(Mood::Slow))
            .await;
    within(server.running.node().catalog().cache().ready()).await;
    let reason = within(async {
        loop {
            let answer = server.get("/readyz").await;
            assert_eq!((answer.status, answer.problem().as_str()), (503, "not-ready"));
            let reason = answer.json()["detail"].as_str().unwrap().to_owned();
            if reason.contains("of 100") {
                return reason;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    assert_eq!(reason, "it reads its recorded hot keys: 0 of 100");
    let status = server.get("/v1/status").await.json();
    assert_eq!((&status["ready"], &status["warm"]["phase"]), (&false.into(), &"warming".into()));
    server.database.mood(Mood::Well);
    assert_eq!(server.get("/v1/user/42").await.status, 200, "whoever asks all the same is answered");
    server.database.gate.add_permits(2);
    until_ready(&server).await;
    assert_eq!(server.get("/v1/status").await.json()["warm"]["warm"], 100);
    let loads = server.database.loads();
    assert_eq!(server.get("/v1/pair/a,7").await.status, 404);
    assert_eq!(server.database.loads(), loads, "it had been read, as absent");
}

#[tokio::test]
async fn when_the_time_for_it_is_over_it_is_ready_with_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    saved::write(folder.path(), &recorded(100)).unwrap();
    let server = Server::begin(warming(folder.path(), Duration::from_millis(300)), |database| {
        database.mood(Mood::Down)
    })
    .await;
    until_ready(&server).await;
    let status = server.get("/v1/status").await.json();
    assert_eq!((&status["warm"]["phase"], &status["warm"]["warm"]), (&"time_up".into(), &0.into()));
    let metrics = server.get("/metrics").await.body;
    assert!(metrics.contains("trueup_warm_start{outcome=\"time_up\"} 1"), "{metrics}");
    server.running.stop().await;
    let kept = saved::read(folder.path()).unwrap().unwrap();
    assert_eq!(kept.classes.len(), 1, "of classes that start warm");
    assert_eq!(kept.classes[0].keys.len(), 100, "what was not read is hot all the same");
}

#[tokio::test]
async fn keys_are_read_on_demand_and_each_is_accounted_for() {
    let server = Server::start().await;
    server.database.write("pair", "x,y", "[1]");
    let warmed = server.post("/v1/warm", r#"{"class":"pair","keys":["x,y","x,z","x"]}"#).await;
    assert_eq!(
        warmed.json(),
        serde_json::json!({
            "total": 3, "hits": 0, "l2": 0, "source": 2, "refused": 0, "failed": 0, "unknown": 1
        })
    );
    let loads = server.database.loads();
    assert_eq!(server.get("/v1/pair/x,y").await.body, "[1]");
    assert_eq!(server.database.loads(), loads);
    for (body, kind) in [
        (r#"{"class":"nothing","keys":[]}"#, "unknown-class"),
        (r#"{"class":"authorisation","keys":["1"]}"#, "never-cached"),
        (r#"{"class":"pair"}"#, "bad-body"),
        (r#"{"class":"pair","keys":[],"recorded":{"from":0,"most":1}}"#, "bad-body"),
        (r#"{"class":"pair","recorded":{"from":0,"most":10001}}"#, "too-many-keys"),
    ] {
        assert_eq!(server.post("/v1/warm", body).await.problem(), kind, "{body}");
    }
    let none = server.post("/v1/warm", r#"{"class":"pair","recorded":{"from":0,"most":9}}"#).await;
    assert_eq!(none.json()["total"], 0);
}
