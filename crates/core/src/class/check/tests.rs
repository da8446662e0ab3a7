//! Defaults, and the message of each refusal.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::class::{AtRest, Group, Purpose, Strategy};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn user() -> ClassPlanBuilder {
    ClassPlan::display("user").table("user").key(["id"])
}

fn settings(class: ClassPlanBuilder) -> CacheablePlan {
    class.build().unwrap().cacheable().unwrap().clone()
}

fn refusal(class: ClassPlanBuilder) -> String {
    class.build().unwrap_err().to_string()
}

#[test]
fn a_table_needs_nothing_but_its_key() {
    let plan = settings(user());
    assert_eq!(plan.pattern, Pattern::ReadThrough);
    assert_eq!(plan.invalidation, Invalidation::Feed(Tags::Row));
    assert_eq!(plan.stampede, Stampede::default());
    assert_eq!((plan.stampede.strategy, plan.stampede.loads_max.get()), (Strategy::Wait, 64));
    assert_eq!((plan.max_staleness, plan.life, plan.hard_age), (secs(1), secs(3600), secs(86_400)));
    assert_eq!((plan.negative_life, plan.serve_stale, plan.soft_timeout), (Some(secs(60)), None, None));
    assert_eq!((plan.hard_timeout, plan.failure_backoff), (secs(5), secs(1)));
    assert_eq!((plan.l1.life, plan.l1.capacity_bytes, plan.l2), (secs(3600), 64 << 20, None));
    assert_eq!((plan.value_bytes_max, plan.jitter), (1 << 20, 0.1));
    assert!(plan.is_provable());
}

#[test]
fn defaults_give_way_to_what_is_stated() {
    let plan = settings(user().life(secs(30)).l2());
    assert_eq!((plan.negative_life, plan.l1.life), (Some(secs(30)), secs(30)));
    assert_eq!(plan.l2, Some(L2Plan { life: secs(30), at_rest: AtRest::Sealed }));
    assert_eq!(settings(user().hard_age(secs(20))).life, secs(20));
    assert_eq!(settings(user().l2_life(secs(15))).l1.life, secs(15));
    assert_eq!(settings(user().life(secs(200_000))).hard_age, secs(200_000));
}

#[test]
fn purposes_bring_their_lives() {
    let of = |purpose| settings(ClassPlan::of(purpose, "a").table("a").key(["id"]));
    assert_eq!(of(Purpose::FeeTable).life, secs(3600));
    assert_eq!(of(Purpose::KycStatus).life, secs(6 * 3600));
    let session = of(Purpose::Session);
    assert_eq!((session.life, session.hard_age), (secs(1800), secs(1800)));
    let balance = of(Purpose::DisplayBalance);
    assert_eq!((balance.life, balance.hard_age, balance.max_staleness), (secs(10), secs(10), secs(1)));
}

#[test]
fn no_setting_stretches_a_purpose_that_states_the_most() {
    let balance = || ClassPlan::of(Purpose::DisplayBalance, "balance").table("balance").key(["id"]);
    assert_eq!(
        refusal(balance().serve_stale(secs(11))),
        "class \"balance\": `serve_stale` (consistency bound): 11s is above 10s, the most that \
         purpose = \"display-balance\" allows; write \"10s\" or less"
    );
    for stretched in [balance().hard_age(secs(11)), balance().life(secs(11)), balance().l2_life(secs(11))] {
        assert!(refusal(stretched).contains("the most that purpose = \"display-balance\" allows"));
    }
}

#[test]
fn what_is_never_cached_is_no_cacheable_plan() {
    for purpose in Purpose::ALL.into_iter().filter(|purpose| purpose.never_reason().is_some()) {
        let plan = ClassPlan::of(purpose, "otp").table("otp").key(["id"]).build().unwrap();
        assert!(matches!(plan.cacheable(), Err(PlanError::NeverCached { .. })), "{purpose}");
    }
    let plan = ClassPlan::decision("balance").table("balance").key(["id"]).build().unwrap();
    assert_eq!(
        plan.cacheable().unwrap_err().to_string(),
        "class \"balance\" (purpose = \"decision\") is never cached: a decision taken on a copy can be taken twice; \
         read it in a transaction on the source (`authoritative`)"
    );
}

#[test]
fn a_decision_class_takes_no_setting_of_a_tier() {
    assert_eq!(
        refusal(ClassPlan::decision("balance").table("balance").key(["id"]).serve_stale(secs(60))),
        "class \"balance\": `serve_stale` (never-cache): purpose = \"decision\" is never cached (a decision taken on a \
         copy can be taken twice); remove `serve_stale`, or choose a purpose that may be cached"
    );
}

#[test]
fn undecided_decisions_are_demanded_all_at_once() {
    assert_eq!(
        refusal(ClassPlan::display("rates").external()),
        "class \"rates\": `key` must be decided (key scope: what does the answer depend on besides its key: tenant, \
         user, role, locale?): write the parts of the key, such as `key = [\"id\"]`\n\
         class \"rates\": `scope` must be decided (key scope: what does the answer depend on besides its key: tenant, \
         user, role, locale?): write `scope = []` if everyone may see the same answer, else what it depends on, such \
         as `scope = [\"tenant\"]`\n\
         class \"rates\": `invalidation` must be decided (invalidation: who ends an entry when its source changes, \
         and what if that fails silently?): no feed can be read off code: write `invalidation = { owner = \"...\", \
         reason = \"...\" }` with a `life`, or name the tables' groups\n\
         class \"rates\": `life` must be decided (consistency bound: how old may an answer be before it counts as \
         wrong?): nothing but its age ends an entry of this class: write how old it may become, such as `life = \"30s\"`"
    );
    assert!(
        refusal(ClassPlan::display("a").key(["id"]))
            .starts_with("class \"a\": `table` must be decided (pattern:")
    );
}

#[test]
fn conflicting_lives_name_both() {
    assert_eq!(
        refusal(user().l1_life(secs(60)).l2_life(secs(30))),
        "class \"user\": `l1_life` (eviction): 1min is longer than l2_life = 30s (memory stands in front of the remote \
         tier); shorten `l1_life` or lengthen `l2_life`"
    );
    assert_eq!(
        refusal(user().life(secs(10)).negative_life(secs(20))),
        "class \"user\": `negative_life` (eviction): 20s is longer than life = 10s (\"absent\" is the answer most likely \
         to change); shorten `negative_life` or lengthen `life`"
    );
    for (class, field) in [
        (user().life(secs(5)).max_staleness(secs(6)), "max_staleness"),
        (user().life(secs(5)).hard_age(secs(4)), "life"),
        (user().life(secs(5)).l1_life(secs(6)), "l1_life"),
        (user().l2_life(secs(90_000)), "l2_life"),
        (user().max_staleness(Duration::from_millis(39)), "max_staleness"),
        (user().serve_stale(secs(1)), "serve_stale"),
        (user().soft_timeout(secs(1)), "soft_timeout"),
        (user().serve_stale(secs(9)).soft_timeout(secs(5)), "soft_timeout"),
        (user().hard_timeout(Duration::ZERO), "hard_timeout"),
        (user().strategy(Strategy::Background { ahead: secs(3600) }), "refresh_ahead"),
        (user().strategy(Strategy::Early { beta: 0.0 }), "beta"),
        (user().jitter(1.5), "jitter"),
        (user().value_bytes_max(0), "value_bytes_max"),
        (user().l1_capacity_bytes(1 << 10), "value_bytes_max"),
    ] {
        let fields: Vec<_> = class.build().unwrap_err().0.iter().filter_map(PlanError::field).collect();
        assert_eq!(fields, [field]);
    }
}

#[test]
fn patterns_keep_to_what_can_be_proven() {
    let external = || ClassPlan::display("views").external().key(["id"]).same_for_everyone();
    let aged = || external().age_bounded("shop team", "upstream API").life(secs(30));
    assert_eq!(settings(aged()).max_staleness, secs(30));
    assert!(!settings(aged()).is_provable());
    assert_eq!(
        refusal(user().pattern(Pattern::WriteBehind { loss: " ".into() })),
        "class \"user\": `loss` must be decided (pattern: who loads the value, and who writes it?): write-behind \
         acknowledges before the source knows: write what you accept to lose, such as `loss = \"up to one second of \
         view counts\"`, or choose `pattern = \"write-through\"`"
    );
    let behind = Pattern::WriteBehind { loss: "a second of counts".into() };
    assert!(refusal(user().pattern(behind.clone())).contains("its feed cannot prove them"));
    let aged_user = || user().age_bounded("me", "counts").life(secs(9));
    assert!(aged_user().pattern(behind.clone()).build().is_ok());
    let balance = ClassPlan::of(Purpose::DisplayBalance, "account").table("account").key(["id"]);
    let money = balance.age_bounded("me", "shown").life(secs(9)).pattern(behind.clone());
    assert!(refusal(money).contains("an amount of money is never acknowledged before the source has it"));
    let query = ClassPlan::display("shelf")
        .query("SELECT 1 FROM p, q WHERE p.id = :id")
        .key(["id"])
        .same_for_everyone();
    assert!(
        refusal(query.age_bounded("me", "shown").life(secs(9)).pattern(behind)).contains("only a row can be")
    );
    let twice = Pattern::DeleteUpdateDelete { pause: secs(1) };
    assert!(refusal(user().pattern(twice.clone())).contains("nobody need delete them"));
    assert!(
        refusal(aged_user().pattern(twice.clone()).l2_life(secs(9)))
            .contains("from this node's memory alone")
    );
    assert!(aged_user().pattern(twice).build().is_ok());
    assert!(refusal(user().pattern(Pattern::CacheAside)).contains("no feed can prove them"));
    assert!(refusal(aged().pattern(Pattern::ReadThrough)).contains("needs a source that Trueup can load"));
    assert!(refusal(user().age_bounded("", "why").life(secs(9))).contains("`owner` must be decided"));
}

#[test]
fn tags_fit_the_origin_and_the_key() {
    let query = || {
        ClassPlan::display("shelf").query("SELECT * FROM p WHERE category = :category").same_for_everyone()
    };
    let shelf = || query().key(["category"]);
    let group = |text: &str| Tags::Groups(vec![text.parse::<Group>().unwrap()]);
    assert_eq!(settings(shelf()).invalidation, Invalidation::Feed(Tags::Any));
    assert!(shelf().tags(group("p:category")).build().is_ok());
    assert!(refusal(shelf().tags(Tags::Row)).contains("only a class that is a `table` depends on one row"));
    assert!(refusal(shelf().tags(group("p:brand"))).contains("group p:brand needs the value of \"brand\""));
    assert!(
        refusal(shelf().tags(Tags::Groups(vec![]))).contains("an empty list of groups would end no entry")
    );
    assert!(
        refusal(query().key(["category", "page"])).contains("one answer would be stored under many keys")
    );
    assert!(refusal(query().key([""; 0]).scope(["category"])).contains("`key` must be decided"));
    assert!(
        refusal(query().key(["id"])).contains("its parameter :category is neither a key part nor a scope")
    );
    assert!(refusal(user().scope(["id"])).contains("\"id\" stands in it twice"));
}

#[test]
fn secrets_and_unversioned_texts_are_refused() {
    assert_eq!(
        refusal(ClassPlan::display("codes").table("otp_codes").key(["id"])),
        "class \"codes\": `table` (never-cache): \"otp_codes\" looks like a one-time code; write \
         `purpose = \"decision\"`, or `allow_secret_looking = [\"otp_codes\"]` if it is none"
    );
    let allowed =
        ClassPlan::display("codes").table("otp_codes").key(["id"]).allow_secret_looking(["otp_codes"]);
    assert!(allowed.build().is_ok());
    let plan = settings(user().never_columns(["iban"]).allow_secret_looking(["pin"]));
    let excluded = |column| plan.never_cache.excludes(column);
    assert_eq!(
        (excluded("IBAN"), excluded("pin"), excluded("name")),
        (Some("listed in never_columns"), None, None)
    );
    assert_eq!(excluded("password_hash"), Some("a password"));

    let terms = || ClassPlan::of(Purpose::VersionedText, "terms").table("terms").key(["id", "version"]);
    assert!(refusal(terms()).contains("`versioned_by` must be decided"));
    assert!(refusal(terms().versioned_by("edition")).contains("`versioned_by` must be decided"));
    assert!(terms().versioned_by("version").build().is_ok());
}

proptest! {
    /// Whatever is stated, a plan that is accepted keeps its lives in order.
    #[test]
    fn accepted_lives_are_in_order(
        spans in proptest::collection::vec(proptest::option::of(1_u64..100), 7),
        purpose in proptest::sample::select(vec![Purpose::Display, Purpose::Session, Purpose::DisplayBalance]),
    ) {
        let mut class = ClassPlan::of(purpose, "a").table("a").key(["id"]);
        let setters: [fn(ClassPlanBuilder, Duration) -> ClassPlanBuilder; 7] = [
            ClassPlanBuilder::life, ClassPlanBuilder::hard_age, ClassPlanBuilder::max_staleness,
            ClassPlanBuilder::negative_life, ClassPlanBuilder::l1_life, ClassPlanBuilder::l2_life,
            ClassPlanBuilder::serve_stale,
        ];
        for (set, span) in setters.into_iter().zip(&spans) {
            if let Some(span) = span {
                class = set(class, secs(*span));
            }
        }
        if let Ok(plan) = class.build() {
            let plan = plan.cacheable().unwrap();
            prop_assert!(plan.max_staleness <= plan.life && plan.life <= plan.hard_age);
            prop_assert!(plan.l1.life <= plan.life && plan.negative_life.unwrap() <= plan.life);
            prop_assert!(plan.l2.is_none_or(|l2| plan.l1.life <= l2.life && l2.life <= plan.hard_age));
            if let LifeBound::AtMost(cap) = purpose.life_bound() {
                prop_assert!(plan.hard_age <= cap && plan.serve_stale.is_none_or(|stale| stale <= cap));
            }
        }
    }

    /// One stated life alone is never refused for a default that does not fit it.
    #[test]
    fn a_single_life_never_conflicts_with_defaults(span in 1_u64..1_000_000) {
        prop_assert!(user().life(secs(span)).build().is_ok());
        prop_assert!(user().hard_age(secs(span)).build().is_ok());
    }
}
