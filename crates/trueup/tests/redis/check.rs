//! What `check` reads from live servers.

use trueup::redis::Redis;

use super::support::{options, patient, put, server, tier};
use trueup_core::tier::RemoteTier as _;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_tells_its_memory_policy_and_persistence() {
    let unsuited = server(options().set("appendonly", "yes")).await;
    let suited =
        options().set("maxmemory", "20mb").set("maxmemory-policy", "allkeys-lfu").set("save", "3600 1");
    let suited = server(suited).await;
    let facts_of = async |url: &str| {
        let tier = tier(Redis::standalone(url).options(patient())).await;
        tier.inspect().await.remove(0)
    };
    let facts = facts_of(&unsuited.url()).await;
    assert!(facts.version.is_some() && facts.used_bytes > Some(0), "{facts:?}");
    let problems: Vec<String> = facts.findings().into_iter().map(|finding| finding.problem).collect();
    assert!(problems[0].contains("maxmemory 0") && problems[1].contains("noeviction"), "{problems:?}");
    assert!(problems[2].contains("appendonly"), "{problems:?}");

    let facts = facts_of(&suited.url()).await;
    assert_eq!(facts.findings(), []);
    let tier = tier(Redis::standalone(&suited.url()).options(patient())).await;
    for number in 0..120 {
        tier.put(put(number, &[b'x'; 100_000], 1)).await.unwrap();
    }
    let findings = facts_of(&suited.url()).await.findings();
    assert!(matches!(&findings[..], [one] if one.problem.contains("above 60 %")), "{findings:?}");
}
