//! Defaults, file, environment, flags; and reloading.

use std::time::Duration;

use trueup_core::class::{Invalidation, KeyPlan, Kind, Tags};

use super::*;

const FILE: &str =
    "[server]\nresp = \"127.0.0.1:1\"\n[class.\"fee.table-2\"]\ntable = \"fee\"\nkey = \"id\"\n";

fn environment(name: &str, value: &str) -> Vec<Override> {
    Override::environment([(name.to_owned(), value.to_owned()), ("PATH".to_owned(), "/bin".to_owned())])
}

fn layered(overrides: &[Override]) -> Result<Plan, ConfigErrors> {
    Plan::parse("trueup.toml", FILE, overrides)
}

#[test]
fn later_layers_win() {
    let port = |plan: &Plan| plan.server.resp.unwrap().port();
    assert_eq!(port(&Plan::parse("trueup.toml", "", &[]).unwrap()), 7379);
    let mut overrides = Vec::new();
    assert_eq!(port(&layered(&overrides).unwrap()), 1);
    overrides.extend(environment("TRUEUP__SERVER__RESP", "127.0.0.1:2"));
    assert_eq!(port(&layered(&overrides).unwrap()), 2);
    overrides.push(Override::flag("--resp", &["server", "resp"], "127.0.0.1:3"));
    assert_eq!(port(&layered(&overrides).unwrap()), 3);
}

#[test]
fn the_environment_takes_the_type_of_the_setting() {
    let with = |name, value| layered(&environment(name, value)).unwrap();
    assert_eq!(with("TRUEUP__MEMORY__BUCKETS", "2048").memory.buckets, 2048);
    assert!(with("TRUEUP__SOURCE__URL", "sqlite:a b.db").source.is_some());
    let plan = with("TRUEUP__CLASS__FEE_TABLE_2__KEY", "region, id");
    assert_eq!(plan.class("fee.table-2").unwrap().key().columns, ["region", "id"]);
}

#[test]
fn unknown_names_of_the_environment_are_suggested() {
    let refused = |name, value| layered(&environment(name, value)).unwrap_err().to_string();
    assert_eq!(
        refused("TRUEUP__MEMORY__BUCKET", "1"),
        "environment variable TRUEUP__MEMORY__BUCKET: memory.bucket: unknown key, did you mean \"buckets\"?; known: \
         bloom_max, buckets, capacity, recent_max"
    );
    assert_eq!(
        refused("TRUEUP__CLASS__FEE_TABEL__LIFE", "1s"),
        "environment variable TRUEUP__CLASS__FEE_TABEL__LIFE: class.fee_tabel.life: unknown class; known: fee.table-2"
    );
    assert!(refused("TRUEUP__SEVER__RESP", "x").contains("sever: unknown section, did you mean \"server\"?"));
    assert!(refused("TRUEUP__SERVER__PASSWORD", "hunter2").contains("write `password_file = \"PATH\"`"));
    assert!(!refused("TRUEUP__SERVER__PASSWORD", "hunter2").contains("hunter2"));
    assert!(refused("TRUEUP__CLASS__FEE_TABLE_2__LIFE", "30").contains("\"30\" is no span of time"));
    assert!(refused("TRUEUP__SERVER__RESP__X", "1").contains("resp = \"127.0.0.1:1\" is not a table"));
}

#[test]
fn defaults_reach_the_classes_they_fit() {
    let plan = read(
        "[defaults]\nlife = \"5min\"\nmax_staleness = \"200ms\"\nserve_stale = \"1min\"\nhard_timeout = \"2s\"\n\
         [class.a]\ntable = \"a\"\nkey = \"id\"\n[class.b]\ntable = \"b\"\nkey = \"id\"\nlife = \"1min\"\nserve_stale = \"off\"\n\
         [class.c]\ntable = \"c\"\nkey = \"id\"\npurpose = \"display-balance\"\n\
         [class.d]\ntable = \"d\"\nkey = \"id\"\npurpose = \"decision\"\n",
    );
    let class = |name| plan.class(name).unwrap().cacheable().unwrap();
    let secs = Duration::from_secs;
    assert_eq!((class("a").life, class("a").serve_stale), (secs(300), Some(secs(60))));
    assert_eq!((class("b").life, class("b").serve_stale), (secs(60), None));
    assert_eq!((class("c").life, class("c").serve_stale), (secs(10), None));
    assert_eq!(class("c").max_staleness, Duration::from_millis(200));
    let ClassPlan::Decision(decision) = plan.class("d").unwrap() else { panic!("d is cached") };
    assert_eq!(decision.hard_timeout, secs(2));
}

#[test]
fn the_example_of_the_guide_means_what_it_says() {
    let guide = include_str!("../../../../../docs/guide/plan.md");
    let example = guide.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let plan = read(example);
    let shelf = plan.class("shelf").unwrap().cacheable().unwrap();
    assert_eq!(
        shelf.invalidation,
        Invalidation::Feed(Tags::Groups(vec!["product:category".parse().unwrap()]))
    );
    assert!(plan.class("spendable").unwrap().cacheable().is_err());
}

#[test]
fn parameters_are_read_with_their_rules() {
    let plan = read(
        "[class.s]\norigin = \"loader\"\nscope = []\ninvalidation = [\"p:id\"]\n[class.s.key]\ncolumns = \"id\"\n\
         ignore = [\"utm_*\"]\n[class.s.key.parameters]\npage = { type = \"number\", default = 1 }\n",
    );
    let KeyPlan { columns, parameters, ignore, .. } = plan.class("s").unwrap().key();
    assert_eq!((columns.as_slice(), ignore.as_slice()), (&["id".into()][..], &["utm_*".into()][..]));
    assert_eq!((&parameters[0].kind, parameters[0].default.as_deref()), (&Kind::Number, Some("1")));
}

#[test]
fn reload_keeps_the_last_good_plan() {
    let reloader = Reloader::new(read(FILE));
    let first = reloader.current();
    assert!(reloader.offer(Plan::parse("trueup.toml", "[sever]", &[])).is_err());
    assert_eq!(reloader.current(), first);
    assert!(reloader.last_error().unwrap().to_string().contains("did you mean \"server\"?"));
    assert!(reloader.offer(Ok(read(""))).is_ok());
    assert!(reloader.current().classes.is_empty() && reloader.last_error().is_none());
}

#[test]
fn files_and_secrets_are_read_or_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    assert!(Plan::load(Some(&path), &[]).unwrap_err().to_string().contains("cannot read the file"));
    std::fs::write(&path, "hunter2\n").unwrap();
    assert_eq!(SecretFile(path.clone()).read().unwrap(), "hunter2");
    std::fs::write(&path, "\n").unwrap();
    assert!(SecretFile(path).read().is_err());
}
