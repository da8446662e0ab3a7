//! Stopping: commands in flight are finished, within a time.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use trueup_server::resp::Config;

use crate::support::{Server, run};

#[test]
fn commands_in_flight_are_finished() {
    run(async {
        let server = Server::start(Config::default()).await;
        let (mut busy, mut idle) = (server.connect().await, server.connect().await);
        idle.asks("ping", "+PONG\r\n").await;
        busy.send("get wait:a\r\nget k\r\n").await;
        server.service.happened("start k").await;
        server.stop.cancel();
        idle.hears_the_end().await;
        server.service.release("a");
        busy.hears("$6\r\nwait:a\r\n$1\r\nk\r\n").await;
        busy.hears_the_end().await;
        assert!(!server.accepts().await);
        assert_eq!(server.counters.connections_aborted.load(Ordering::Relaxed), 0);
        server.stopped().await;
    });
}

#[test]
fn what_does_not_finish_in_time_is_cut() {
    run(async {
        let config = Config { stop_timeout: Duration::from_millis(50), ..Config::default() };
        let server = Server::start(config).await;
        let mut client = server.connect().await;
        client.send("get wait:never\r\n").await;
        server.service.happened("start wait:never").await;
        server.stop.cancel();
        let counters = Arc::clone(&server.counters);
        server.stopped().await;
        client.hears_the_end().await;
        assert_eq!(counters.connections_aborted.load(Ordering::Relaxed), 1);
        assert_eq!(counters.connections_open.load(Ordering::Relaxed), 0);
    });
}
