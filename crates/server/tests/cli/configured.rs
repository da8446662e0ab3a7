//! `trueup serve` with a `trueup.toml`.

use crate::support::Shop;

const CONFIG: &str = r#"
[server]
resp = "127.0.0.1:0"

[class.city]
query = "SELECT count(*) AS products, total(price) AS value FROM product WHERE city = :city"
key = ["city"]
scope = []
invalidation = ["product:city"]

[class.range]
query = "SELECT id, name FROM product WHERE city = :city ORDER BY id"
rows = "many"
key = ["city"]
scope = []

[class.offer]
query = "SELECT name, price FROM product WHERE id = :id AND city = :city"
key = ["id"]
scope = ["city"]

[class.price]
purpose = "decision"
table = "product"
key = ["id"]

[class.search.key.parameters]
q = { type = "text", case = "lower" }
sort = { type = "enum", values = ["price", "name"], default = "name" }

[class.search]
query = "SELECT :q AS q, :sort AS sort, count(*) AS found FROM product WHERE lower(name) LIKE '%' || :q || '%'"
scope = []
"#;

#[test]
fn queries_follow_the_tables_they_read() {
    let shop = Shop::new();
    shop.file("trueup.toml", CONFIG);
    let server = shop.serve(&[]);
    assert_eq!(server.redis("GET city:Turin"), r#"{"products":1,"value":900.0}"#);
    assert_eq!(server.redis("GET city:Delft"), r#"{"products":1,"value":100.0}"#);
    assert_eq!(server.redis("GET range:Delft"), r#"[{"id":43,"name":"Hat"}]"#);
    assert_eq!(server.redis("GET range:Nowhere"), "[]");
    shop.sql("INSERT INTO product VALUES (44, 'Sock', 5, 'Turin', NULL)");
    server.redis_comes_to("GET city:Turin", r#"{"products":2,"value":905.0}"#);
    server.redis_comes_to("GET range:Turin", r#"[{"id":42,"name":"Trail shoe"},{"id":44,"name":"Sock"}]"#);
    shop.sql("UPDATE product SET city = 'Delft' WHERE id = 44");
    server.redis_comes_to("GET city:Turin", r#"{"products":1,"value":900.0}"#);
    server.redis_comes_to("GET city:Delft", r#"{"products":2,"value":105.0}"#);
}

#[test]
fn a_scope_is_part_of_the_question() {
    let shop = Shop::new();
    shop.file("trueup.toml", CONFIG);
    let server = shop.serve(&[]);
    assert_eq!(server.redis("GET offer@city=Turin:42"), r#"{"name":"Trail shoe","price":900}"#);
    assert_eq!(server.redis("GET offer@city=Delft:42"), "$-1", "within another scope it is another row");
    assert!(
        server.redis("GET offer:42").starts_with("-ERR class `offer`: scope dimension `city` is missing")
    );
    assert!(server.get("/v1/offer/42", "Trueup-Scope: city=Turin\r\n").ends_with("\"price\":900}"));
}

#[test]
fn decisions_and_parameters_are_served_as_planned() {
    let shop = Shop::new();
    shop.file("trueup.toml", CONFIG);
    let server = shop.serve(&[]);
    assert!(server.get("/v1/price/42", "").contains("cache-control: no-store"));
    let search = server.get("/v1/search?q=SHOE&utm_source=x", "");
    assert!(search.ends_with(r#"{"q":"shoe","sort":"name","found":1}"#), "{search}");
    shop.sql("INSERT INTO product VALUES (45, 'Shoe box', 5, 'Turin', NULL)");
    crate::support::until(
        || server.get("/v1/search?q=shoe", "").contains(r#""found":2"#),
        || server.get("/v1/search?q=shoe", ""),
    );
    assert!(
        server.redis("GET product:42").starts_with("-ERR unknown class"),
        "what is not declared is not served"
    );
}

#[test]
fn a_configuration_that_no_longer_holds_leaves_the_old_one_in_force() {
    let shop = Shop::new();
    shop.file("trueup.toml", CONFIG);
    let server = shop.serve(&[]);
    shop.file("trueup.toml", "[class.city\n");
    server.signal("HUP");
    assert_eq!(server.redis("GET city:Turin"), r#"{"products":1,"value":900.0}"#);
    server.signal("TERM");
    let ended = server.ends();
    assert_eq!(ended.code, 0, "{ended:?}");
}

#[test]
fn a_class_that_knows_its_keys_answers_for_absent_ones_and_says_how() {
    let shop = Shop::new();
    let filtered = "[server]\nresp = \"127.0.0.1:0\"\n[class.product]\ntable = \"product\"\nkey = \"id\"\n\
        bloom = { entries = 1_000 }\n";
    shop.file("trueup.toml", filtered);
    let server = shop.serve(&[]);
    let metrics = || server.get("/metrics", "");
    crate::support::until(|| metrics().contains(r#"trueup_bloom_answering{class="product"} 1"#), metrics);
    let absent = server.get("/v1/product/777", "");
    assert!(absent.contains("trueup; hit; detail=filter"), "{absent}");
    assert_eq!(server.redis("GET product:778"), "$-1");
    assert!(server.redis("GET product:42").contains("Trail shoe"));
    for line in [
        r#"trueup_bloom_rejected_total{class="product"} 2"#,
        r#"trueup_bloom_passed_total{class="product"} 1"#,
        r#"trueup_bloom_builds_total{class="product"} 1"#,
        r#"trueup_reads_total{class="product",served_by="filter"} 2"#,
    ] {
        assert!(metrics().contains(line), "{line} is not in\n{}", metrics());
    }
    assert!(server.get("/readyz", "").ends_with("ready\n"));
    let explained = server.get("/v1/explain/product/779", "");
    assert!(explained.contains("by the keys there are, no such row exists"), "{explained}");
    assert!(explained.contains(r#""state":"answering""#), "{explained}");
    shop.sql("INSERT INTO product VALUES (777, 'Late', 5, 'Turin', NULL)");
    crate::support::until(
        || server.redis("GET product:777").contains("Late"),
        || server.redis("GET product:777"),
    );
}

#[test]
fn a_filter_that_cannot_be_had_is_an_error_that_says_what_to_do() {
    let shop = Shop::new();
    let filtered =
        "[class.product]\ntable = \"product\"\nkey = \"id\"\nbloom = { entries = 1_000_000_000 }\n";
    shop.file("trueup.toml", filtered);
    let ended = shop.run(&["serve", "--install-feed"]);
    assert_ne!(ended.code, 0, "{ended:?}");
    assert!(ended.err.contains("bloom_max"), "{ended:?}");
}
