//! What a connection says about itself.

use std::sync::atomic::Ordering;

use trueup_server::resp::{Config, Password};

use crate::support::{Server, run};

#[test]
fn a_connection_describes_itself() {
    run(async {
        let server = Server::start(Config::default()).await;
        let mut client = server.connect().await;
        client.asks("ping", "+PONG\r\n").await;
        client.asks("PING \"a b\"", "$3\r\na b\r\n").await;
        client.asks("echo hi", "$2\r\nhi\r\n").await;
        client.asks("select 0", "+OK\r\n").await;
        client.asks("select 1", "-ERR DB index is out of range\r\n").await;
        client.asks("client id", ":1\r\n").await;
        client.asks("client getname", "$-1\r\n").await;
        client.asks("client setname me", "+OK\r\n").await;
        client.asks("client getname", "$2\r\nme\r\n").await;
        client.asks("client setinfo lib-name redis-py", "+OK\r\n").await;
        client.asks("config get save", "*0\r\n").await;
        client.asks("get a b", "-ERR wrong number of arguments for 'get' command\r\n").await;
        client.asks("nope", "-ERR unknown command 'nope', with args beginning with: \r\n").await;
        client.asks("get user:1", "$6\r\nuser:1\r\n").await;
        client.asks("info held", "$19\r\n# Held\r\nanswer:42\r\n\r\n").await;
        client.asks("info nope", "$0\r\n\r\n").await;
        client.asks("reset", "+RESET\r\n").await;
        client.asks("client getname", "$-1\r\n").await;
        client.asks("quit", "+OK\r\n").await;
        client.hears_the_end().await;
        assert_eq!(server.counters.command_errors.load(Ordering::Relaxed), 3);
    });
}

#[test]
fn hello_switches_the_version_and_reset_switches_it_back() {
    run(async {
        let server = Server::start(Config::default()).await;
        let mut client = server.connect().await;
        let fields = |head: &str, proto: u8| {
            let version = env!("CARGO_PKG_VERSION");
            format!(
                "{head}\r\n$6\r\nserver\r\n$6\r\ntrueup\r\n$7\r\nversion\r\n${}\r\n{version}\r\n$5\r\nproto\r\n:{proto}\r\n\
                 $2\r\nid\r\n:1\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n",
                version.len()
            )
        };
        client.asks("hello", &fields("*14", 2)).await;
        client.asks("hello 3 setname me", &fields("%7", 3)).await;
        client.asks("config get save", "%0\r\n").await;
        client.asks("hello 4", "-NOPROTO unsupported protocol version\r\n").await;
        client.asks("reset", "+RESET\r\n").await;
        client.asks("client getname", "$-1\r\n").await;
    });
}

#[test]
fn a_password_is_asked_for_and_checked() {
    run(async {
        let password = Some(Password::new("secret".to_owned()));
        let server = Server::start(Config { password, ..Config::default() }).await;
        let mut client = server.connect().await;
        let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
        client.asks("get a", "-NOAUTH Authentication required.\r\n").await;
        client.asks("ping", "-NOAUTH Authentication required.\r\n").await;
        client.asks("hello 3", "-NOAUTH HELLO must be called").await;
        client.send("\r\n").await;
        let mut client = server.connect().await;
        client.asks("auth wrong", wrong).await;
        client.asks("auth other secret", wrong).await;
        client.asks("hello 3 auth default wrong setname me", wrong).await;
        client.asks("auth secret", "+OK\r\n").await;
        client.asks("client getname", "$-1\r\n").await;
        client.asks("get a", "$1\r\na\r\n").await;
        client.asks("reset", "+RESET\r\n").await;
        client.asks("get a", "-NOAUTH Authentication required.\r\n").await;
        client.asks("hello 3 auth default secret", "%7\r\n").await;
        assert_eq!(server.counters.authentication_failures.load(Ordering::Relaxed), 3);
    });
}

#[test]
fn before_the_password_requests_are_small() {
    run(async {
        let password = Some(Password::new("secret".to_owned()));
        let server = Server::start(Config { password, ..Config::default() }).await;
        let mut client = server.connect().await;
        client.send("*11\r\n").await;
        client
            .hears("-ERR Protocol error: invalid multibulk length, at most 10 arguments are allowed\r\n")
            .await;
        client.hears_the_end().await;
        let mut client = server.connect().await;
        client.asks("auth secret", "+OK\r\n").await;
        client.asks("mget a b c d e f g h i j k", "*11\r\n").await;
    });
}

#[test]
fn without_a_password_auth_says_so_and_hello_lets_pass() {
    run(async {
        let server = Server::start(Config::default()).await;
        let mut client = server.connect().await;
        client.asks("hello 2 auth default x", "*14\r\n").await;
        let mut client = server.connect().await;
        client.asks("auth x", "-ERR AUTH <password> called without any password configured").await;
    });
}
