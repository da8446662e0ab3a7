//! `trueup init` and `trueup check`.

use crate::support::{Shop, ours};

#[test]
fn nothing_is_put_into_the_database_unasked() {
    let shop = Shop::new();
    let before = std::fs::read(shop.path()).unwrap();
    let shown = shop.run(&["init"]);
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(
        shown.out.contains("[class.product]") && shown.out.contains("never_columns = [\"password\"]"),
        "{}",
        shown.out
    );
    assert!(shown.out.contains("# The database was not changed") && shown.out.contains("CREATE TRIGGER"));
    assert!(shown.out.contains("\"otp\": its name looks like a one-time code"), "{}", shown.out);
    assert_eq!(std::fs::read(shop.path()).unwrap(), before);
}

#[test]
fn what_is_put_in_is_taken_out_again() {
    let shop = Shop::new();
    assert_eq!(shop.run(&["init", "--apply"]).code, 0);
    assert!(!ours(&shop.path()).is_empty());
    let again = shop.run(&["init", "--apply"]);
    assert!(again.out.contains("# The feed is in place; nothing is missing."), "{again:?}");
    let removed = shop.run(&["init", "--remove"]);
    assert!(removed.code == 0 && removed.out.contains("# DROP TABLE"), "{removed:?}");
    assert_eq!(ours(&shop.path()), [""; 0]);
    assert!(shop.run(&["init", "--remove"]).out.contains("Nothing of Trueup was in the database"));
}

#[test]
fn what_init_prints_is_a_configuration_that_serves() {
    let shop = Shop::new();
    let printed = shop.run(&["init", "--apply"]);
    shop.file("trueup.toml", &printed.out);
    let server = shop.serve(&[]);
    assert!(server.redis("GET product:42").starts_with(r#"{"id":42"#));
}

#[test]
fn reports_for_programs_are_json() {
    let shop = Shop::new();
    let report = shop.run(&["init", "--format", "json"]);
    let report: serde_json::Value = serde_json::from_str(&report.out).unwrap();
    assert_eq!(report["applied"], false);
    assert!(report["statements"].as_array().unwrap().len() > 5);
}

#[test]
fn check_answers_ten_decisions_with_evidence() {
    let shop = Shop::new();
    let unprepared = shop.run(&["check"]);
    assert_eq!(unprepared.code, 1, "{unprepared:?}");
    assert!(unprepared.err.contains("no feed is installed"), "{unprepared:?}");
    shop.run(&["init", "--apply"]);
    let clean = shop.run(&["check", "--format", "json"]);
    assert_eq!(clean.code, 0, "{clean:?}");
    let report: serde_json::Value = serde_json::from_str(&clean.out).unwrap();
    let answers = report["answers"].as_array().unwrap();
    assert_eq!(answers.iter().filter(|answer| answer["class"] == "product").count(), 10);
    assert!(
        answers.iter().all(|answer| answer["evidence"].as_str().is_some_and(|text| !text.is_empty())),
        "{answers:?}"
    );
    assert!(report["notes"].to_string().contains("one-time code"), "{report}");
    let table = shop.run(&["check"]).out;
    assert!(table.contains("product  consistency bound  at most 1s old"), "{table}");
}

#[test]
fn check_finds_what_does_not_hold() {
    let shop = Shop::new();
    shop.run(&["init", "--apply"]);
    shop.file("trueup.toml", "[class.thing]\ntable = \"thing\"\nkey = [\"id\"]\n");
    let found = shop.run(&["check"]);
    assert_eq!(found.code, 1, "{found:?}");
    assert!(found.out.contains("there is no such table") && found.err.contains("1 finding"), "{found:?}");
    shop.file("trueup.toml", "[class.thing]\nlife = 5\n");
    let wrong = shop.run(&["check"]);
    assert_eq!(wrong.code, 1, "{wrong:?}");
    assert!(wrong.err.contains("trueup.toml:2:8: class.thing.life"), "{wrong:?}");
}

#[test]
fn check_says_once_that_triggers_are_outdated() {
    let shop = Shop::new();
    shop.run(&["init", "--apply"]);
    shop.sql("CREATE UNIQUE INDEX by_name ON product (name)");
    let found = shop.run(&["check", "--format", "json"]);
    assert_eq!(found.code, 1, "{found:?}");
    let report: serde_json::Value = serde_json::from_str(&found.out).unwrap();
    assert!(!report["notes"].to_string().contains("product"), "{report}");
    let findings = report["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 1, "{report}");
    assert_eq!(findings[0]["subject"], "table product");
    assert_eq!(
        findings[0]["problem"],
        "its key or a unique index was changed since the feed was installed; run `trueup init --apply` again"
    );
}

#[test]
fn check_holds_hit_rates_of_a_server_against_the_floor() {
    let shop = Shop::new();
    let class = "[class.product]\ntable = \"product\"\nkey = [\"id\"]\nhit_rate_floor = \"99.9%\"\n";
    shop.file("trueup.toml", class);
    let server = shop.serve(&[]);
    let unasked = shop.run(&["check"]);
    assert!(unasked.code == 0 && unasked.out.contains("no server was asked"), "{unasked:?}");
    let few = shop.run(&["check", "--http", &server.http]);
    assert!(few.code == 0 && few.out.contains("0 reads so far"), "{few:?}");
    // Keys that are never asked for twice: none of them is a hit.
    let keys: Vec<String> = (1_000..2_000).map(|id| format!("product:{id}")).collect();
    server.redis(&format!("MGET {}", keys.join(" ")));
    let low = shop.run(&["check", "--http", &server.http]);
    assert_eq!(low.code, 1, "{low:?}");
    assert!(low.out.contains("hit rate 0.0% of 1000 reads, floor 99.9%; look at"), "{low:?}");
    let nobody = shop.run(&["check", "--http", "127.0.0.1:1"]);
    assert_eq!(nobody.code, 3, "{nobody:?}");
}

#[test]
fn check_answers_with_what_a_running_server_has_counted_and_names_what_contradicts_the_plan() {
    let shop = Shop::new();
    let server = shop.serve(&[]);
    server.redis("GET product:1");
    let well = shop.run(&["check", "--http", &server.http, "--format", "json"]);
    assert_eq!(well.code, 0, "{well:?}");
    let report: serde_json::Value = serde_json::from_str(&well.out).unwrap();
    let evidence = |decision: &str| {
        let answers = report["answers"].as_array().unwrap();
        let of = |one: &&serde_json::Value| one["class"] == "product" && one["decision"] == decision;
        answers.iter().find(of).unwrap()["evidence"].as_str().unwrap().to_owned()
    };
    assert!(evidence("pattern").contains("1 reads, 1 loads, 0 failed"), "{report}");
    assert!(evidence("invalidation").contains("if it fails silently: nothing is proven after"), "{report}");
    assert!(evidence("size").contains("1 entries"), "{report}");
    shop.file("trueup.toml", "[class.other]\ntable = \"product\"\nkey = [\"id\"]\n");
    let gap = shop.run(&["check", "--http", &server.http]);
    assert!(gap.code == 1 && gap.out.contains("does not serve it; restart it with this plan"), "{gap:?}");
}
