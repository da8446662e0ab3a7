//! Peers that send nonsense, too much, too slowly, or do not listen.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::io::AsyncWriteExt as _;
use trueup_server::resp::Config;

use crate::support::{Server, run};

/// Short enough not to be noticed, and only waited for where it must run out.
const SOON: Duration = Duration::from_millis(50);

/// Much longer than the pauses of a client that trickles, even on a busy machine.
const TRICKLED: Duration = Duration::from_millis(500);

/// Bytes that would keep a connection alive if each of them bought time.
const TRICKLED_BYTES_MAX: usize = 3_000;

#[test]
fn a_broken_stream_gets_its_replies_an_error_and_the_end() {
    run(async {
        let server = Server::start(Config::default()).await;
        for (bytes, error) in [
            ("*2147483648\r\n".to_owned(), "invalid multibulk length, at most 131072 arguments are allowed"),
            ("*-1\r\n".to_owned(), "invalid multibulk length"),
            ("*1\r\n$-1\r\n".to_owned(), "invalid bulk length"),
            ("*1\r\n$99999999\r\n".to_owned(), "invalid bulk length, at most 8388608 bytes are allowed"),
            ("*1\r\n$4\r\nPINGPING".to_owned(), "expected CRLF after bulk"),
            ("*1\r\n".repeat(1_000_000), "expected '$', got '*'"),
            ("x".repeat(100_000), "too big inline request, at most 65536 bytes are allowed"),
            ("get \"a\r\n".to_owned(), "unbalanced quotes in request"),
            ("POST / HTTP/1.1\r\nHost: x\r\n\r\nget k\r\n".to_owned(), "this is not an HTTP port"),
        ] {
            let mut client = server.connect().await;
            let mut request = b"ping\r\n".to_vec();
            request.extend_from_slice(bytes.as_bytes());
            // A large request is cut short: the server stops reading it.
            let _ = client.stream.write_all(&request).await;
            client.hears(format!("+PONG\r\n-ERR Protocol error: {error}\r\n")).await;
            client.hears_the_end().await;
        }
        assert_eq!(server.counters.protocol_errors.load(Ordering::Relaxed), 9);
        assert_eq!(server.service.events(), Vec::<String>::new());
        server.connect().await.asks("ping", "+PONG\r\n").await;
    });
}

#[test]
fn half_a_frame_is_given_up() {
    run(async {
        let server = Server::start(Config { frame_timeout: SOON, ..Config::default() }).await;
        let mut client = server.connect().await;
        client.send("ping\r\n*2\r\n$3\r\nge").await;
        client.hears("+PONG\r\n").await;
        client.hears_the_end().await;
        server.shows(|counters| &counters.connections_timed_out, 1).await;
    });
}

#[test]
fn trickling_bytes_does_not_buy_time() {
    run(async {
        let server = Server::start(Config { frame_timeout: TRICKLED, ..Config::default() }).await;
        let mut client = server.connect().await;
        client.send("*1\r\n$8000000\r\n").await;
        let mut sent = 0;
        while sent < TRICKLED_BYTES_MAX && client.stream.write_all(b"x").await.is_ok() {
            sent += 1;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(sent < TRICKLED_BYTES_MAX, "the connection lives on");
        server.shows(|counters| &counters.connections_timed_out, 1).await;
    });
}

#[test]
fn silence_is_allowed_unless_limited() {
    run(async {
        let server = Server::start(Config { idle_timeout: Some(SOON), ..Config::default() }).await;
        let mut client = server.connect().await;
        client.asks("ping", "+PONG\r\n").await;
        client.hears_the_end().await;
        server.shows(|counters| &counters.connections_timed_out, 1).await;
        server.shows(|counters| &counters.connections_open, 0).await;
    });
}

#[test]
fn waiting_for_the_source_is_not_silence() {
    run(async {
        let server = Server::start(Config { idle_timeout: Some(SOON), ..Config::default() }).await;
        let (mut waiting, mut idle) = (server.connect().await, server.connect().await);
        waiting.send("get wait:a\r\n").await;
        server.service.happened("start wait:a").await;
        // The idle one was there as long and is gone: so would the other be.
        idle.asks("ping", "+PONG\r\n").await;
        idle.hears_the_end().await;
        server.service.release("a");
        waiting.hears("$6\r\nwait:a\r\n").await;
    });
}

#[test]
fn a_peer_that_does_not_read_is_not_read_from_and_then_dropped() {
    const COMMANDS: usize = 300;
    // 300 MB of replies if all were taken up; the kernel's buffers hold some 10 MB at most.
    const TAKEN_UP_MAX: usize = 100;
    run(async {
        let server = Server::start(Config { drain_timeout: SOON, ..Config::default() }).await;
        let mut client = server.connect().await;
        client.send("get big:1000000\r\n".repeat(COMMANDS)).await;
        server.shows(|counters| &counters.connections_timed_out, 1).await;
        let taken_up = server.service.events().len();
        assert!(taken_up < TAKEN_UP_MAX, "{taken_up} of {COMMANDS} commands were taken up");
    });
}

#[test]
fn one_client_too_many_is_told_so() {
    run(async {
        let server = Server::start(Config { clients_max: 1, ..Config::default() }).await;
        let mut first = server.connect().await;
        first.asks("ping", "+PONG\r\n").await;
        let mut second = server.connect().await;
        second.hears("-ERR max number of clients reached\r\n").await;
        second.hears_the_end().await;
        drop(first);
        server.shows(|counters| &counters.connections_open, 0).await;
        server.connect().await.asks("ping", "+PONG\r\n").await;
        assert_eq!(server.counters.connections_refused.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_panic_in_the_service_ends_one_connection_only() {
    run(async {
        let server = Server::start(Config::default()).await;
        let (mut lucky, mut unlucky) = (server.connect().await, server.connect().await);
        lucky.asks("ping", "+PONG\r\n").await;
        unlucky.send("get panic\r\n").await;
        unlucky.hears_the_end().await;
        lucky.asks("get k", "$1\r\nk\r\n").await;
        server.shows(|counters| &counters.connections_open, 1).await;
    });
}
