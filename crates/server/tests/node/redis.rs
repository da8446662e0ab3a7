//! Every command that is answered from the catalogue.

use crate::support::{Mood, Server, within};

const ADA: &str = r#"{"id":42,"name":"Ada"}"#;

#[tokio::test]
async fn get_answers_the_row_and_then_from_memory() {
    let server = Server::start().await;
    let mut redis = server.redis().await;
    assert_eq!(redis.ask("GET user:42").await, ADA);
    assert_eq!(redis.ask("GET user:042").await, ADA, "another spelling of the same key");
    assert_eq!(redis.ask("GET user:7").await, "nil");
    assert_eq!(redis.ask("GET user:7").await, "nil");
    assert_eq!(server.database.loads(), 2, "the second reading of each came from memory");
}

#[tokio::test]
async fn a_write_by_another_program_is_seen_without_a_word_to_the_cache() {
    let server = Server::start().await;
    let mut redis = server.redis().await;
    assert_eq!(redis.ask("GET user:42").await, ADA);
    let token = server.database.write("user", "42", r#"{"id":42,"name":"Grace"}"#);
    server.hears(token).await;
    assert_eq!(redis.ask("GET user:42").await, r#"{"id":42,"name":"Grace"}"#);
}

#[tokio::test]
async fn mget_and_exists_take_keys_of_several_classes() {
    let server = Server::start().await;
    server.database.write("pair", "x,y", "[1]");
    let mut redis = server.redis().await;
    assert_eq!(
        redis.ask("MGET user:42 pair:x,y user:7 user:42").await,
        format!("[{ADA} | [1] | nil | {ADA}]")
    );
    assert_eq!(
        redis.ask("MGET user:42 pair:x,y user:7 user:42").await,
        format!("[{ADA} | [1] | nil | {ADA}]")
    );
    assert_eq!(redis.ask("EXISTS user:42 user:42 user:7 pair:x,y").await, "3");
    assert_eq!(redis.ask("EXISTS user:8 user:42").await, "1", "one of them had to be loaded");
}

#[tokio::test]
async fn ttl_tells_of_memory() {
    let server = Server::start().await;
    let mut redis = server.redis().await;
    assert_eq!(redis.ask("TTL user:42").await, "-2", "nothing is held yet");
    redis.ask("MGET user:42 user:7").await;
    let seconds: i64 = redis.ask("TTL user:42").await.parse().unwrap();
    let milliseconds: i64 = redis.ask("PTTL user:42").await.parse().unwrap();
    assert!((3_200..=3_600).contains(&seconds), "{seconds}: an hour, less the jitter");
    assert!((seconds - 2) * 1_000 < milliseconds && milliseconds <= seconds * 1_000, "{milliseconds}");
    assert_eq!(redis.ask("TTL user:7").await, "-2", "held as absent");
    redis.ask("GET authorisation:1").await;
    assert_eq!(redis.ask("TTL authorisation:1").await, "-2", "never held");
}

#[tokio::test]
async fn del_invalidates_through_the_source() {
    let server = Server::start().await;
    let mut redis = server.redis().await;
    redis.ask("GET user:42").await;
    assert_eq!(redis.ask("DEL user:42 user:7 authorisation:1").await, "1", "one was held");
    let loads = server.database.loads();
    assert_eq!(redis.ask("GET user:42").await, ADA);
    assert_eq!(server.database.loads(), loads + 1, "it had to be read again");
    assert_eq!(redis.ask("UNLINK user:42").await, "1");
    assert_eq!(redis.ask("DEL authorisation:1").await, "0");
}

#[tokio::test]
async fn evidence_comes_with_trueup_get() {
    let server = Server::start().await;
    let mut redis = server.redis().await;
    let first = redis.ask("TRUEUP.GET user 42").await;
    let parts: Vec<&str> = first.trim_matches(['[', ']']).split(" | ").collect();
    assert_eq!((parts[0], parts[3]), (ADA, "source"));
    assert_eq!(parts[1].len(), 16, "the version, as in ETag");
    let second = redis.ask("TRUEUP.GET user 42").await;
    assert!(second.ends_with(" | l1]") && second.contains(parts[1]), "{second}");
    let absent = redis.ask("TRUEUP.GET user 7").await;
    assert!(absent.starts_with("[nil | 0000000000000000 | "), "{absent}");
    let demanding = redis.ask("TRUEUP.GET user 42 MAXSTALE 0").await;
    assert!(demanding.ends_with(" | source]"), "nothing held is that fresh: {demanding}");
}

#[tokio::test]
async fn a_token_shows_the_write_that_gave_it() {
    let server = Server::start().await;
    let mut redis = server.redis().await;
    redis.ask("GET user:42").await;
    server.database.stall_feed(true);
    let token = server.database.write("user", "42", "{}");
    let read = redis.ask(&format!("TRUEUP.GET user 42 TOKEN {token}")).await;
    assert!(read.starts_with("[{} | ") && read.ends_with("source]"), "{read}");
    let now = redis.ask("TRUEUP.TOKEN").await;
    assert_eq!(now, token.to_string());
}

#[tokio::test]
async fn several_keys_come_from_one_state() {
    let server = Server::start().await;
    server.database.write("user", "43", r#"{"id":43}"#);
    let mut redis = server.redis().await;
    let read = redis.ask("TRUEUP.MGET user 2 42 43 CONSISTENT").await;
    assert!(read.starts_with(&format!("[[{ADA} | ")) && read.contains(r#"[{"id":43} | "#), "{read}");
    assert_eq!(server.database.loads(), 1, "one load of both");
    assert_eq!(redis.ask("TRUEUP.MGET user 1 7").await.matches("nil").count(), 1);
}

#[tokio::test]
async fn invalidation_by_name_answers_a_token() {
    let server = Server::start().await;
    let mut redis = server.redis().await;
    for tag in ["user:42", "user"] {
        redis.ask("GET user:42").await;
        let loads = server.database.loads();
        let token = redis.ask(&format!("TRUEUP.INVALIDATE {tag}")).await;
        assert!(token.parse::<trueup_core::proof::Token>().is_ok(), "{token}");
        redis.ask("GET user:42").await;
        assert!(server.database.loads() > loads, "{tag}");
    }
    let refused = redis.ask("TRUEUP.INVALIDATE search").await;
    assert!(refused.starts_with("-ERR class `search` cannot be invalidated as a whole"), "{refused}");
    let refused = redis.ask("TRUEUP.INVALIDATE authorisation:1").await;
    assert!(refused.starts_with("-ERR class `authorisation` is never cached"), "{refused}");
}

#[tokio::test]
async fn a_decision_is_read_from_the_source_each_time() {
    let server = Server::start().await;
    server.database.write("authorisation", "1", "true");
    let mut redis = server.redis().await;
    for _ in 0..3 {
        assert_eq!(redis.ask("GET authorisation:1").await, "true");
    }
    assert_eq!(server.database.loads(), 3);
    assert!(redis.ask("TRUEUP.MGET authorisation 2 1 2 CONSISTENT").await.ends_with(" | source]]"));
    assert_eq!(server.database.loads(), 4);
}

#[tokio::test]
async fn info_shows_the_node() {
    let server = Server::start().await;
    let mut redis = server.redis().await;
    redis.ask("GET user:42").await;
    redis.ask("GET user:42").await;
    let info = redis.ask("INFO").await;
    for line in ["ready:1", "source:test:memory", "reads:2", "hit_rate:0.5000", "entries:1", "checks_stale:0"]
    {
        assert!(info.contains(&format!("{line}\r\n")), "{line} is not in {info}");
    }
}

#[tokio::test]
async fn trouble_at_the_source_is_told_by_a_code() {
    let server = Server::start().await;
    let mut redis = server.redis().await;
    server.database.mood(Mood::Down);
    assert!(redis.ask("GET pair:a,b").await.starts_with("-UNAVAILABLE the source does not answer"));
    assert!(redis.ask("TRUEUP.TOKEN").await.starts_with("-UNAVAILABLE "));
    assert!(redis.ask("DEL pair:a,b").await.starts_with("-UNAVAILABLE "));
    server.database.mood(Mood::Shedding);
    assert!(redis.ask("GET pair:a,b").await.starts_with("-TRYAGAIN too many loads"));
    assert!(redis.ask("MGET pair:a,b user:1").await.starts_with("-TRYAGAIN "));
}

#[tokio::test]
async fn a_declared_value_is_answered_only_where_its_label_is() {
    let server = Server::start().await;
    let mut redis = server.redis().await;
    server.database.mood(Mood::Down);
    let answer = redis.ask("TRUEUP.GET search q=x").await;
    assert!(answer.starts_with("[{\"results\":[]} | ") && answer.ends_with(" | fallback]"), "{answer}");
    for plain in ["GET search:q=x", "MGET search:q=x search:q=y", "EXISTS search:q=x"] {
        assert!(redis.ask(plain).await.starts_with("-FALLBACK "), "{plain}");
    }
}

#[tokio::test]
async fn a_stale_answer_says_so() {
    let server = Server::start().await;
    let mut redis = server.redis().await;
    redis.ask("GET user:42").await;
    let token = server.database.write("user", "42", "{}");
    server.hears(token).await;
    server.database.mood(Mood::Down);
    let answer = redis.ask("TRUEUP.GET user 42").await;
    assert!(answer.starts_with(&format!("[{ADA} | ")) && answer.ends_with(" | stale]"), "{answer}");
}

#[tokio::test]
async fn a_slow_load_holds_up_nobody_else() {
    let server = Server::start().await;
    let (mut slow, mut quick) = (server.redis().await, server.redis().await);
    quick.ask("GET user:42").await;
    server.database.mood(Mood::Slow);
    let other = async {
        assert_eq!(quick.ask("GET user:42").await, ADA);
        server.database.gate.add_permits(1);
    };
    let (answer, ()) = within(async { tokio::join!(slow.ask("GET user:7"), other) }).await;
    assert_eq!(answer, "nil");
}
