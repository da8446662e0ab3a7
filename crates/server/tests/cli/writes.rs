//! `PUT` and `DELETE` of rows, by the pattern of the class.

use rusqlite::Connection;

use crate::support::{Shop, until};

const CONFIG: &str = r#"
[defaults]
max_staleness = "1min"

[write_behind]
journal = "journal"
flush_every = "20ms"

[class.product]
table = "product"
key = ["id"]
pattern = "write-through"

[class.stock]
table = "stock"
key = ["warehouse", "product"]
pattern = "write-behind"
loss = "counts of the last moment, if the disk is lost"
invalidation = { owner = "warehouse", reason = "shown only" }
life = "1min"

[class.old]
table = "stock"
key = ["warehouse", "product"]
pattern = "delete-update-delete"
second_delete_after = "50ms"
invalidation = { owner = "warehouse", reason = "to compare" }
life = "1min"
"#;

fn header<'r>(response: &'r str, name: &str) -> Option<&'r str> {
    response.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[test]
fn a_row_is_written_through_the_cache_and_read_from_memory() {
    let shop = Shop::new();
    shop.file("trueup.toml", CONFIG);
    let server = shop.serve(&[]);
    // A server that has just started may keep nothing yet beyond the feed's first message.
    let first = server.send("PUT", "/v1/product/42", "", r#"{"price": 6}"#);
    let kept = 2 + u32::from(header(&first, "trueup-published") == Some("kept"));
    until(
        || server.get("/v1/product/42", "").contains("trueup-served-by: l1"),
        || server.get("/v1/product/42", ""),
    );
    let put = server.send("PUT", "/v1/product/42", "", r#"{"price": 7}"#);
    assert!(put.starts_with("HTTP/1.1 204"), "{put}");
    assert_eq!(header(&put, "trueup-published"), Some("kept"));
    let etag = header(&put, "etag").unwrap().to_owned();
    let seen = server.get("/v1/product/42", "");
    assert!(seen.contains("\"price\":7") && seen.contains("trueup-served-by: l1"), "{seen}");
    assert_eq!(header(&seen, "etag"), Some(&*etag));
    let token = format!("Trueup-Token: {}\r\n", header(&put, "trueup-token").unwrap());
    assert!(server.get("/v1/product/42", &token).contains("\"price\":7"));
    let gone = server.send("DELETE", "/v1/product/43", "", "");
    assert!(gone.starts_with("HTTP/1.1 204"), "{gone}");
    assert!(server.get("/v1/product/43", "").starts_with("HTTP/1.1 404"));
    for (body, problem) in [
        ("7", "bad-row"),
        (r#"{"colour": "red"}"#, "bad-row"),
        (r#"{"password": "hunter3"}"#, "bad-row"),
        (r#"{"id": 44}"#, "bad-row"),
    ] {
        let refused = server.send("PUT", "/v1/product/42", "", body);
        assert!(refused.starts_with("HTTP/1.1 400") && refused.contains(problem), "{body}: {refused}");
        assert!(!refused.contains("hunter3"));
    }
    let metrics = server.get("/metrics", "");
    let counted = format!("trueup_publications_total{{class=\"product\",outcome=\"kept\"}} {kept}\n");
    assert!(metrics.contains(&counted), "{metrics}");
}

#[test]
fn a_row_is_written_behind_and_reaches_the_file_before_the_server_ends() {
    let shop = Shop::new();
    shop.file("trueup.toml", CONFIG);
    let server = shop.serve(&[]);
    let other = Connection::open(shop.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let put = server.send("PUT", "/v1/stock/north,42", "", r#"{"count": 8}"#);
    assert!(put.starts_with("HTTP/1.1 202") && header(&put, "trueup-accepted") == Some("1"), "{put}");
    assert_eq!(header(&put, "trueup-token"), None);
    let seen = server.get("/v1/stock/north,42", "");
    assert!(seen.contains("\"count\":8") && seen.contains("trueup-served-by: pending"), "{seen}");
    assert!(seen.contains("cache-control: no-store") && header(&seen, "trueup-token").is_none(), "{seen}");
    assert!(server.redis("GET stock:north,42").contains("\"count\":8"));
    let metrics = server.get("/metrics", "");
    assert!(metrics.contains("\ntrueup_write_behind_pending{} 1\n"), "{metrics}");
    other.execute_batch("ROLLBACK").unwrap();
    until(
        || server.get("/metrics", "").contains("\ntrueup_write_behind_applied_total{} 1\n"),
        || server.get("/metrics", ""),
    );
    for count in 9..30 {
        server.send("PUT", "/v1/stock/north,42", "", &format!("{{\"count\": {count}}}"));
    }
    server.signal("TERM");
    assert_eq!(server.ends().code, 0);
    let count: i64 = other.query_row("SELECT count FROM stock", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 29);
    let check = shop.run(&["check"]);
    assert!(check.out.contains("write-behind; what may be lost: counts of the last moment"), "{check:?}");
    assert!(check.out.contains("the journal in journal takes"), "{check:?}");
}

#[test]
fn what_is_not_written_here_says_where() {
    let shop = Shop::new();
    let server = shop.serve(&[]);
    let refused = server.send("PUT", "/v1/product/42", "", r#"{"price": 7}"#);
    assert!(
        refused.starts_with("HTTP/1.1 405") && refused.contains("write to the database of record"),
        "{refused}"
    );
    drop(server);
    shop.file(
        "trueup.toml",
        &CONFIG.replace("[write_behind]\njournal = \"journal\"\nflush_every = \"20ms\"\n", ""),
    );
    let missing = shop.run(&["serve", "--install-feed"]);
    assert!(missing.code == 2 && missing.err.contains("no journal is named"), "{missing:?}");
}

#[test]
fn a_class_that_deletes_twice_is_written_too() {
    let shop = Shop::new();
    shop.file("trueup.toml", CONFIG);
    let server = shop.serve(&[]);
    assert!(server.get("/v1/old/north,42", "").contains("\"count\":7"));
    let put = server.send("PUT", "/v1/old/north,42", "", r#"{"count": 9}"#);
    assert!(put.starts_with("HTTP/1.1 204") && header(&put, "trueup-published") == Some("not_kept"), "{put}");
    until(
        || server.get("/v1/old/north,42", "").contains("\"count\":9"),
        || server.get("/v1/old/north,42", ""),
    );
}
