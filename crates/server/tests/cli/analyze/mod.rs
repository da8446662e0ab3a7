//! `trueup analyze`: what access logs, and what a running server has measured, tell.

mod cost;
mod keys;
mod mrc;
mod ttl;

use crate::support::{Ended, Shop};

/// What a command said as JSON.
#[track_caller]
fn json(ended: &Ended) -> serde_json::Value {
    serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

/// One line of Common Log Format.
fn line(url: &str, second: u64) -> String {
    let (minute, second) = (second / 60, second % 60);
    format!("10.0.0.1 - - [26/Nov/2026:04:{minute:02}:{second:02} +0000] \"GET {url} HTTP/1.1\" 200 1000\n")
}

#[test]
fn mistakes_are_named_with_what_to_do() {
    let shop = Shop::new();
    let log = shop.file("access.log", &line("/v1/product/42", 0)).display().to_string();
    let other = shop.file("other.log", "/favicon.ico\n").display().to_string();
    let counted = shop.file("counted.list", "7\tproduct 42\n").display().to_string();
    let packed = shop.folder.path().join("access.log.gz");
    std::fs::write(&packed, b"\x1f\x8b\x08\0").unwrap();
    let packed = packed.display().to_string();
    for (args, code, words) in [
        (vec!["keys", "nope.log"], 2, "nope.log: No such file"),
        (vec!["keys", &packed], 2, "is compressed: unpack it first, as in `zcat "),
        (vec!["keys", &other], 1, "name the shape of its URLs with --route"),
        (vec!["keys", &log, "--default-value", "page"], 2, "write NAME=VALUE"),
        (vec!["mrc", &other], 1, "name the shape of its URLs with --route"),
        (vec!["mrc", &counted], 2, "give the log itself"),
        (vec!["mrc", &log, "--policy", "best"], 2, "use one of s3-fifo, lru, lfu, fifo, sieve"),
        (vec!["mrc", &log, "--sizes", "64MiB"], 2, "--entry-size 2KiB"),
        (vec!["mrc", &log, "--sample", "0%"], 2, "nothing would be replayed"),
        (vec!["cost", &log, "--entry-size", "1KiB"], 2, "--rate 120"),
        (vec!["cost", &log, "--rate", "0"], 2, "above 0"),
        (vec!["cost", &log, "--zones", "3", "--cross-zone", "10%"], 2, "cannot be used with"),
        (vec!["cost", &log, "--http", "127.0.0.1:1"], 3, "does not answer"),
        (vec!["ttl", "--http", "127.0.0.1:1"], 2, "no database is named"),
    ] {
        let mut all = vec!["analyze"];
        all.extend(&args);
        let ended = shop.run_plainly(&all);
        assert_eq!(ended.code, code, "{args:?}: {ended:?}");
        assert!(ended.err.contains(words), "{args:?}: {}", ended.err);
        assert!(!ended.err.contains("panicked"), "{args:?}: {}", ended.err);
    }
    assert_eq!(shop.run(&["init", "--apply"]).code, 0);
    let unreachable = shop.run(&["analyze", "ttl", "--http", "127.0.0.1:1"]);
    assert!(unreachable.code == 3 && unreachable.err.contains("does not answer"), "{unreachable:?}");
    let unknown = shop.run(&["analyze", "ttl", "--http", "127.0.0.1:1", "--bound", "fees=1h"]);
    assert!(unknown.code == 2 && unknown.err.contains("--bound names no class: \"fees\""), "{unknown:?}");
    let with_plan = shop.run(&["analyze", "keys", &log, "--ignore", "sid"]);
    assert!(with_plan.code == 2 && with_plan.err.contains("the plan says what is ignored"), "{with_plan:?}");
}
