//! `trueup analyze cost`.

use super::{json, line};
use crate::support::Shop;

/// 100 requests a second for ten products in a loop.
fn log(shop: &Shop) -> String {
    let all = (0..1_100_u64).map(|step| line(&format!("/v1/product/{}", step % 10), step / 100));
    shop.file("shop.log", &all.collect::<String>()).display().to_string()
}

#[test]
fn each_size_has_its_costs_and_the_cheapest_is_marked() {
    let shop = Shop::new();
    let log = log(&shop);
    let args = [
        "analyze",
        "cost",
        &log,
        "--policy",
        "lru",
        "--sizes",
        "5,10",
        "--entry-size",
        "1MiB",
        "--rate",
        "100",
    ];
    let prices = [
        "--gib-month-price",
        "1024",
        "--million-loads-price",
        "0.5",
        "--currency",
        "EUR",
        "--format",
        "json",
    ];
    let ended = shop.run_plainly(&[&args[..], &prices].concat());
    assert_eq!(ended.code, 0, "{ended:?}");
    let report = json(&ended);
    let class = &report["classes"][0];
    let (small, large) = (&class["sizes"][0], &class["sizes"][1]);
    assert_eq!((&small["memory_cost"], &large["memory_cost"]), (&5.0.into(), &10.0.into()), "a MiB costs 1");
    // Every request of a loop that does not fit is a load: 262.8 million a month.
    let near =
        |value: &serde_json::Value, expected: f64| (value.as_f64().unwrap() / expected - 1.0).abs() < 1e-9;
    assert!(near(&small["loads_cost"], 131.4) && near(&small["total"], 136.4), "{small}");
    assert!(near(&large["loads_per_s"], 100.0 * 10.0 / 1_100.0), "{large}");
    assert_eq!((&class["cheapest"], &class["enough"]), (&1.into(), &10.into()));
    assert_eq!(small["zone_gb_per_month"], serde_json::Value::Null, "there is no remote tier");
    let table = shop.run_plainly(&[&args[..], &prices[..6]].concat()).out;
    for part in ["memory/month EUR", "total/month EUR", "cheapest, enough\n", "100.0 a second as stated"] {
        assert!(table.contains(part), "{part}: {table}");
    }
}

#[test]
fn what_has_no_price_is_told_in_its_own_unit_and_no_total_is_claimed() {
    let shop = Shop::new();
    let log = log(&shop);
    let args = [
        "analyze",
        "cost",
        &log,
        "--policy",
        "lru",
        "--sizes",
        "5,10",
        "--entry-size",
        "1MiB",
        "--zones",
        "3",
    ];
    let table = shop.run_plainly(&[&args[..], &["--gib-month-price", "2"]].concat());
    assert_eq!(table.code, 0, "{table:?}");
    assert!(!table.out.contains("total/month") && !table.out.contains("cheapest"), "{}", table.out);
    assert!(
        table.out.contains("no total: --million-loads-price, --zone-gb-price not given"),
        "{}",
        table.out
    );
    assert!(table.out.contains(" GB/month"), "{}", table.out);
    assert!(table.out.contains("110.0 a second by the times in the log"), "{}", table.out);
    let report = json(&shop.run_plainly(&[&args[..], &["--format", "json", "--rate", "1"]].concat()));
    let small = &report["classes"][0]["sizes"][0];
    // One MiB a second, two thirds of it to another zone.
    let moved = small["zone_gb_per_month"].as_f64().unwrap();
    assert!((moved - 1.048_576e-3 * 2_628_000.0 * 2.0 / 3.0).abs() < 1e-6, "{small}");
    let loads = small["loads_per_s"].as_f64().unwrap();
    assert!((loads - 10.0 / 1_100.0).abs() < 1e-9, "the remote tier holds all ten: {small}");
}

#[test]
fn a_running_server_tells_what_an_entry_takes() {
    let shop = Shop::new();
    let log = log(&shop);
    let server = shop.serve(&[]);
    assert!(server.redis("GET product:42").contains("Trail shoe"));
    let args = ["analyze", "cost", &log, "--http", &server.http, "--format", "json"];
    let report = json(&shop.run(&args));
    let entry = &report["classes"][0]["entry"];
    assert_eq!(entry["from"], "the running server");
    assert!((100..2_000).contains(&entry["bytes"].as_u64().unwrap()), "{entry}");
    assert_eq!(report["measured_transfer"], serde_json::Value::Null, "it has no remote tier");
    let logged = json(&shop.run_plainly(&["analyze", "cost", &log, "--format", "json"]));
    assert_eq!(logged["classes"][0]["entry"]["bytes"], 1_000);
}
