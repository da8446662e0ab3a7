//! What the types refuse.

#[test]
fn wrong_uses_do_not_compile() {
    trueup_testbed::refused("compile_fail", "tests/compile_fail", &["trueup"])
        .unwrap_or_else(|error| panic!("{error}"));
}
