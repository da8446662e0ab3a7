//! The proxy between a client and a server that says everything twice.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use trueup_core::env::{Clock, spawn};

use super::{Proxy, Weather};

const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough for something to arrive that should not.
const QUIET: Duration = Duration::from_millis(100);

async fn echo(prefix: u8) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    spawn("echo", async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            spawn("echo connection", async move {
                let mut byte = [0];
                while stream.read_exact(&mut byte).await.is_ok() {
                    if stream.write_all(&[prefix ^ byte[0]]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

async fn say(stream: &mut TcpStream, byte: u8) -> Option<u8> {
    stream.write_all(&[byte]).await.ok()?;
    let mut answer = [0];
    timeout(PATIENCE, stream.read_exact(&mut answer)).await.unwrap().ok()?;
    Some(answer[0])
}

#[tokio::test]
async fn fair_weather_changes_nothing_and_latency_only_the_time() {
    let proxy = Proxy::start(echo(0).await, 1).await.unwrap();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(say(&mut stream, 7).await, Some(7));
    let clock = Clock::system();
    proxy.set(Weather::slow(Duration::from_millis(50)));
    let start = clock.now();
    assert_eq!(say(&mut stream, 8).await, Some(8));
    assert!(clock.now().since(start) >= Duration::from_millis(100), "once there, once back");
    proxy.set(Weather::narrow(20));
    let start = clock.now();
    assert_eq!(say(&mut stream, 9).await, Some(9));
    assert!(clock.now().since(start) >= Duration::from_millis(100), "two bytes at 20 a second");
}

#[tokio::test]
async fn silence_holds_everything_back_and_ends_with_nothing_lost() {
    let proxy = Proxy::start(echo(0).await, 1).await.unwrap();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(say(&mut stream, 1).await, Some(1));
    proxy.set(Weather::silent());
    stream.write_all(&[2]).await.unwrap();
    let mut answer = [0];
    assert!(timeout(QUIET, stream.read_exact(&mut answer)).await.is_err());
    let mut late = TcpStream::connect(proxy.address()).await.unwrap();
    proxy.set(Weather::default());
    timeout(PATIENCE, stream.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer, [2]);
    assert_eq!(say(&mut late, 3).await, Some(3));
}

#[tokio::test]
async fn a_cut_ends_open_connections_and_refuses_new_ones_until_it_heals() {
    let proxy = Proxy::start(echo(0).await, 1).await.unwrap();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(say(&mut stream, 1).await, Some(1));
    proxy.set(Weather::cut());
    assert_eq!(say(&mut stream, 2).await, None);
    let mut refused = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(say(&mut refused, 3).await, None);
    proxy.set(Weather::default());
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(say(&mut stream, 4).await, Some(4));
}

#[tokio::test]
async fn garbage_comes_from_the_server_only_and_stops() {
    let proxy = Proxy::start(echo(0).await, 1).await.unwrap();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    proxy.set(Weather::garbage(1.0));
    for byte in 0..20 {
        assert_ne!(say(&mut stream, byte).await.unwrap(), byte);
    }
    proxy.set(Weather::default());
    assert_eq!(say(&mut stream, 9).await, Some(9));
}

#[tokio::test]
async fn connections_can_be_led_to_another_server() {
    let proxy = Proxy::start(echo(0).await, 1).await.unwrap();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(say(&mut stream, 1).await, Some(1));
    proxy.lead_to(echo(0xF0).await);
    assert_eq!(say(&mut stream, 1).await, None, "what was open has ended");
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(say(&mut stream, 1).await, Some(0xF1));
}

#[tokio::test]
async fn an_uneven_network_takes_its_time_and_loses_nothing() {
    let proxy = Proxy::start(echo(0).await, 1).await.unwrap();
    proxy.set(Weather::uneven());
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    let clock = Clock::system();
    let start = clock.now();
    for byte in 0..40 {
        assert_eq!(say(&mut stream, byte).await, Some(byte));
    }
    // Eighty ways of 1.5 ms and more each, on average.
    assert!(clock.now().since(start) >= Duration::from_millis(60));
}
