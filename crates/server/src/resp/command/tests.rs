use std::time::Duration;

use super::*;
use crate::resp::{
    limits::Limits,
    parse::{Parser, Progress},
    reply::Protocol,
};

/// Runs `check` on `words` as the parser hands them out.
pub(super) fn with_args<R>(words: &[&[u8]], check: impl FnOnce(Args<'_>) -> R) -> R {
    let mut frame = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        frame.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        frame.extend_from_slice(word);
        frame.extend_from_slice(b"\r\n");
    }
    let mut parser = Parser::new();
    let progress = parser.advance(&frame, &Limits::AUTHENTICATED).unwrap();
    assert_eq!(progress, Progress::Complete { consumed: frame.len() });
    check(parser.args(&frame))
}

fn decode<R>(line: &str, check: impl FnOnce(Result<Command<'_>, CommandError>) -> R) -> R {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    with_args(&words, |args| check(Command::decode(args)))
}

#[track_caller]
fn refused(line: &str, message: &str) {
    decode(line, |decoded| assert_eq!(decoded.unwrap_err().to_string(), message, "{line}"));
}

macro_rules! accepted {
    ($line:expr, $pattern:pat $(if $guard:expr)?) => {
        decode($line, |decoded| assert!(matches!(decoded, Ok($pattern) $(if $guard)?), "{}: {decoded:?}", $line))
    };
}

#[test]
fn names_and_options_ignore_case() {
    accepted!("GeT user:1", Command::Data(Data::Get { key: b"user:1" }));
    accepted!("mGET a B", Command::Data(Data::Mget { keys }) if keys.iter().eq([b"a", b"B"]));
    accepted!("UNLINK a", Command::Data(Data::Delete { keys }) if keys.len() == 1);
    accepted!("pttl a", Command::Data(Data::Ttl { unit: TtlUnit::Milliseconds, .. }));
    accepted!("PING", Command::Ping(None));
    accepted!("ping hi", Command::Ping(Some(Text(b"hi"))));
    accepted!("select 0", Command::Select);
    accepted!("config GET save", Command::ConfigGet);
    accepted!(
        "client SETINFO lib-NAME x",
        Command::Client(ClientCommand::SetInfo(ClientAttribute::LibName, b"x"))
    );
    accepted!("client reply ON", Command::Client(ClientCommand::ReplyOn));
    accepted!("client setname ", Command::Client(ClientCommand::SetName(b"")));
}

#[test]
fn hello_and_auth() {
    accepted!("hello", Command::Hello(Hello { protocol: None, credentials: None, name: None }));
    accepted!("HELLO 3 setname me AUTH u p", Command::Hello(hello)
        if hello.protocol == Some(Protocol::Resp3)
            && hello.name == Some(b"me")
            && hello.credentials == Some(Credentials { user: b"u", password: b"p" }));
    accepted!("auth p", Command::Auth(Credentials { user: b"default", password: b"p" }));
    accepted!("auth u p", Command::Auth(Credentials { user: b"u", password: b"p" }));
    refused("hello 4", "NOPROTO unsupported protocol version");
    refused("hello x", "ERR Protocol version is not an integer or out of range");
    refused("hello 3 auth", "ERR Syntax error in HELLO option 'auth'");
    refused("hello 3 auth u", "ERR Syntax error in HELLO option 'auth'");
    refused("hello 2 setname", "ERR Syntax error in HELLO option 'setname'");
    refused("auth a b c", "ERR syntax error");
}

#[test]
fn set_options() {
    accepted!("set k v", Command::Data(Data::Set(Set { condition: None, expire: None, get: false, .. })));
    accepted!("set k v EX 2 nx GET", Command::Data(Data::Set(set))
        if set.expire == Some(Expire::After(2_000)) && set.condition == Some(Condition::IfAbsent) && set.get);
    accepted!("set k v pxat 7 XX", Command::Data(Data::Set(Set { expire: Some(Expire::At(7)), .. })));
    accepted!("set k v keepttl", Command::Data(Data::Set(Set { expire: Some(Expire::Keep), .. })));
    refused("set k v nx xx", "ERR syntax error");
    refused("set k v ex 1 px 1", "ERR syntax error");
    refused("set k v px", "ERR syntax error");
    refused("set k v px foo", "ERR value is not an integer or out of range");
    refused("set k v ex 0", "ERR invalid expire time in 'set' command");
    refused("set k v ex -5", "ERR invalid expire time in 'set' command");
    refused("set k v ex 9223372036854775807", "ERR invalid expire time in 'set' command");
}

#[test]
fn reads_with_evidence() {
    accepted!("trueup.get user 42", Command::Data(Data::Read(ReadOne { class: b"user", key: b"42", options }))
        if options == ReadOptions::default());
    accepted!("TRUEUP.GET user 42 maxstale 200 TOKEN t consistent", Command::Data(Data::Read(read))
        if read.options == ReadOptions {
            token: Some(b"t"), max_staleness: Some(Duration::from_millis(200)), consistent: true });
    accepted!("TRUEUP.MGET user 2 CONSISTENT TOKEN CONSISTENT", Command::Data(Data::ReadMany(read))
        if read.keys.iter().eq([b"CONSISTENT".as_slice(), b"TOKEN"])
            && read.options == ReadOptions { consistent: true, ..ReadOptions::default() });
    refused(
        "trueup.get user:42",
        "ERR wrong number of arguments for 'trueup.get' command; \
         write TRUEUP.GET class key [TOKEN t] [MAXSTALE ms] [CONSISTENT]",
    );
    refused("trueup.get user 1 token", "ERR syntax error");
    refused("trueup.get user 1 consistent consistent", "ERR syntax error");
    refused("trueup.get user 1 maxstale -1", "ERR value is not an integer or out of range");
    refused(
        "trueup.mget user 1",
        "ERR wrong number of arguments for 'trueup.mget' command; \
         write TRUEUP.MGET class numkeys key [key ...] [TOKEN t] [MAXSTALE ms] [CONSISTENT]",
    );
    refused("trueup.mget user 0 a", "ERR numkeys should be greater than 0");
    refused("trueup.mget user x a", "ERR numkeys should be greater than 0");
    refused("trueup.mget user 3 a b", "ERR Number of keys can't be greater than number of args");
}

#[test]
fn leases_and_tags() {
    accepted!("trueup.lease c k", Command::Data(Data::Lease { class: b"c", key: b"k" }));
    accepted!(
        "trueup.fill c k l v",
        Command::Data(Data::Fill { class: b"c", key: b"k", lease: b"l", value: b"v" })
    );
    accepted!("trueup.invalidate t", Command::Data(Data::Invalidate { tag: b"t" }));
    refused(
        "trueup.fill c k l",
        "ERR wrong number of arguments for 'trueup.fill' command; write TRUEUP.FILL class key lease value",
    );
    refused(
        "trueup.token x",
        "ERR wrong number of arguments for 'trueup.token' command; write TRUEUP.TOKEN alone",
    );
}

#[test]
fn errors_are_worded_as_clients_know_them() {
    refused("get", "ERR wrong number of arguments for 'get' command");
    refused("GET a b", "ERR wrong number of arguments for 'get' command");
    refused("mget", "ERR wrong number of arguments for 'mget' command");
    refused("ping a b", "ERR wrong number of arguments for 'ping' command");
    refused("foo a b", "ERR unknown command 'foo', with args beginning with: 'a' 'b' ");
    refused("client", "ERR wrong number of arguments for 'client' command");
    refused("client foo", "ERR unknown subcommand 'foo'. Try CLIENT HELP.");
    refused("client id x", "ERR wrong number of arguments for 'client|id' command");
    refused("client list x", "ERR syntax error");
    refused("client setname a\n", "ERR Client names cannot contain spaces, newlines or special characters.");
    refused("client setinfo foo bar", "ERR Unrecognized option 'foo'");
    refused("client reply off", "ERR CLIENT REPLY supports ON only");
    refused("config", "ERR wrong number of arguments for 'config' command");
    refused("config get", "ERR wrong number of arguments for 'config|get' command");
    refused("config set a b", "ERR unknown subcommand 'set'. Try CONFIG HELP.");
    refused("select 1", "ERR DB index is out of range");
    refused("select x", "ERR value is not an integer or out of range");
}

#[test]
fn what_an_error_repeats_is_short_and_printable() {
    let name = vec![0x1b; 70_000];
    with_args(&[&name, &name, &name], |args| {
        let message = Command::decode(args).unwrap_err().to_string();
        assert!(message.len() < 2_000 && message.is_ascii() && !message.contains('\x1b'));
    });
}

#[test]
fn debug_output_hides_secrets_keys_and_values() {
    let secret = "hunter2";
    for line in ["auth {}", "hello 3 auth u {}", "get {}", "set {} {}", "echo {}", "trueup.fill c {} {} {}"] {
        decode(&line.replace("{}", secret), |decoded| {
            let shown = format!("{:?}", decoded.unwrap());
            assert!(!shown.contains(secret) && !shown.contains("104, 117"), "{shown}");
        });
    }
}
