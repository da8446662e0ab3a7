//! `--l2`: nodes that share entries through a Redis server.

use trueup_testbed::{Cluster, ClusterOptions, Redis, RedisOptions, free_port};

use crate::support::{Shop, until};

const SECRET: &str = "5a015a015a015a015a015a015a015a015a015a015a015a015a015a015a015a01";

/// A configuration by which nodes share a secret.
fn config(shop: &Shop, url: &str) -> String {
    let secret = shop.file("l2.secret", SECRET);
    let text = format!("[l2]\nurls = [\"{url}\"]\nsecret_file = \"{}\"\n", secret.display());
    shop.file("l2.toml", &text).display().to_string()
}

#[test]
fn two_servers_share_what_one_of_them_has_loaded() {
    let redis = Redis::start(&RedisOptions::default().set("maxmemory", "20mb")).unwrap();
    let shop = Shop::new();
    let config = config(&shop, &redis.url());
    let (a, b) = (shop.serve(&["--config", &config]), shop.serve(&["--config", &config]));
    let served_by = |server: &crate::support::Server| {
        let text = server.get("/v1/product/42", "");
        text.lines().find_map(|line| line.strip_prefix("cache-status: ").map(str::to_owned)).unwrap()
    };
    // A node that is not connected to the tier yet shares nothing: then the next change is.
    let mut price = 900;
    until(
        || {
            price += 1;
            shop.sql(&format!("UPDATE product SET price = {price} WHERE id = 42"));
            a.redis_comes_to(
                "GET product:42",
                &format!(r#"{{"id":42,"name":"Trail shoe","price":{price},"city":"Turin"}}"#),
            );
            let stored = a.get("/metrics", "").contains("trueup_l2_writes_total{outcome=\"stored\"} 0\n");
            !stored && served_by(&b) == "trueup; hit; detail=l2"
        },
        || format!("{} {}", a.get("/metrics", ""), b.get("/metrics", "")),
    );
    let metrics = b.get("/metrics", "");
    for line in [
        "trueup_breaker_open{dependency=\"l2\"} 0",
        "trueup_l2_servers{} 1",
        "trueup_l2_lookups_total{outcome=\"found\"}",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    assert!(!metrics.contains("trueup_l2_transfer_bytes_total{direction=\"in\"} 0"), "{metrics}");
    let status = b.get("/v1/status", "");
    assert!(
        status.contains(&format!("\"endpoint\":\"127.0.0.1:{}\",\"left_alone\":null", redis.port())),
        "{status}"
    );

    let explained = b.get("/v1/explain/product/42", "");
    assert!(explained.contains("\"verdict\":\"it holds an entry that is proven\""), "{explained}");
    let ended = shop.run(&["explain", "product", "42", "--config", &config]);
    assert!(ended.out.contains("remote name") && ended.out.contains("trueup:product:"), "{ended:?}");
    assert!(
        ended.out.contains(&format!("remote place               127.0.0.1:{}", redis.port())),
        "{ended:?}"
    );

    let ended = shop.run(&["check", "--config", &config]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.out.contains("of 20.0 MiB used") && ended.out.contains("noeviction"), "{ended:?}");

    // The tier goes away: answers do not.
    drop(redis);
    shop.sql("UPDATE product SET price = 1 WHERE id = 42");
    for server in [&a, &b] {
        server.redis_comes_to("GET product:42", r#"{"id":42,"name":"Trail shoe","price":1,"city":"Turin"}"#);
    }
    until(
        || {
            shop.sql("UPDATE product SET price = price + 1 WHERE id = 43");
            b.redis("GET product:43");
            b.get("/metrics", "").contains("trueup_breaker_open{dependency=\"l2\"} 1")
        },
        || b.get("/metrics", ""),
    );
    let ended = shop.run(&["check", "--config", &config]);
    assert!(ended.code == 1 && ended.out.contains("it can't be used"), "{ended:?}");
}

#[test]
fn a_tier_that_is_not_there_is_a_warning() {
    let shop = Shop::new();
    let url = format!("redis://127.0.0.1:{}", free_port().unwrap());
    let mut server = shop.serve(&["--l2", &url]);
    assert!(server.redis("GET product:42").contains("Trail shoe"));
    until(
        || server.get("/metrics", "").contains("trueup_breaker_open{dependency=\"l2\"} 1"),
        || server.get("/metrics", ""),
    );
    server.says("the remote tier is not of use yet");
    server.signal("TERM");
    let ended = server.ends();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.err.contains("no secret that nodes share"), "{ended:?}");
}

#[test]
fn explain_names_the_slot_and_the_server_of_a_cluster() {
    let cluster = Cluster::start(&ClusterOptions::default()).unwrap();
    let shop = Shop::new();
    let config = config(&shop, &cluster.url());
    let server = shop.serve(&["--config", &config]);
    // What a node loads before it follows the source or is connected to the cluster is not shared: a later one is.
    let ask = || shop.run_plainly(&["explain", "product", "42", "--http", &server.http]).out;
    until(
        || {
            shop.sql("UPDATE product SET price = price + 1 WHERE id = 42");
            server.redis("GET product:42");
            ask().contains("remote entry")
        },
        || format!("{} {}", ask(), server.get("/metrics", "")),
    );
    let told = ask();
    let line = |what: &str| {
        let line = told.lines().find_map(|line| line.strip_prefix(what)).unwrap_or_else(|| panic!("{told}"));
        line.trim().to_owned()
    };
    let name = line("remote name");
    let slot = cluster.nodes()[0].cli(&["CLUSTER", "KEYSLOT", &name]).unwrap();
    let holder = &cluster.nodes()[cluster.primary_of(&name).unwrap()];
    let place = format!("slot {}, 127.0.0.1:{}", slot.trim(), holder.port());
    assert_eq!(line("remote place"), place, "{told}");
    assert_eq!(holder.cli(&["EXISTS", &name]).unwrap().trim(), "1", "{told}");
}
