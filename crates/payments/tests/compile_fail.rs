//! What the types of this service refuse: a balance that is shown authorises nothing, a permit ends with its transaction, and what is never cached has no
//! way into a tier.

#[test]
fn money_is_not_moved_by_what_is_shown() {
    trueup_testbed::refused("compile_fail", "tests/compile_fail", &["payments", "once", "trueup"])
        .unwrap_or_else(|error| panic!("{error}"));
}
