//! Classes of a plan, and from the catalogue without one.

use trueup::{
    Plan,
    catalog::postgres::{discover_classes, install_options, open},
    engine::{class::ClassPlan, proof::Tag, source::Loader as _},
    postgres::discover,
};

use super::support::{connect, server};

#[tokio::test(flavor = "multi_thread")]
async fn without_a_plan_tables_are_classes_by_primary_key_and_secrets_stay_out() {
    let server = server(
        "CREATE TABLE account (id int PRIMARY KEY, name text, password_hash text); INSERT INTO account VALUES (1, 'ann', 'x'); \
         CREATE SCHEMA shop; CREATE TABLE shop.item (tenant text, id int, PRIMARY KEY (tenant, id)); \
         CREATE TABLE event (id int PRIMARY KEY) PARTITION BY RANGE (id); \
         CREATE TABLE event_low PARTITION OF event FOR VALUES FROM (0) TO (10); CREATE TABLE keyless (id int); \
         CREATE TABLE api_token (id int PRIMARY KEY); CREATE TABLE quiet (id int PRIMARY KEY); \
         CREATE PUBLICATION trueup FOR TABLE account, shop.item, event, api_token",
    );
    let postgres = connect(&server).await;
    let tables = discover(&postgres).await.unwrap();
    let mut plan = Plan::default();
    let skipped = discover_classes(&mut plan, &tables, Some(&postgres.followed_tables()));
    let classes: Vec<&str> = plan.classes.keys().map(|name| name.as_str()).collect();
    assert_eq!(classes, ["account", "event", "shop.item"]);
    let reason = |table: &str| &skipped.iter().find(|skipped| skipped.table == table).unwrap().reason;
    assert!(reason("event_low").contains("a part of `event`"));
    assert!(reason("keyless").contains("no primary key"));
    assert!(reason("quiet").contains("not published"));
    assert!(reason("api_token").contains("looks like"));
    let account = open(&postgres, &tables, plan.class("account").unwrap()).await.unwrap();
    let loaded = account.loader.load(&account.form.parse("1").unwrap()).await.unwrap();
    assert_eq!(&loaded.value.unwrap().0[..], br#"{"id": 1, "name": "ann"}"#);
    assert_eq!(&account.whole[..], [Tag::wide("public.account")]);
    let item = open(&postgres, &tables, plan.class("shop.item").unwrap()).await.unwrap();
    assert_eq!(item.form.parse("a,07").unwrap().as_str(), "a,7");
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_of_a_query_are_keys_of_the_types_that_the_database_gives_them() {
    let server = server(
        "CREATE TABLE sale (id int PRIMARY KEY, day date, n int); INSERT INTO sale VALUES (1, '2024-05-01', 3); \
         CREATE PUBLICATION trueup FOR TABLE sale",
    );
    let postgres = connect(&server).await;
    let tables = discover(&postgres).await.unwrap();
    let sql = "SELECT n FROM sale WHERE n >= :least ORDER BY id LIMIT 1";
    let plan = ClassPlan::display("best").query(sql).key(["least"]).same_for_everyone().build().unwrap();
    let best = open(&postgres, &tables, &plan).await.unwrap();
    assert_eq!(best.form.parse("002").unwrap(), best.form.parse("2").unwrap());
    let loaded = best.loader.load(&best.form.parse("02").unwrap()).await.unwrap();
    assert_eq!(&loaded.value.unwrap().0[..], br#"{"n": 3}"#);
    assert_eq!(&best.whole[..], [Tag::any("public.sale")]);
    let wrong = ClassPlan::display("sale").table("sale").key(["day"]).build().unwrap();
    let error = open(&postgres, &tables, &wrong).await.err().unwrap().to_string();
    assert_eq!(error, "class `sale`: `key` must be the primary key of the table: write `key = [\"id\"]`");
    let moody = ClassPlan::display("now").query("SELECT now() AS t, n FROM sale WHERE id = :id").key(["id"]);
    let error = open(&postgres, &tables, &moody.same_for_everyone().build().unwrap()).await.err().unwrap();
    assert!(
        error.to_string().starts_with("class `now`: the query cannot be proven: it calls now()"),
        "{error}"
    );
    assert!(install_options(&Plan::default()).groups.is_empty());
}
