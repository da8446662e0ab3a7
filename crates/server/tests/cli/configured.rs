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
