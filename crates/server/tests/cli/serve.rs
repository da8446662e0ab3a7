//! `trueup serve` and `trueup explain`, without configuration.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use crate::support::Shop;

const SHOE: &str = r#"{"id":42,"name":"Trail shoe","price":900,"city":"Turin"}"#;

#[test]
fn tables_are_served_by_primary_key_and_secrets_are_not() {
    let shop = Shop::new();
    let server = shop.serve(&[]);
    assert_eq!(server.redis("GET product:42"), SHOE, "without the password");
    assert_eq!(server.redis("GET stock:north,42"), r#"{"warehouse":"north","product":42,"count":7}"#);
    assert_eq!(server.redis("GET product:7"), "$-1");
    for hidden in ["otp:1", "log:1"] {
        let reply = server.redis(&format!("GET {hidden}"));
        assert!(reply.starts_with("-ERR unknown class; known: product, stock"), "{hidden}: {reply}");
    }
}

#[test]
fn whoever_asks_for_a_table_without_a_class_is_told_why_and_what_to_do() {
    let shop = Shop::new();
    let server = shop.serve(&[]);
    let answer = server.get("/v1/log/1", "");
    let why =
        "table `log` is not served: it has no primary key, so a row has no name; add one (`CREATE TABLE ...";
    assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("unknown-class"), "{answer}");
    assert!(answer.contains(why) && answer.contains("declare a query over"), "{answer}");
    assert!(server.redis("GET log:1").contains(why), "over RESP too");
    let otp = server.get("/v1/otp/1", "");
    assert!(otp.contains("its name looks like a one-time code") && !otp.contains("hunter2"), "{otp}");
    let nothing = server.get("/v1/nothing/1", "");
    assert!(nothing.contains("unknown class") && !nothing.contains("is not served"), "{nothing}");
}

#[test]
fn what_another_program_writes_is_seen() {
    let shop = Shop::new();
    let server = shop.serve(&[]);
    assert_eq!(server.redis("GET product:42"), SHOE);
    shop.sql("UPDATE product SET price = 500 WHERE id = 42");
    server.redis_comes_to("GET product:42", &SHOE.replace("900", "500"));
    shop.sql("DELETE FROM product WHERE id = 42");
    server.redis_comes_to("GET product:42", "$-1");
    shop.sql("INSERT INTO product VALUES (7, 'New', 1, 'Delft', NULL)");
    server.redis_comes_to("GET product:7", r#"{"id":7,"name":"New","price":1,"city":"Delft"}"#);
    let status = server.get("/v1/status", "");
    assert!(status.contains(r#""stale":0"#), "no check found a wrong answer: {status}");
}

#[test]
fn http_serves_the_same() {
    let shop = Shop::new();
    let server = shop.serve(&[]);
    let answer = server.get("/v1/product/42", "");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(SHOE), "{answer}");
    crate::support::until(
        || server.get("/readyz", "").starts_with("HTTP/1.1 200"),
        || server.get("/readyz", ""),
    );
    let metrics = server.get("/metrics", "");
    assert!(metrics.contains(r#"trueup_changes_total{source="sqlite"}"#), "{metrics}");
}

#[test]
fn it_ends_cleanly_when_asked() {
    let shop = Shop::new();
    for signal in ["TERM", "INT"] {
        let server = shop.serve(&[]);
        server.redis("GET product:42");
        server.signal(signal);
        let ended = server.ends();
        assert_eq!(ended.code, 0, "{signal}: {}", ended.err);
        assert_eq!(ended.out, "", "one line was all");
        assert!(!ended.err.contains("hunter2") && !ended.err.contains("Trail"), "{}", ended.err);
    }
}

#[test]
fn a_token_file_opens_it_to_other_machines() {
    let shop = Shop::new();
    let file = shop.file("token", "open-sesame\n");
    let file = file.to_str().unwrap();
    let url = shop.url();
    let server = crate::support::Server::start(shop.trueup(&[
        "serve",
        "--source",
        &url,
        "--install-feed",
        "--resp",
        "0.0.0.0:0",
        "--http",
        "0.0.0.0:0",
        "--token-file",
        file,
    ]));
    assert!(server.redis("GET product:42").starts_with("-NOAUTH"));
    assert!(server.get("/v1/product/42", "").starts_with("HTTP/1.1 401"));
    assert!(server.get("/v1/product/42", "Authorization: Bearer open-sesame\r\n").ends_with(SHOE));
    let explained =
        shop.run_plainly(&["explain", "product", "42", "--http", &server.http, "--token-file", file]);
    assert!(explained.code == 0 && explained.out.contains("product (display)"), "{explained:?}");
}

#[test]
fn explain_asks_a_server_or_looks_for_itself() {
    let shop = Shop::new();
    let server = shop.serve(&[]);
    let cold =
        shop.run_plainly(&["explain", "stock", "north,042", "--http", &server.http, "--format", "json"]);
    let cold: serde_json::Value = serde_json::from_str(&cold.out).unwrap();
    assert_eq!((&cold["canonical_key"], &cold["entry"]), (&"north,42".into(), &serde_json::Value::Null));
    let unknown = shop.run_plainly(&["explain", "prodct", "42", "--http", &server.http]);
    assert_eq!((unknown.code, unknown.err.contains("did you mean `product`?")), (2, true), "{unknown:?}");
    let here = shop.run(&["explain", "product", "42"]);
    assert_eq!(here.code, 0, "{here:?}");
    assert!(here.out.contains("proven through"), "{here:?}");
    for (class, key, words) in [
        ("product", "abc", "class `product`: `id` must be a 64-bit integer, such as 42\n"),
        ("log", "1", "; table `log` is not served: it has no primary key"),
    ] {
        let refused = shop.run(&["explain", class, key]);
        assert_eq!((refused.code, refused.err.contains(words)), (2, true), "{refused:?}");
    }
    let nobody = shop.run_plainly(&["explain", "product", "42", "--http", "127.0.0.1:1"]);
    assert_eq!(nobody.code, 3, "{nobody:?}");
}

#[test]
fn a_database_that_is_locked_is_waited_for() {
    let shop = Shop::new();
    let conn = rusqlite::Connection::open(shop.path()).unwrap();
    conn.execute_batch("PRAGMA locking_mode = exclusive; BEGIN EXCLUSIVE").unwrap();
    let url = shop.url();
    let mut command = shop.trueup(&["serve", "--source", &url, "--install-feed", "--resp", "127.0.0.1:0"]);
    command.args(["--http", "off"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = trueup_testbed::spawn(command).unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let waits = log.find(|line| line.contains("trying again")).expect("it gives up at once");
    assert!(waits.contains("stayed locked"), "{waits}");
    drop(conn);
    let mut out = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut out).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(out.starts_with("listening resp=127.0.0.1:") && out.ends_with(" http=off\n"), "{out}");
}
