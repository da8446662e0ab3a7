//! `trueup analyze mrc`.

use super::{json, line};
use crate::support::{Ended, Shop};

/// Products 0 to 9, a hundred times in a loop, beside one that is asked for every other time.
fn log(shop: &Shop) -> String {
    let pair = |step: u64| line("/v1/hot/1", step) + &line(&format!("/v1/product/{}", step % 10), step);
    shop.file("loop.log", &(0..1_000).map(pair).collect::<String>()).display().to_string()
}

fn ratio(ended: &Ended, class: usize, entries: u64, policy: &str) -> f64 {
    let report = json(ended);
    let sizes = report["classes"][class]["sizes"].as_array().unwrap().clone();
    let size =
        sizes.iter().find(|size| size["entries"] == entries).unwrap_or_else(|| panic!("{entries}: {report}"));
    let ratios = size["miss_ratio"].as_array().unwrap();
    ratios.iter().find(|one| one["policy"] == policy).unwrap()["miss_ratio"].as_f64().unwrap()
}

#[test]
fn a_small_log_misses_what_can_be_counted_by_hand() {
    let shop = Shop::new();
    let log = log(&shop);
    let ended = shop.run_plainly(&["analyze", "mrc", &log, "--format", "json"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let report = json(&ended);
    assert_eq!((&report["requests"], &report["normal_form"]), (&2_000.into(), &false.into()));
    let (hot, product) = (&report["classes"][0], &report["classes"][1]);
    assert_eq!((&hot["keys"], &hot["least_miss_ratio"]), (&1.into(), &0.001.into()));
    assert_eq!((&product["keys"], &product["requests"]), (&10.into(), &1_000.into()));
    assert_eq!(product["least_miss_ratio"], 0.01, "the first request of each of ten keys");
    assert_eq!((&product["enough"], &product["doubling_ends"]), (&10.into(), &10.into()));
    assert_eq!((&product["sample"], &product["left_out"]), (&1.0.into(), &0.into()));
    for policy in ["lru", "fifo"] {
        assert_eq!(ratio(&ended, 1, 5, policy), 1.0, "a loop of ten in five places: {policy}");
    }
    for policy in ["s3-fifo", "lru", "lfu", "fifo", "sieve"] {
        assert_eq!(ratio(&ended, 1, 10, policy), 0.01, "{policy}");
        assert_eq!(ratio(&ended, 0, 1, policy), 0.001, "{policy}");
    }
}

#[test]
fn one_class_chosen_sizes_and_policies_and_a_size_in_bytes() {
    let shop = Shop::new();
    let log = log(&shop);
    let args =
        ["analyze", "mrc", &log, "--class", "product", "--policy", "lru,sieve", "--entry-size", "1KiB"];
    let mut sized = args.to_vec();
    sized.extend(["--sizes", "2,20KiB"]);
    let table = shop.run_plainly(&sized);
    assert_eq!(table.code, 0, "{table:?}");
    for part in [
        "class product: 1000 requests, 10 keys; miss ratios\n",
        "entries  memory    lru      sieve\n",
        "2        2.0 KiB   100.00%  ",
        "20       20.0 KiB  1.00%    1.00%\n",
        "a memory without end would miss 1.00%\n",
        "enough: 20 entries (20.0 KiB), within one point of that (lru)\n",
        "1000 requests for keys; 1000 for something else or failed; 0 with a key of no class\n",
    ] {
        assert!(table.out.contains(part), "{part}: {}", table.out);
    }
    let mut small = args.to_vec();
    small.extend(["--sizes", "3"]);
    let small = shop.run_plainly(&small).out;
    assert!(small.contains("none of these sizes is within one point"), "{small}");
}

#[test]
fn spellings_are_one_key_where_a_database_is_named() {
    let shop = Shop::new();
    assert_eq!(shop.run(&["init", "--apply"]).code, 0);
    let spelled = ["42", "042", "42.0"].map(|key| line(&format!("/v1/product/{key}"), 0)).concat();
    let log = shop.file("spelled.log", &spelled).display().to_string();
    let keys = |ended: &Ended| json(ended)["classes"][0]["keys"].clone();
    assert_eq!(keys(&shop.run(&["analyze", "mrc", &log, "--format", "json"])), 1);
    assert_eq!(keys(&shop.run(&["analyze", "mrc", &log, "--format", "json", "--as-written"])), 3);
}

#[test]
fn a_sample_is_named_and_leaves_out_what_it_cannot_tell() {
    let shop = Shop::new();
    let many: String = (0..40_000).map(|step| format!("product {}\n", step * 7_919 % 10_000)).collect();
    let log = shop.file("many.list", &many).display().to_string();
    let args = ["analyze", "mrc", &log, "--policy", "lru", "--sample", "25%", "--sizes", "50,20000"];
    let table = shop.run_plainly(&args);
    assert_eq!(table.code, 0, "{table:?}");
    assert!(table.out.contains("replayed: one key in 4, with all of its requests\n"), "{}", table.out);
    assert!(table.out.contains("left out: 50 entries, too small for this sample"), "{}", table.out);
    let mut args = args.to_vec();
    args.extend(["--format", "json"]);
    let ended = shop.run_plainly(&args);
    let report = json(&ended);
    let (least, keys) = (&report["classes"][0]["least_miss_ratio"], &report["classes"][0]["keys"]);
    assert!((least.as_f64().unwrap() - 0.25).abs() < 0.02, "a quarter are first requests: {least}");
    assert!(keys.as_u64().unwrap().abs_diff(10_000) < 700, "{keys}");
    assert_eq!(ratio(&ended, 0, 20_000, "lru"), least.as_f64().unwrap(), "all of them fit");
}
