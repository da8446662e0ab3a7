//! `trueup analyze keys`.

use std::{
    io::Write as _,
    process::{Output, Stdio},
};

use super::{json, line};
use crate::support::Shop;

const CONFIG: &str = r#"
[warm]
routes = ["search=/search?{query}"]

[class.search.key]
ignore = ["session", "x_*"]
unicode = "nfkc"

[class.search.key.parameters]
q = { type = "text", case = "lower" }
in_stock = { type = "boolean" }
page = { type = "number", default = 1 }
max_price = { type = "number" }
sort = { type = "enum", case = "lower", values = ["price", "rating"], default = "rating" }
tag = { type = "text", case = "lower", repeated = "set" }

[class.search]
query = "SELECT :q AS q, :in_stock AS s, :page AS p, :max_price AS m, :sort AS o, :tag AS t, count(*) AS found FROM product"
scope = []
"#;

/// One question, spelled in 47 ways.
const SPELLINGS: [&str; 47] = [
    "q=red+caf%C3%A9&in_stock=true&max_price=50&tag=new&tag=sale",
    "in_stock=true&q=red+caf%C3%A9&max_price=50&tag=new&tag=sale",
    "max_price=50&in_stock=true&q=red+caf%C3%A9&tag=new&tag=sale",
    "tag=new&max_price=50&in_stock=true&q=red+caf%C3%A9&tag=sale",
    "tag=sale&tag=new&q=red+caf%C3%A9&in_stock=true&max_price=50",
    "tag=sale&tag=new&tag=sale&q=red+caf%C3%A9&in_stock=true&max_price=50",
    "q=red%20caf%C3%A9&in_stock=true&max_price=50&tag=new&tag=sale",
    "q=red%20caf%c3%a9&in_stock=true&max_price=50&tag=new&tag=sale",
    "q=%72%65%64+caf%C3%A9&in_stock=true&max_price=50&tag=new&tag=sale",
    "q=red+cafe%CC%81&in_stock=true&max_price=50&tag=new&tag=sale",
    "q=%EF%BD%92ed+caf%C3%A9&in_stock=true&max_price=50&tag=new&tag=sale",
    "q=Red+Caf%C3%A9&in_stock=true&max_price=50&tag=new&tag=sale",
    "q=RED+CAF%C3%89&in_stock=true&max_price=50&tag=new&tag=sale",
    "q=++red+caf%C3%A9&in_stock=true&max_price=50&tag=new&tag=sale",
    "q=red+caf%C3%A9++&in_stock=true&max_price=50&tag=new&tag=sale",
    "q=red++caf%C3%A9&in_stock=true&max_price=50&tag=new&tag=sale",
    "q=red%09caf%C3%A9&in_stock=true&max_price=50&tag=new&tag=sale",
    "q=red+caf%C3%A9&in_stock=True&max_price=50&tag=new&tag=sale",
    "q=red+caf%C3%A9&in_stock=TRUE&max_price=50&tag=new&tag=sale",
    "q=red+caf%C3%A9&in_stock=1&max_price=50&tag=new&tag=sale",
    "q=red+caf%C3%A9&in_stock=yes&max_price=50&tag=new&tag=sale",
    "q=red+caf%C3%A9&in_stock=on&max_price=50&tag=new&tag=sale",
    "q=red+caf%C3%A9&in_stock=t&max_price=50&tag=new&tag=sale",
    "q=red+caf%C3%A9&in_stock=true&max_price=50.0&tag=new&tag=sale",
    "q=red+caf%C3%A9&in_stock=true&max_price=050&tag=new&tag=sale",
    "q=red+caf%C3%A9&in_stock=true&max_price=%2B50&tag=new&tag=sale",
    "q=red+caf%C3%A9&in_stock=true&max_price=5e1&tag=new&tag=sale",
    "q=red+caf%C3%A9&in_stock=true&max_price=50&tag=New&tag=SALE",
    "q=red+caf%C3%A9&in_stock=true&max_price=50&tag=+new&tag=sale+",
    "q=red+caf%C3%A9&in_stock=true&max_price=50&tag=new&tag=sale&page=1",
    "q=red+caf%C3%A9&in_stock=true&max_price=50&tag=new&tag=sale&page=01",
    "q=red+caf%C3%A9&in_stock=true&max_price=50&tag=new&tag=sale&page=1.0",
    "q=red+caf%C3%A9&in_stock=true&max_price=50&tag=new&tag=sale&sort=rating",
    "q=red+caf%C3%A9&in_stock=true&max_price=50&tag=new&tag=sale&sort=Rating",
    "sort=rating&page=1&q=red+caf%C3%A9&in_stock=true&max_price=50&tag=new&tag=sale",
    "%71=red+caf%C3%A9&in%5Fstock=true&max_price=50&tag=new&tag=sale",
    "q=red+caf%C3%A9&in_stock=true&max_price=50&tag=new&tag=sale&utm_source=mail",
    "utm_source=mail&utm_medium=x&q=red+caf%C3%A9&in_stock=true&max_price=50&tag=new&tag=sale",
    "q=red+caf%C3%A9&gclid=abc&in_stock=true&max_price=50&tag=new&tag=sale",
    "q=red+caf%C3%A9&in_stock=true&max_price=50&tag=new&tag=sale&fbclid=1&ScCid=2",
    "q=red+caf%C3%A9&in_stock=true&max_price=50&tag=new&tag=sale&UTM_CAMPAIGN=may",
    "q=red+caf%C3%A9&in_stock=true&max_price=50&tag=new&tag=sale&session=42",
    "q=red+caf%C3%A9&in_stock=true&max_price=50&tag=new&tag=sale&x_debug=1&X_trace=2",
    "&q=red+caf%C3%A9&in_stock=true&max_price=50&tag=new&tag=sale",
    "q=red+caf%C3%A9&&in_stock=true&max_price=50&tag=new&tag=sale&",
    "tag=SALE&q=+RED%0Acafe%CC%81&page=01&max_price=050.00&gclid=z&in_stock=Y&tag=new&tag=New&sort=RATING",
    "q=red%20caf%C3%A9&in_stock=%74rue&max_price=5%30&tag=%6Eew&tag=sale",
];
const ROUNDS: u64 = 20;

/// An access log in which the question is asked so often in each way.
fn log(shop: &Shop) -> String {
    let all = (0..ROUNDS).flat_map(|round| SPELLINGS.map(|query| line(&format!("/search?{query}"), round)));
    shop.file("access.log", &all.collect::<String>()).display().to_string()
}

#[test]
fn forty_seven_spellings_are_one_key_by_the_plan_of_the_class() {
    let shop = Shop::new();
    let log = log(&shop);
    let config = shop.file("search.toml", CONFIG).display().to_string();
    assert_eq!(shop.run(&["init", "--apply"]).code, 0);
    let ended = shop.run(&["analyze", "keys", &log, "--config", &config, "--format", "json"]);
    assert_eq!(ended.code, 0, "the cache holds it once already: {ended:?}");
    let report = json(&ended);
    let class = &report["classes"][0];
    assert_eq!((&class["class"], &class["requests"]), (&"search".into(), &940.into()));
    assert_eq!(
        (&class["own_form"], &class["exact"], &class["factor"]),
        (&true.into(), &true.into(), &47.0.into())
    );
    assert_eq!(class["as_written"]["entries"], 47);
    assert_eq!(class["as_written"]["bytes"], 47_000, "by the mean answer of the log");
    assert_eq!(class["as_written"]["hit_rate"], 0.95);
    assert_eq!(class["normal_form"]["entries"], 1);
    assert_eq!(class["normal_form"]["hit_rate"], 939.0 / 940.0);
    let worst = &class["worst"][0];
    assert_eq!(worst["key"], "in_stock=true&max_price=50&q=red%20café&tag=new&tag=sale");
    assert_eq!((&worst["spellings"], &worst["requests"]), (&47.into(), &940.into()));
    let found: Vec<&String> = class["differences"].as_object().unwrap().keys().collect();
    let expected = [
        "order", "case", "space", "boolean", "number", "default", "ignored", "encoding", "unicode",
        "repeated",
    ];
    for one in expected {
        assert!(found.iter().any(|name| *name == one), "{one} is missing: {found:?}");
    }
    assert_eq!(class["differences"]["boolean"], 7, "{class}");
    assert_eq!(class["differences"]["default"], 7, "{class}");
    let parameters = class["parameters"].as_array().unwrap();
    let standing = |name: &str| {
        parameters.iter().find(|one| one["parameter"] == name).map(|one| one["standing"].as_str().unwrap())
    };
    assert_eq!(standing("q"), Some("declared"));
    assert_eq!((standing("session"), standing("utm_source")), (Some("ignored"), Some("ignored")));

    let args = ["analyze", "keys", &log, "--config", &config, "--entry-size", "2KiB", "--examples", "8"];
    let table = shop.run(&args).out;
    for part in [
        "class search: 940 requests, 47 spellings of 1 key: 47.0 times as many entries",
        "as written   47       94.0 KiB  95.0%",
        "normal form  1        2.0 KiB   99.9%",
        "47 spellings, 940 requests: in_stock=true",
        "  order, repeated value  tag=sale&tag=new&tag=sale",
        "session     ",
    ] {
        assert!(table.contains(part), "{part}: {table}");
    }
}

#[test]
fn without_a_plan_what_the_values_look_like_decides_and_is_a_finding() {
    let shop = Shop::new();
    let mut text = String::new();
    for n in 0..200_u64 {
        let token = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let query =
            ["q=Red+Shoes&stock=true", "stock=1&q=red++shoes", "q=red%20shoes&stock=yes"][n as usize % 3];
        text.push_str(&line(&format!("/search?{query}&rt={token:016x}"), n));
    }
    let log = shop.file("tokens.log", &text).display().to_string();
    let args = ["analyze", "keys", &log, "--route", "search=/search?{query}", "--format", "json"];
    let with_token = shop.run_plainly(&args);
    assert_eq!(with_token.code, 0, "each token is another value, as far as anybody knows: {with_token:?}");
    let report = json(&with_token);
    let class = &report["classes"][0];
    assert_eq!((&class["own_form"], &class["normal_form"]["entries"]), (&false.into(), &200.into()));
    let parameters = class["parameters"].as_array().unwrap();
    let token = parameters.iter().find(|one| one["parameter"] == "rt").unwrap();
    assert_eq!((&token["values"], &token["requests"]), (&200.into(), &200.into()));
    assert!(token["suggestion"].as_str().unwrap().starts_with("ignore = [\"rt\"]"), "{token}");

    let mut without = args.to_vec();
    without.extend(["--ignore", "rt"]);
    let ended = shop.run_plainly(&without);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.err.contains("1 key is spelled in several ways; declare"), "{ended:?}");
    let report = json(&ended);
    let worst = &report["classes"][0]["worst"][0];
    assert_eq!((&worst["key"], &worst["requests"]), (&"q=red%20shoes&stock=true".into(), &200.into()));
    let spellings = worst["spellings"].as_u64().unwrap();
    assert!((160..=240).contains(&spellings), "of 200, beyond what is counted exactly: {spellings}");
    assert_eq!(report["classes"][0]["as_written"]["entries"], 200);
}

#[test]
fn columns_are_joined_by_the_database_and_standard_input_is_read() {
    let shop = Shop::new();
    let read = |text: &str, more: &[&str]| -> Output {
        let url = shop.url();
        let mut args =
            vec!["analyze", "keys", "-", "--class", "product", "--format", "json", "--source", &url];
        args.extend(more);
        let mut command = shop.trueup(&args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = trueup_testbed::spawn(command).unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    assert_eq!(shop.run(&["init", "--apply"]).code, 0);
    let output = read("42\n042\n42.0\n%342\nshoe\n43\n", &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["requests"], &report["unknown"]), (&5.into(), &1.into()), "a shoe is no number");
    let class = &report["classes"][0];
    assert_eq!((&class["as_written"]["entries"], &class["normal_form"]["entries"]), (&5.into(), &2.into()));
    assert_eq!((&class["differences"]["number"], &class["differences"]["encoding"]), (&2.into(), &1.into()));
    assert_eq!(class["as_written"]["bytes"], serde_json::Value::Null, "nobody tells what an entry takes");
    let output = read("42\n042\n", &["--as-written"]);
    assert_eq!(output.status.code(), Some(1), "by the values alone: {output:?}");
}
