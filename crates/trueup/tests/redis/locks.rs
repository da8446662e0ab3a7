//! Fill locks on real servers: one owner at a time, on the server of the entry, and an end whatever happens.

use std::time::Duration;

use rustix::process::Signal;
use trueup::redis::{Redis, RedisOptions};
use trueup_core::{
    env::Clock,
    tier::{Claim, FillLocks, LockKey, LockOwner, RemoteError, RemoteTier as _},
};

use super::support::{blocking, cluster, options, patient, server, tier, until};

/// So long that a busy machine does not end it by itself.
const LONG: Duration = Duration::from_secs(60);

/// A lock of its own for each number.
fn key(number: u32) -> LockKey {
    LockKey { entry: super::support::key(number), world: [7; 16] }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_owner_at_a_time_until_it_releases_or_its_time_is_over() {
    let server = server(options()).await;
    let tier = tier(Redis::standalone(&server.url()).options(patient())).await;
    let locks: &dyn FillLocks = tier.locks().unwrap();
    let (key, a, b) = (key(1), LockOwner::random(), LockOwner::random());
    assert_eq!(locks.claim(&key, a, LONG).await, Ok(Claim::Mine));
    assert_eq!(locks.claim(&key, a, LONG).await, Ok(Claim::Mine), "one's own claim, sent again");
    let Ok(Claim::Held { left }) = locks.claim(&key, b, LONG).await else { panic!("a has it") };
    assert!(left <= LONG && left > LONG / 2, "{left:?}");
    // Nobody extends or releases the lock of another.
    assert_eq!(locks.extend(&key, b, LONG).await, Ok(false));
    locks.release(&key, b).await.unwrap();
    assert!(matches!(locks.claim(&key, b, LONG).await, Ok(Claim::Held { .. })));
    let brief = Duration::from_millis(30);
    assert_eq!(locks.extend(&key, a, brief).await, Ok(true));
    until("the end of a lock that nobody extends", || async {
        (locks.claim(&key, b, LONG).await == Ok(Claim::Mine)).then_some(())
    })
    .await;
    assert_eq!(locks.extend(&key, a, LONG).await, Ok(false), "its time is over");
    locks.release(&key, a).await.unwrap();
    locks.release(&key, b).await.unwrap();
    assert_eq!(locks.claim(&key, a, LONG).await, Ok(Claim::Mine));

    // What is no lock of ours has no owner and no end, and entries have names of their own.
    let names = blocking(move || {
        let names = server.cli(&["KEYS", "*"]).unwrap();
        server.cli(&["DEL", &names]).unwrap();
        server.cli(&["LPUSH", &names, "a list"]).unwrap();
        (names, server)
    })
    .await;
    assert_eq!(names.0, format!("trueup:lock:{{{}}}:{}", key.entry, "07".repeat(16)));
    assert_eq!(locks.claim(&key, a, LONG).await, Ok(Claim::Held { left: Duration::MAX }));
    assert_eq!(locks.extend(&key, a, LONG).await, Ok(false));
    assert_eq!(tier.get(&key.entry).await, Ok(None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_scripts_a_lock_is_taken_plainly_and_ends_by_itself() {
    let redis = server(options()).await;
    let redis = blocking(move || {
        let allowed = ["+get", "+set", "+unlink", "+ping"];
        redis
            .cli(&[&["ACL", "SETUSER", "plain", "on", ">secret", "~trueup:*"], &allowed[..]].concat())
            .unwrap();
        // Scripts, and all that is documented, but no PTTL.
        let documented = ["+get", "+set", "+unlink", "+ping", "+evalsha", "+eval"];
        redis
            .cli(&[&["ACL", "SETUSER", "documented", "on", ">secret", "~trueup:*"], &documented[..]].concat())
            .unwrap();
        redis
    })
    .await;
    let of =
        |user: &str| tier(Redis::standalone(&redis.url()).user(user).password("secret").options(patient()));
    for (number, user, extends) in [(1, "plain", false), (2, "documented", true)] {
        let tier = of(user).await;
        let locks = tier.locks().unwrap();
        let (key, a, b) = (key(number), LockOwner::random(), LockOwner::random());
        let life = Duration::from_secs(2);
        assert_eq!(locks.claim(&key, a, life).await, Ok(Claim::Mine), "{user}");
        assert_eq!(
            locks.claim(&key, b, life).await,
            Ok(Claim::Held { left: life }),
            "{user}: as long as it can be"
        );
        assert_eq!(locks.extend(&key, a, life).await, Ok(extends), "{user}");
        locks.release(&key, b).await.unwrap();
        assert!(matches!(locks.claim(&key, b, life).await, Ok(Claim::Held { .. })), "{user}");
        locks.release(&key, a).await.unwrap();
        until("the end of the lock", || async {
            (locks.claim(&key, b, life).await == Ok(Claim::Mine)).then_some(())
        })
        .await;
    }
    drop(redis);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_cluster_a_lock_lies_with_its_entry() {
    let cluster = cluster().await;
    let seed = format!("127.0.0.1:{}", cluster.nodes()[0].port());
    let tier = tier(Redis::cluster([seed]).options(patient())).await;
    until("all primaries", || async {
        let servers = tier.servers();
        (servers.len() == 3 && servers.iter().all(|server| server.left_alone.is_none())).then_some(())
    })
    .await;
    let locks = tier.locks().unwrap();
    let (a, b) = (LockOwner::random(), LockOwner::random());
    for number in 0..60 {
        let key = key(number);
        assert_eq!(locks.claim(&key, a, LONG).await, Ok(Claim::Mine));
        assert!(matches!(locks.claim(&key, b, LONG).await, Ok(Claim::Held { .. })));
        if number % 2 == 0 {
            locks.release(&key, a).await.unwrap();
            assert_eq!(locks.claim(&key, b, LONG).await, Ok(Claim::Mine));
        }
    }
    assert_eq!(tier.stats().redirects, 0, "each was asked for where it lies");
    let names: Vec<String> = (0..10).map(|number| key(number).entry.to_string()).collect();
    blocking(move || {
        for name in names {
            let slot = |name: &str| cluster.nodes()[0].cli(&["CLUSTER", "KEYSLOT", name]).unwrap();
            assert_eq!(slot(&name), slot(&format!("trueup:lock:{{{name}}}:00")));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_stopped_costs_a_claim_its_deadline_at_most_and_then_nothing() {
    let redis = server(options()).await;
    let limits = RedisOptions { get_timeout: Duration::from_millis(200), ..RedisOptions::default() };
    let tier = tier(Redis::standalone(&redis.url()).options(limits)).await;
    let locks = tier.locks().unwrap();
    let owner = LockOwner::random();
    until("a claim in time", || async { locks.claim(&key(1), owner, LONG).await.ok() }).await;
    redis.server().unwrap().signal(Signal::STOP).unwrap();
    let clock = Clock::system();
    for _ in 0..5 {
        let began = clock.now();
        let claim = locks.claim(&key(2), owner, LONG).await;
        assert!(claim.is_err(), "{claim:?}");
        assert!(clock.now().since(began) < Duration::from_secs(3));
    }
    until("a server that is left alone", || async {
        let _ = locks.claim(&key(2), owner, LONG).await;
        tier.servers()[0].left_alone.clone()
    })
    .await;
    let began = clock.now();
    for _ in 0..100 {
        let claim = locks.claim(&key(2), owner, LONG).await;
        assert!(matches!(claim, Err(RemoteError::Unavailable { .. })), "{claim:?}");
    }
    // If each waited its 200 ms: twenty seconds. A machine under load may stop us for one.
    assert!(clock.now().since(began) < Duration::from_secs(5), "nobody waits for it");
    redis.server().unwrap().signal(Signal::CONT).unwrap();
}
