//! A peer that is no Redis, or a bad one: a listener whose answers are scripted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use trueup::redis::{Redis, RedisOptions};
use trueup_core::{
    env::{Clock, spawn},
    tier::{RemoteError, RemoteTier as _},
};

use super::support::{key, put, until};

/// What the peer does with commands other than those that greet and ping.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    /// Answers with these bytes.
    Says(&'static [u8]),
    /// Answers everything, pings too, after that long, with nil.
    Slowly(Duration),
    /// Closes the connection.
    Leaves,
}

/// Starts a peer; the number of connections that it took.
async fn peer(manner: Manner) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let taken = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&taken);
    let _ = spawn("peer", async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            let _ = spawn("peer's connection", speak(stream, manner));
        }
    });
    (url, taken)
}

async fn speak(mut stream: TcpStream, manner: Manner) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        // Every command is an array, so each `*` at the beginning of a line is one.
        let text = String::from_utf8_lossy(&buffer[..read]).into_owned();
        let commands: Vec<&str> = text.split("\r\n").filter(|line| line.starts_with('*')).collect();
        let is_ours = text.contains("PING") || text.contains("CLIENT");
        for _ in commands {
            let answer = match manner {
                _ if is_ours && !matches!(manner, Manner::Slowly(_)) => &b"+PONG\r\n"[..],
                Manner::Says(bytes) => bytes,
                Manner::Slowly(span) => {
                    tokio::time::sleep(span).await;
                    if is_ours { &b"+PONG\r\n"[..] } else { b"$-1\r\n" }
                }
                Manner::Leaves => return,
            };
            if stream.write_all(answer).await.is_err() {
                return;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_in_place_of_an_answer_is_an_error_and_never_an_entry() {
    for garbage in [
        &b":42\r\n"[..],
        b"*2\r\n$1\r\na\r\n$1\r\nb\r\n",
        b"+OK\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"$5\r\nab",
        b"\x00\xff\x00\xff\r\n",
        b"$99999999999999999999\r\n",
        b"*1000000000\r\n",
        b"-ERR unknown command\r\n",
        b"",
    ] {
        let (url, _) = peer(Manner::Says(garbage)).await;
        let limits = RedisOptions { get_timeout: Duration::from_millis(200), ..RedisOptions::default() };
        let tier = Redis::standalone(&url).options(limits).start(Clock::system()).unwrap();
        until("a connection", || async { tier.connected().await.ok() }).await;
        let clock = Clock::system();
        for _ in 0..20 {
            let began = clock.now();
            let answer = tier.get(&key(1)).await;
            assert!(answer.is_err(), "{answer:?} for {garbage:?}");
            assert!(clock.now().since(began) < Duration::from_secs(2));
            let answers = tier.put_many(vec![put(1, b"one", 1)]).await;
            // `+OK` is what a server says to a write.
            assert!(answers[0].is_err() || garbage == b"+OK\r\n", "{answers:?} for {garbage:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_slower_than_its_deadline_is_soon_left_alone_and_stays_so() {
    let (url, taken) = peer(Manner::Slowly(Duration::from_millis(200))).await;
    // Connected with patience, asked with less.
    let tier = Redis::standalone(&url).start(Clock::system()).unwrap();
    let reason = until("a reason", || async {
        tier.servers()[0].left_alone.clone().filter(|reason| reason.contains("calls wait 50ms"))
    })
    .await;
    assert!(reason.contains("it answers in"), "{reason}");
    let clock = Clock::system();
    let began = clock.now();
    for _ in 0..100 {
        assert!(matches!(tier.get(&key(1)).await, Err(RemoteError::Unavailable { .. })));
    }
    // If each waited its 50 ms: five seconds. A machine under load may stop us for one.
    assert!(clock.now().since(began) < Duration::from_millis(2_500), "nobody waits for it");
    // It is asked again, over the connection there is.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(taken.load(Ordering::Relaxed) <= 2, "{} connections", taken.load(Ordering::Relaxed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_hangs_up_is_not_stormed_with_connections() {
    let (url, taken) = peer(Manner::Leaves).await;
    let tier = Redis::standalone(&url).start(Clock::system()).unwrap();
    until("a connection", || async { tier.connected().await.ok() }).await;
    let clock = Clock::system();
    let began = clock.now();
    let mut calls = 0_u64;
    while clock.now().since(began) < Duration::from_secs(1) {
        assert!(tier.get(&key(1)).await.is_err());
        calls += 1;
        tokio::task::yield_now().await;
    }
    let taken = taken.load(Ordering::Relaxed);
    // One each round of the keeper at most.
    assert!(taken <= 50 && calls > 100, "{taken} connections for {calls} calls");
}
