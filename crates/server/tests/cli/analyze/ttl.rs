//! `trueup analyze ttl`.

use super::json;
use crate::support::{Shop, until};

const CONFIG: &str = r#"
[class.product]
table = "product"
key = ["id"]

[class.shown]
purpose = "display-balance"
table = "stock"
key = ["warehouse", "product"]
invalidation = { owner = "shop", reason = "the example has no feed for it" }
LIFE

[class.free]
table = "stock"
key = ["warehouse", "product"]
life = "1min"
invalidation = { owner = "shop", reason = "the example has no feed for it" }

[class.price]
purpose = "decision"
table = "product"
key = ["id"]
"#;

#[test]
fn lives_follow_the_lag_that_a_server_has_measured() {
    let shop = Shop::new();
    shop.file("trueup.toml", &CONFIG.replace("LIFE", ""));
    let server = shop.serve(&[]);
    shop.sql("UPDATE product SET price = 901 WHERE id = 42");
    let measured = || {
        server.get("/metrics", "").lines().any(|line| {
            line.starts_with("trueup_invalidation_delay_seconds_count{stage=\"applied\"}")
                && !line.ends_with(" 0")
        })
    };
    until(measured, || server.get("/metrics", ""));
    let args = ["analyze", "ttl", "--http", &server.http];
    let ended = shop.run(&[&args[..], &["--format", "json"]].concat());
    assert_eq!(ended.code, 1, "10 s and the lag are more than 10 s: {ended:?}");
    let report = json(&ended);
    assert!(report["lag"]["changes"].as_u64() >= Some(1), "{report}");
    let most = report["lag"]["max"]["at_most_ms"].as_f64().unwrap();
    let class = |report: &serde_json::Value, name: &str| {
        let classes = report["classes"].as_array().unwrap();
        classes.iter().find(|class| class["class"] == name).unwrap().clone()
    };
    let shown = class(&report, "shown");
    assert_eq!((&shown["ended_by"], &shown["bound_ms"]), (&"age".into(), &10_000.0.into()));
    let derived = shown["derived_ms"].as_f64().unwrap();
    assert!(derived < 10_000.0 && derived <= 10_000.0 - most, "{shown}");
    assert!(shown["derived_shortest_ms"].as_f64().unwrap() < derived, "{shown}");
    assert_eq!(class(&report, "product")["ended_by"], "proof");
    assert_eq!(class(&report, "price")["ended_by"], "nothing");
    let free = class(&report, "free");
    assert!(free["bound_ms"].is_null() && free["problem"].is_null(), "{free}");

    let table = shop.run(&args);
    for part in [
        "no life is needed: the proof ends its entries",
        "never cached: each read asks the source",
        "nothing but its life bounds it: name a bound with --bound",
        "beyond its bound of 10s; write life = ",
        "\n[class.shown]\nlife = \"",
    ] {
        assert!(table.out.contains(part), "{part}: {}", table.out);
    }
    assert!(table.err.contains("1 class does not keep its bound"), "{table:?}");
    let checked = shop.run(&["check", "--http", &server.http]);
    assert!(
        checked.code == 1 && checked.out.contains("beyond its bound of 10s; write life = "),
        "{checked:?}"
    );

    // A life that leaves room for the lag keeps the bound, and so does a wider bound.
    shop.file("trueup.toml", &CONFIG.replace("LIFE", "life = \"5s\""));
    let kept = shop.run(&args);
    assert_eq!(kept.code, 0, "{kept:?}");
    assert!(kept.out.contains("kept"), "{kept:?}");
    let strict = shop.run(&[&args[..], &["--bound", "free=1min"]].concat());
    assert!(strict.code == 1 && strict.out.contains("\n[class.free]\nlife = \""), "{strict:?}");
    let wide = shop.run(&[&args[..], &["--bound", "2h"]].concat());
    assert_eq!(wide.code, 0, "the purpose's own bound stays: {wide:?}");
}
