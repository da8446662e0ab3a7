//! One server: entries come back, newer ones stay, and whatever the server does ends in time.

use std::time::Duration;

use rustix::process::Signal;
use trueup::redis::{Redis, RedisOptions};
use trueup_core::{
    env::Clock,
    tier::{RemoteError, RemotePut, RemoteTier as _},
};

use super::support::{
    LATE, blocking, envelope, envelope_of, key, options, patient, put, server, tier, until, works,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stored_comes_back_until_it_is_removed_or_its_life_ends() {
    let server = server(options()).await;
    let tier = tier(Redis::standalone(&format!("{}/3", server.url())).options(patient())).await;
    assert_eq!(tier.get(&key(1)).await, Ok(None));
    let one = put(1, b"one", 1);
    tier.put(one.clone()).await.unwrap();
    assert_eq!(tier.get(&one.key).await, Ok(Some(one.envelope.clone())));

    let many: Vec<RemotePut> = (10..300).map(|n| put(n, &vec![b'x'; n as usize * 10], 1)).collect();
    assert!(tier.put_many(many.clone()).await.iter().all(Result::is_ok));
    let keys: Vec<_> = many.iter().map(|put| put.key.clone()).chain([key(9_999)]).collect();
    let found = tier.get_many(&keys).await;
    assert_eq!(found.last(), Some(&Ok(None)));
    for (found, put) in found.iter().zip(&many) {
        assert_eq!(found.as_ref().unwrap().as_ref(), Some(&put.envelope));
    }
    tier.delete(&one.key).await.unwrap();
    assert_eq!(tier.get(&one.key).await, Ok(None));

    let brief = RemotePut { life: Duration::from_millis(30), ..put(2, b"brief", 1) };
    tier.put(brief.clone()).await.unwrap();
    until("the end of a life", || async { (tier.get(&brief.key).await == Ok(None)).then_some(()) }).await;
    // In the database that the URL names, under a name that a person can read.
    let kept = blocking(move || server.cli(&["-n", "3", "DBSIZE"]).unwrap()).await;
    assert_eq!(kept, many.len().to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_entry_does_not_replace_a_newer_one() {
    let server = server(options()).await;
    let tier = tier(Redis::standalone(&server.url()).options(patient())).await;
    let key = key(1);
    let stored = |upper, proven_at| {
        let envelope = envelope(&key, format!("{upper} {proven_at}").as_bytes(), upper, proven_at);
        RemotePut { key: key.clone(), envelope, life: Duration::from_secs(60), age: LATE }
    };
    // Each pair: what lies there, what is written, and whether it replaces the former. Positions beyond 2^53 and
    // across the 32-bit halves, where numbers of Lua would go wrong.
    let (low, high) = (1_u64 << 32, 1_u64 << 60);
    for (old, new, replaces) in [
        ((5, 5), (4, 9), false),
        ((5, 5), (5, 4 + 1), true),
        ((5, 7), (5, 6), false),
        ((5, 6), (5, 7), true),
        ((low, low), (low - 1, high), false),
        ((low - 1, low - 1), (low, low), true),
        ((high + 1, high + 1), (high, high + 9), false),
        ((high, high), (high + 1, high + 1), true),
        ((u64::MAX, u64::MAX), (1, 1), false),
    ] {
        tier.delete(&key).await.unwrap();
        tier.put(stored(old.0, old.1)).await.unwrap();
        tier.put(stored(new.0, new.1)).await.unwrap();
        let held = if replaces { new } else { old };
        assert_eq!(tier.get(&key).await, Ok(Some(stored(held.0, held.1).envelope)), "{old:?} then {new:?}");
    }
    assert_eq!(tier.stats().newer_kept, 5);
    // An entry that comes in time replaces whatever is there.
    let in_time = RemotePut { age: Duration::from_millis(20), ..stored(1, 1) };
    tier.delete(&key).await.unwrap();
    tier.put(stored(9, 9)).await.unwrap();
    assert!(tier.put_many(vec![stored(8, 8), in_time.clone()]).await.iter().all(Result::is_ok));
    assert_eq!(tier.get(&key).await, Ok(Some(in_time.envelope)));
    assert_eq!(tier.stats().newer_kept, 6);
    // What can't be compared is replaced: another epoch, and what is no envelope at all.
    let other = RemotePut { envelope: envelope_of([9; 16], &key, b"other", 1, 1), ..stored(1, 1) };
    tier.put(other.clone()).await.unwrap();
    assert_eq!(tier.get(&key).await, Ok(Some(other.envelope)));
    let name = key.to_string();
    let _server = blocking(move || {
        server.cli(&["DEL", &name]).unwrap();
        server.cli(&["LPUSH", &name, "a list"]).unwrap();
        // Scripts are forgotten, as after a restart: the text is sent again.
        server.cli(&["SCRIPT", "FLUSH"]).unwrap();
        server
    })
    .await;
    tier.put(stored(1, 1)).await.unwrap();
    assert_eq!(tier.get(&key).await, Ok(Some(stored(1, 1).envelope)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b61_after_errors_the_server_is_left_alone_and_used_again_when_it_answers() {
    let mut redis = server(options()).await;
    let tier = tier(Redis::standalone(&redis.url()).options(patient())).await;
    works(&tier, 1).await.unwrap();
    redis.kill();
    until("a server that is left alone", || async {
        let _ = tier.get(&key(1)).await;
        tier.servers()[0].left_alone.clone()
    })
    .await;
    let clock = Clock::system();
    let began = clock.now();
    for _ in 0..1_000 {
        assert!(matches!(tier.get(&key(1)).await, Err(RemoteError::Unavailable { .. })));
    }
    let took = clock.now().since(began);
    // A call that waited would have two seconds. A machine under load may stop us for one.
    assert!(took < Duration::from_secs(5), "1,000 calls wait for nothing: {took:?}");
    let redis = blocking(move || {
        redis.start_again().unwrap();
        redis
    })
    .await;
    until("an answer after the restart", || works(&tier, 1)).await;
    assert_eq!(tier.servers()[0].left_alone, None);
    drop(redis);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_stopped_costs_each_call_its_deadline_at_most_and_then_nothing() {
    let redis = server(options()).await;
    let within = Duration::from_millis(150);
    let limits = RedisOptions { get_timeout: within, put_timeout: within, ..RedisOptions::default() };
    let tier = tier(Redis::standalone(&redis.url()).options(limits)).await;
    until("a first answer", || works(&tier, 1)).await;
    redis.server().unwrap().signal(Signal::STOP).unwrap();
    let clock = Clock::system();
    let mut late = 0;
    while tier.servers()[0].left_alone.is_none() {
        let began = clock.now();
        let answer = tier.get(&key(1)).await;
        // A loaded machine wakes us late, by a second at times; what counts is that nobody waits for the server.
        assert!(
            clock.now().since(began) < within + Duration::from_secs(3),
            "{answer:?} after {:?}",
            clock.now().since(began)
        );
        late += u32::from(matches!(answer, Err(RemoteError::Timeout { .. })));
    }
    assert!((1..=5).contains(&late), "{late} calls had to wait");
    redis.server().unwrap().signal(Signal::CONT).unwrap();
    until("an answer of the server that goes on", || works(&tier, 1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_server_holds_nothing_and_takes_new_entries() {
    let redis = server(options()).await;
    let tier = tier(Redis::standalone(&redis.url()).options(patient())).await;
    works(&tier, 1).await.unwrap();
    let redis = blocking(move || {
        redis.cli(&["FLUSHALL"]).unwrap();
        redis
    })
    .await;
    assert_eq!(tier.get(&key(1)).await, Ok(None));
    works(&tier, 1).await.unwrap();
    drop(redis);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_server_that_evicts_nothing_refuses_writes_and_goes_on_answering() {
    let options = options().set("maxmemory", "3mb").set("maxmemory-policy", "noeviction");
    let redis = server(options).await;
    let tier = tier(Redis::standalone(&redis.url()).options(patient())).await;
    works(&tier, 1).await.unwrap();
    let mut refused = None;
    for number in 100..200 {
        if let Err(error) = tier.put(put(number, &[b'x'; 100_000], 1)).await {
            refused = Some(error);
            break;
        }
    }
    let error = refused.expect("the server is full");
    assert!(matches!(&error, RemoteError::Refused { reason, .. } if reason.contains("OOM")), "{error}");
    for number in 200..220 {
        let _ = tier.put(put(number, &[b'x'; 100_000], 1)).await;
    }
    assert!(tier.get(&key(1)).await.unwrap().is_some(), "refused writes do not end reads");
    assert_eq!(tier.servers()[0].left_alone, None);
    drop(redis);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_refuses_writes_and_answers_reads() {
    let primary = server(options()).await;
    let replica = server(options().set("replicaof", &format!("127.0.0.1 {}", primary.port()))).await;
    let main = tier(Redis::standalone(&primary.url()).options(patient())).await;
    let copy = tier(Redis::standalone(&replica.url()).options(patient())).await;
    main.put(put(1, b"one", 1)).await.unwrap();
    until("the copy", || async { copy.get(&key(1)).await.ok()? }).await;
    let error = copy.put(put(2, b"two", 1)).await.unwrap_err();
    assert!(matches!(&error, RemoteError::Refused { reason, .. } if reason.contains("READONLY")), "{error}");
    assert!(copy.get(&key(1)).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_is_refused_on_both_ways() {
    let redis = server(options()).await;
    let limits = |most| RedisOptions { envelope_bytes_max: most, ..patient() };
    let large = tier(Redis::standalone(&redis.url()).options(limits(1 << 20))).await;
    let small = tier(Redis::standalone(&redis.url()).options(limits(1_000))).await;
    let put_of = |number| put(number, &[b'x'; 2_000], 1);
    large.put(put_of(1)).await.unwrap();
    assert!(matches!(small.get(&key(1)).await, Err(RemoteError::TooLarge { .. })));
    let outcomes = small.put_many(vec![put(2, b"fits", 1), put_of(3), put(4, b"fits", 1)]).await;
    let refused: Vec<bool> = outcomes.iter().map(Result::is_err).collect();
    assert_eq!(refused, [false, true, false]);
    assert!(large.get(&key(4)).await.unwrap().is_some() && large.get(&key(3)).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_beyond_the_bound_are_refused_at_once() {
    let redis = server(options()).await;
    let limits = RedisOptions { calls_max: 3, failures_max: 1_000, ..patient() };
    let tier = tier(Redis::standalone(&redis.url()).options(limits)).await;
    works(&tier, 1).await.unwrap();
    redis.server().unwrap().signal(Signal::STOP).unwrap();
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let tier = tier.clone();
            let wait = async move { while tier.get(&key(1)).await.is_err() {} };
            trueup_core::env::spawn("waits", wait)
        })
        .collect();
    let error =
        until("a refusal", || async { tier.get(&key(1)).await.err().filter(|e| e.kind() == "unavailable") })
            .await;
    assert!(error.to_string().contains("3 commands are under way"), "{error}");
    redis.server().unwrap().signal(Signal::CONT).unwrap();
    for task in waiting {
        task.ended().await;
    }
    until("an answer", || works(&tier, 1)).await;
}
