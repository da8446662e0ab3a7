//! Replies keep the order of their commands, whatever has to wait.

use std::sync::atomic::Ordering;

use trueup_server::resp::Config;

use crate::support::{Server, run};

#[test]
fn reads_overlap_and_are_answered_in_order() {
    run(async {
        let server = Server::start(Config::default()).await;
        let mut client = server.connect().await;
        client.send("get wait:a\r\nget k\r\nping\r\nnope\r\nget wait:b\r\nget l\r\n").await;
        // The second wait starts while the first still waits.
        server.service.happened("start wait:b").await;
        server.service.release("b");
        server.service.happened("end wait:b").await;
        assert!(!server.service.events().contains(&"end wait:a".to_owned()));
        server.service.release("a");
        client.hears("$6\r\nwait:a\r\n$1\r\nk\r\n+PONG\r\n-ERR unknown command 'nope', ").await;
        client.hears("with args beginning with: \r\n$6\r\nwait:b\r\n$1\r\nl\r\n").await;
    });
}

#[test]
fn a_reply_is_sent_as_soon_as_its_turn_comes() {
    run(async {
        let server = Server::start(Config::default()).await;
        let mut client = server.connect().await;
        client.send("get j\r\nget wait:a\r\nget k\r\nget wait:b\r\n").await;
        client.hears("$1\r\nj\r\n").await;
        server.service.release("a");
        client.hears("$6\r\nwait:a\r\n$1\r\nk\r\n").await;
        // More can be sent while one waits, and is taken up.
        client.send("get m\r\n").await;
        server.service.happened("start m").await;
        server.service.release("b");
        client.hears("$6\r\nwait:b\r\n$1\r\nm\r\n").await;
    });
}

#[test]
fn a_change_waits_for_what_stands_before_it_and_holds_what_stands_behind() {
    run(async {
        let server = Server::start(Config::default()).await;
        ["a", "d", "b"].iter().for_each(|key| server.service.release(key));
        let mut client = server.connect().await;
        client.send("get wait:a\r\ndel wait:d\r\nget k\r\nget wait:b\r\n").await;
        client.hears("$6\r\nwait:a\r\n$6\r\nwait:d\r\n$1\r\nk\r\n$6\r\nwait:b\r\n").await;
        let expected = [
            "start wait:a",
            "end wait:a",
            "start wait:d",
            "end wait:d",
            "start k",
            "start wait:b",
            "end wait:b",
        ];
        assert_eq!(server.service.events(), expected);
    });
}

#[test]
fn commands_in_flight_are_bounded() {
    run(async {
        let server = Server::start(Config { pending_max: 2, ..Config::default() }).await;
        let mut client = server.connect().await;
        for key in 0..6 {
            server.service.release(&key.to_string());
        }
        client.send((0..6).map(|key| format!("get wait:{key}\r\n")).collect::<String>()).await;
        client.hears((0..6).map(|key| format!("$6\r\nwait:{key}\r\n")).collect::<String>()).await;
        let mut in_flight = 0_i32;
        let mut most = 0;
        for event in server.service.events() {
            in_flight += i32::from(event.starts_with("start")) - i32::from(event.starts_with("end"));
            most = most.max(in_flight);
        }
        assert_eq!(most, 2);
    });
}

#[test]
fn a_pipeline_longer_than_a_turn_is_answered_whole() {
    run(async {
        let server = Server::start(Config { commands_per_turn: 3, ..Config::default() }).await;
        let mut client = server.connect().await;
        client.send("ping\r\n".repeat(1_000)).await;
        client.hears("+PONG\r\n".repeat(1_000)).await;
        assert_eq!(server.counters.commands.load(Ordering::Relaxed), 1_000);
    });
}

#[test]
fn a_client_that_stops_sending_still_gets_its_replies() {
    run(async {
        let server = Server::start(Config::default()).await;
        server.service.release("a");
        let mut client = server.connect_send_and_stop_sending("get wait:a\r\nget k\r\nget half");
        client.hears("$6\r\nwait:a\r\n$1\r\nk\r\n").await;
        client.hears_the_end().await;
    });
}

#[test]
fn quit_answers_what_came_before_and_nothing_after() {
    run(async {
        let server = Server::start(Config::default()).await;
        let mut client = server.connect().await;
        client.send("get wait:a\r\nquit\r\nget k\r\n").await;
        server.service.release("a");
        client.hears("$6\r\nwait:a\r\n+OK\r\n").await;
        client.hears_the_end().await;
        assert!(!server.service.events().contains(&"start k".to_owned()));
    });
}

#[test]
fn replies_larger_than_the_socket_takes_come_whole() {
    const REPLIES: usize = 200;
    const BYTES: usize = 100_000;
    run(async {
        let server = Server::start(Config { output_bytes_max: 1 << 16, ..Config::default() }).await;
        let mut client = server.connect().await;
        client.send(format!("get big:{BYTES}\r\n").repeat(REPLIES)).await;
        client.hears(format!("${BYTES}\r\n{}\r\n", "x".repeat(BYTES)).repeat(REPLIES)).await;
    });
}

#[test]
fn a_reply_beyond_the_limit_is_an_error_and_the_connection_goes_on() {
    run(async {
        let server = Server::start(Config { reply_bytes_max: 1_000, ..Config::default() }).await;
        let mut client = server.connect().await;
        let too_large = "-ERR the reply would exceed 1000 bytes, ask for fewer keys at once\r\n";
        client.asks("get big:1001", too_large).await;
        client.asks("ping", "+PONG\r\n").await;
    });
}
