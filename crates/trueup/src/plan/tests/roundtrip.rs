//! What is rendered reads back as the same plan.

use std::{
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

use proptest::prelude::*;
use trueup_core::class::{
    AdmissionPlan, Bloom, Case, ColdStart, Decision, Eviction, Kind, Parameter, Pattern, Repeated,
    StampedeScope, Strategy as Refresh, Tags,
};

use super::*;

fn table(name: &str, key: &[&str], columns: &[&str]) -> DiscoveredTable {
    let texts = |items: &[&str]| items.iter().map(|&item| item.to_owned()).collect();
    DiscoveredTable { table: name.to_owned(), key: texts(key), columns: texts(columns) }
}

#[test]
fn discovered_tables_are_written_with_the_ten_decisions() {
    let mut plan = read("[source]\nurl = \"sqlite:bank.db\"");
    let skipped = plan.discover(&[
        table("Order Items", &["order", "line"], &["order", "line", "note"]),
        table("user", &["id"], &["id", "name", "password_hash", "pin"]),
        table("otp_codes", &["id"], &["id"]),
        table("log", &[], &["text"]),
        table("device", &["api_key"], &["api_key"]),
        table("order_items", &["id"], &["id"]),
        table("№", &["id"], &["id"]),
    ]);
    let names: Vec<&str> = plan.classes.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["order_items", "user"]);
    let reasons: Vec<&str> = skipped.iter().map(|one| one.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "its name looks like a one-time code",
            "it has no primary key",
            "its key \"api_key\" looks like an API key",
            "its class name \"order_items\" is taken",
            "no class name can be made of its name",
        ]
    );
    let text = render(&plan, &skipped);
    for decision in Decision::ALL {
        assert!(text.contains(&format!(". {decision}: {}", decision.question())), "{text}");
    }
    assert!(
        text.contains("never_columns = [\"password_hash\", \"pin\"]")
            && text.contains("# \"log\": it has no primary key")
    );
    assert_eq!(read(&text), plan);
}

#[test]
fn the_rest_of_a_plan_reads_back_too() {
    let text = "[source]\nurl = \"postgres://me@h/d\"\npassword_file = \"p\"\ninstall_feed = true\n\
         replicas = [\"postgres://me@i/d\"]\npool_max = 3\n\
         loads_max = 9\nloads_per_second_max = 300\ncritical_reserve = \"33%\"\nramp = \"40s\"\nramp_floor = \"5%\"\n\
         [fleet]\nslot = \"shop\"\nadvertise = \"http://h:7380\"\nstate_dir = \"/s\"\nsave_every = \"5s\"\n\
         [server]\nresp = \"off\"\nhttp = \"[::1]:9\"\npassword_file = \"q\"\nclients_max = 7\nidle_timeout = \"90s\"\n\
         [memory]\nbuckets = 2048\ncapacity = \"1GiB\"\n[l2]\nurls = [\"redis://h:1\"]\nsecret_file = \"s\"\n\
         [warm]\nstate_dir = \"s\"\nwithin = \"9s\"\nkeys_per_second_max = 70\nroutes = [\"w=/w/{key}\"]\npreheat_file = \"log\"\n\
         preheat_at = [\"08:30\", \"23:59\"]\npreheat_window = \"1h\"\n\
         [defaults]\nlife = \"2h\"\nnegative_life = \"off\"\njitter = \"33.3%\"\nrefresh = \"early\"\nl2 = true\n\
         hit_rate_floor = \"80%\"\nhit_rate_window = \"20s\"\npriority = \"critical\"\nfallback = \"last-known-good\"\ncold_start = \"warm\"\n\
         [class.d]\npurpose = \"otp\"\ntable = \"otp\"\nkey = \"id\"\n\
         [class.w]\norigin = \"loader\"\nscope = [\"tenant\"]\nkey = \"id\"\nlife = \"9s\"\npattern = \"write-behind\"\n\
         loss = \"a \\\"second\\\"\"\nformat = 3\ninvalidation = { owner = \"me\", reason = \"no\\nfeed\" }\n\
         [write_behind]\njournal = \"/j\"\njournal_bytes_max = \"2MiB\"\nflush_every = \"1s\"\n\
         [class.t]\ntable = \"t\"\nkey = \"id\"\nl2 = false\nlife = \"9s\"\npattern = \"delete-update-delete\"\n\
         second_delete_after = \"2s\"\ninvalidation = { owner = \"me\", reason = \"to compare\" }\n\
         [class.v]\npurpose = \"versioned-text\"\ntable = \"v\"\nkey = [\"id\", \"v\"]\nversioned_by = \"v\"\n\
         fallback = { value = { a = [1, \"\\u0007\"] } }\nmemory_weight = 2.5\nfallback_age_max = \"3h\"\n";
    let plan = read(text);
    assert_eq!(read(&render(&plan, &[])), plan);
}

fn name() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9_.-]{0,12}"
}

/// Any text a database may use as a name, quotes, controls and line ends included.
fn wild() -> impl Strategy<Value = String> {
    proptest::string::string_regex("[ -~é\\n\\t\"'\\\\#\\x00\\x7f]{1,10}").unwrap()
}

fn parameter() -> impl Strategy<Value = Parameter> {
    let kind = prop_oneof![
        Just(Kind::Text),
        Just(Kind::Boolean),
        Just(Kind::Number),
        proptest::collection::vec(wild().prop_map(Into::into), 1..4).prop_map(Kind::Enum),
    ];
    (wild(), kind, any::<bool>(), any::<bool>(), proptest::option::of(wild()), any::<bool>()).prop_map(
        |(name, kind, lower, trim, default, set)| Parameter {
            case: if lower { Case::Lower } else { Case::Keep },
            trim,
            default: default.map(Into::into),
            repeated: if set { Repeated::Set } else { Repeated::Keep },
            ..Parameter::new(name, kind)
        },
    )
}

fn refresh() -> impl Strategy<Value = Refresh> {
    prop_oneof![
        Just(Refresh::Wait),
        (0.001..1e6_f64).prop_map(|beta| Refresh::Early { beta }),
        (1_u64..1_000_000).prop_map(|ns| Refresh::Background { ahead: Duration::from_nanos(ns) }),
    ]
}

prop_compose! {
    fn class()(
        name in name(),
        table in wild(),
        keys in proptest::collection::btree_set(wild(), 1..4),
        scope in proptest::option::of(wild()),
        parameters in proptest::collection::btree_map(wild(), parameter(), 0..3),
        (life_ns, share, beta) in (1_000_000_000_u64..1_000_000_000_000, 0.0..=1.0_f64, refresh()),
        (stale_ns, negative, l2, warm) in (2_000_000_000_u64..9_000_000_000, any::<bool>(), any::<bool>(), any::<bool>()),
        (capacity, eviction) in (1_usize << 20..1 << 40, proptest::sample::select(Eviction::ALL.to_vec())),
        (any_tag, through, scope_of_one_load) in
            (any::<bool>(), any::<bool>(), proptest::sample::select(StampedeScope::ALL.to_vec())),
    ) -> Option<ClassPlan> {
        let mut class = ClassPlan::display(&name).table(&table).key(keys).life(Duration::from_nanos(life_ns))
            .jitter(share).check_share(share).strategy(beta).serve_stale(Duration::from_nanos(stale_ns))
            .l1_capacity_bytes(capacity).l1_eviction(eviction).hit_rate_floor(share)
            .stampede_scope(scope_of_one_load);
        for (name, parameter) in parameters {
            class = class.parameter(Parameter { name: name.into(), ..parameter });
        }
        if let Some(scope) = scope {
            class = class.scope([scope]).never_columns([table.clone()]);
        }
        if !negative {
            class = class.no_negative();
        }
        if l2 {
            class = class.l2();
        }
        if warm {
            class = class.cold_start(ColdStart::Warm { keys_max: NonZeroU32::MIN });
        }
        if warm && !any_tag {
            class = class.bloom(Bloom { entries: NonZeroU64::new(capacity as u64 % 1_000_000 + 1).unwrap(), error: 0.0001 });
        }
        if l2 && through {
            let keys_max = NonZeroU32::new(17).unwrap();
            class = class.admission(AdmissionPlan { seen: 3, keys_max, hot_keys: negative.then(|| table.clone().into()) });
        }
        if any_tag {
            class = class.tags(Tags::Any);
        }
        if through {
            class = class.pattern(Pattern::WriteThrough);
        }
        class.build().ok()
    }
}

proptest! {
    #[test]
    fn rendering_then_reading_is_the_identity(classes in proptest::collection::vec(class(), 1..4)) {
        let mut plan = read("[l2]\nurls = [\"redis://h:1\"]");
        for class in classes.into_iter().flatten() {
            plan.classes.insert(class.name().clone(), class);
        }
        let text = render(&plan, &[]);
        let back = Plan::parse("trueup.toml", &text, &[]);
        prop_assert!(back.is_ok(), "{}\n{text}", back.unwrap_err());
        prop_assert_eq!(back.unwrap(), plan);
    }

    #[test]
    fn discovered_tables_read_back(names in proptest::collection::vec((wild(), wild(), wild()), 1..5)) {
        let mut plan = Plan::default();
        let tables: Vec<DiscoveredTable> =
            names.iter().map(|(name, key, column)| table(name, &[key], &[key, column])).collect();
        let skipped = plan.discover(&tables);
        prop_assert_eq!(read(&render(&plan, &skipped)), plan);
    }

    /// No text makes the reader fall over.
    #[test]
    fn any_text_is_read_or_refused(text in "[\\[\\]a-z.=\"'{},0-9\\n #é]{0,60}") {
        if let Err(errors) = Plan::parse("trueup.toml", &text, &[]) {
            prop_assert!(!errors.errors.is_empty());
        }
    }
}
