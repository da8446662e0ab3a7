//! Hot keys over a restart, out of access logs, and on demand.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
};

use trueup_core::env::unix_ms;

use crate::support::{Server, Shop, until};

const CONFIG: &str = r#"
[warm]
state_dir = "state"
routes = ["product=/products/{key}"]
[class.product]
table = "product"
key = ["id"]
cold_start = "warm"
[class.stock]
table = "stock"
key = ["warehouse", "product"]
"#;
/// Reads of which several are sampled, whatever the threads have read before.
const READS: usize = 20_000;

/// A shop whose products start warm, and the arguments that say so.
fn shop() -> (Shop, String) {
    let shop = Shop::new();
    let config = shop.file("warm.toml", CONFIG).display().to_string();
    (shop, config)
}

fn state(shop: &Shop) -> PathBuf {
    shop.folder.path().join("state").join("hot-keys")
}

/// Reads a key often, over one connection.
fn heat(server: &Server, key: &str) {
    let mut stream = TcpStream::connect(&server.resp).unwrap();
    let mut replies = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    for _ in 0..READS / 500 {
        stream.write_all(format!("EXISTS {key}\r\n").repeat(500).as_bytes()).unwrap();
        (0..500).for_each(|_| {
            line.clear();
            replies.read_line(&mut line).unwrap();
        });
    }
    assert_eq!(line, ":1\r\n");
}

fn metric(server: &Server, line: &str) -> bool {
    server.get("/metrics", "").lines().any(|known| known == line)
}

#[test]
fn a_restarted_server_reads_what_was_hot_before_it_is_ready() {
    let (shop, config) = shop();
    // Long enough to be found in a log only if the log holds it: no time and no duration reads like it.
    shop.sql("INSERT INTO product VALUES (7734077340, 'Trail shoe', 900, 'Turin', NULL)");
    let server = shop.serve(&["--config", &config]);
    assert!(metric(&server, r#"trueup_warm_start{outcome="nothing"} 1"#), "nothing was recorded yet");
    heat(&server, "product:7734077340");
    server.signal("TERM");
    let ended = server.ends();
    assert_eq!(ended.code, 0, "{ended:?}");
    let mode = std::fs::metadata(state(&shop)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "keys may be personal data");

    let server = shop.serve(&["--config", &config]);
    for line in [
        r#"trueup_warm_start{outcome="warm"} 1"#,
        "trueup_warm_start_keys{} 1",
        r#"trueup_warmed_total{class="product",from="source"} 1"#,
    ] {
        assert!(metric(&server, line), "{line}: {}", server.get("/metrics", ""));
    }
    let answer = server.get("/v1/product/7734077340", "");
    assert!(answer.contains("trueup-served-by: l1"), "{answer}");
    let status = server.get("/v1/status", "");
    assert!(status.contains(r#""warm":{"phase":"warm","total":1,"done":1,"warm":1,"#), "{status}");

    // What was recorded can be read again on demand, and what was not is not.
    let ended = shop.run_plainly(&["warm", "--http", &server.http]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let words: Vec<_> = ended.out.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(words, ["product", "1", "1", "0", "0", "0", "0", "0"], "class, keys, hits: {}", ended.out);
    let ended = shop.run_plainly(&["warm", "--http", &server.http, "--class", "stock"]);
    assert!(ended.code == 1 && ended.err.contains("has recorded no hot keys"), "{ended:?}");

    server.signal("TERM");
    let ended = server.ends();
    assert!(ended.err.contains("the recorded hot keys have been read"), "{}", ended.err);
    assert!(!ended.err.contains("7734077340"), "no key in a log: {}", ended.err);
}

#[test]
fn a_damaged_file_or_one_of_another_version_is_named_and_ignored() {
    let (shop, config) = shop();
    std::fs::create_dir(shop.folder.path().join("state")).unwrap();
    for (bytes, why) in [(&b"trueupH1 what is this"[..], "it is damaged"), (b"trueupH0", "another version")] {
        std::fs::write(state(&shop), bytes).unwrap();
        let server = shop.serve(&["--config", &config]);
        assert!(server.redis("GET product:42").contains("Trail shoe"));
        server.signal("TERM");
        let ended = server.ends();
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(ended.err.contains("state/hot-keys") && ended.err.contains(why), "{}", ended.err);
    }
}

#[test]
fn a_class_that_starts_warm_needs_a_place_for_its_keys() {
    let shop = Shop::new();
    let config = CONFIG.replace("state_dir = \"state\"", "");
    let config = shop.file("warm.toml", &config).display().to_string();
    let ended = shop.run(&["serve", "--install-feed", "--config", &config]);
    assert_eq!(ended.code, 2, "{ended:?}");
    let refusal = "class `product` is to start warm, and there is no place to keep its hot keys over a restart: write `state_dir`";
    assert!(ended.err.contains(refusal), "{}", ended.err);
    assert_eq!(shop.run(&["init", "--apply"]).code, 0);
    let ended = shop.run(&["check", "--config", &config]);
    assert!(ended.code == 1 && ended.out.contains("is to start warm"), "{ended:?}");
}

/// An access log: products 42 and 43, spelled in two ways, and what is none.
fn log(shop: &Shop) -> String {
    let mut log = String::new();
    let mut line = |url: &str, status: u16| {
        log.push_str(&format!(
            "10.0.0.1 - - [26/Nov/2026:04:35:30 +0000] \"GET {url} HTTP/1.1\" {status} 5\n"
        ));
    };
    (0..6).for_each(|_| line("/products/42?utm_source=mail", 200));
    (0..3).for_each(|_| line("/products/042", 200));
    (0..2).for_each(|_| line("/v1/product/43", 304));
    line("/products/shoe", 200);
    line("/products/44", 404);
    line("/favicon.ico", 200);
    shop.file("access.log", &log).display().to_string()
}

#[test]
fn an_access_log_tells_what_is_hot_and_a_server_reads_it_ahead() {
    let (shop, config) = shop();
    let log = log(&shop);
    let server = shop.serve(&["--config", &config]);
    let ended = shop.run(&["analyze", "hot", &log, "--config", &config, "--format", "list"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(
        ended.out,
        "# class product: 2 keys in normal form, 100% of 11 requests\n9\tproduct 42\n2\tproduct 43\n"
    );
    let table = shop.run(&["analyze", "hot", &log, "--config", &config, "--top", "1"]).out;
    assert!(
        table.contains("class product: 11 requests") && table.contains("9      0            81.8%    42"),
        "{table}"
    );
    assert!(
        table.contains("11 requests for keys; 2 for something else or failed; 1 with a key of no class"),
        "{table}"
    );
    let as_written =
        shop.run_plainly(&["analyze", "hot", &log, "--route", "product=/products/{key}", "--format", "json"]);
    let report: serde_json::Value = serde_json::from_str(&as_written.out).unwrap();
    assert_eq!(report["normal_form"], false, "no database was named");
    assert_eq!(report["classes"][0]["keys"][1]["key"], "042");
    let other = shop.file("other.log", "/favicon.ico\n").display().to_string();
    let nothing = shop.run_plainly(&["analyze", "hot", &other]);
    assert!(
        nothing.code == 1 && nothing.err.contains("name the shape of its URLs with --route"),
        "{nothing:?}"
    );

    // Its output, and the log itself, can be read ahead.
    let list = shop.file("hot.list", &ended.out).display().to_string();
    for (file, source, hits) in [(&list, 2, 0), (&log, 0, 2)] {
        let warmed = shop.run_plainly(&[
            "warm",
            "--http",
            &server.http,
            "--file",
            file,
            "--config",
            &config,
            "--format",
            "json",
        ]);
        assert_eq!(warmed.code, 0, "{warmed:?}");
        let outcome: serde_json::Value = serde_json::from_str(&warmed.out).unwrap();
        let product = &outcome[0];
        assert_eq!((&product["source"], &product["refused"]), (&source.into(), &0.into()), "{outcome}");
        assert!(product["hits"].as_u64() >= Some(hits), "{outcome}");
    }
    let answer = server.get("/v1/product/43", "");
    assert!(answer.contains("trueup-served-by: l1"), "{answer}");
}

#[test]
fn a_server_reads_an_access_log_ahead_of_the_set_time() {
    let (shop, config) = shop();
    log(&shop);
    // In a while from now, and its window has begun.
    let minutes = unix_ms() / 60_000 % (24 * 60) + 5;
    let at = format!("{:02}:{:02}", minutes / 60 % 24, minutes % 60);
    let more = format!(
        "preheat_file = \"access.log\"\npreheat_at = \"{at}\"\npreheat_window = \"1h\"\n[class.product]"
    );
    let text = std::fs::read_to_string(&config).unwrap().replace("[class.product]", &more);
    let config = shop.file("preheat.toml", &text).display().to_string();
    let server = shop.serve(&["--config", &config]);
    until(|| metric(&server, r#"trueup_preheats_total{outcome="warm"} 1"#), || server.get("/metrics", ""));
    let answer = server.get("/v1/product/42", "");
    assert!(answer.contains("trueup-served-by: l1"), "{answer}");
    server.signal("TERM");
    let ended = server.ends();
    assert!(ended.code == 0 && ended.err.contains("preheated"), "{ended:?}");
}
