//! What is simulated must end the same when it is run again: in another process, with other addresses, other hash
//! keys and another schedule, but the same seed.
//!
//! The convention: a test whose name begins with `determinism_` prints `digest: <hex>` of all that happened in it. Such tests
//! are run twice here, and the digests compared.

use std::collections::BTreeSet;

use anyhow::{Result, bail, ensure};

use crate::sh;

/// How the name of such a test begins.
const PREFIX: &str = "determinism_";
/// What stands before a digest.
const LABEL: &str = "digest:";
/// What stands before the names in libtest's list of tests that passed.
const INDENT: &str = "    ";

/// Runs the tests twice and compares.
///
/// # Errors
/// When there are none, when one prints no digest, or when two runs differ.
pub(crate) fn run() -> Result<()> {
    let (first, second) = (digests()?, digests()?);
    compare(&first, &second)?;
    eprintln!("{} simulations ended the same twice", first.len());
    Ok(())
}

/// A test and a digest that it printed.
type Digest = (String, String);

fn digests() -> Result<BTreeSet<Digest>> {
    let what = ["--quiet", "--lib", "--bins", "--tests", "--", PREFIX, "--show-output"];
    parse(&sh::capture(sh::cargo(&["test"]).args(sh::WHOLE).args(what))?)
}

/// Reads what libtest shows of the tests that passed: `---- name stdout ----` and the lines of each that printed
/// something, then the names of all, indented.
fn parse(output: &str) -> Result<BTreeSet<Digest>> {
    let mut found = BTreeSet::new();
    let mut ran = BTreeSet::new();
    let mut current = None;
    for line in output.lines() {
        if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
            current = Some(name);
        } else if let (Some(test), Some(digest)) = (current, line.trim().strip_prefix(LABEL)) {
            let digest = digest.trim();
            ensure!(is_hex(digest), "{test} printed `{digest}`, which is no digest in hex");
            found.insert((test.to_owned(), digest.to_owned()));
        } else if let Some(name) = line.strip_prefix(INDENT).filter(|name| name.contains(PREFIX)) {
            ran.insert(name);
        }
    }
    let told = |test: &str| found.iter().any(|(name, _)| name == test);
    if let Some(silent) = ran.into_iter().find(|test| !told(test)) {
        bail!("{silent} prints no line `{LABEL} <hex>`");
    }
    Ok(found)
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn compare(first: &BTreeSet<Digest>, second: &BTreeSet<Digest>) -> Result<()> {
    ensure!(
        !first.is_empty(),
        "no test is named {PREFIX}*: nothing shows that the simulations are deterministic"
    );
    let differing: BTreeSet<_> = first.symmetric_difference(second).map(|(test, _)| test.as_str()).collect();
    ensure!(
        differing.is_empty(),
        "ended otherwise when run again: {}",
        differing.into_iter().collect::<Vec<_>>().join(", ")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str = "
running 2 tests
..
successes:

---- a::determinism_one stdout ----
seed 7
digest: 00ff

---- a::determinism_two stdout ----
digest: 12ab
digest: 34cd

successes:
    a::determinism_one
    a::determinism_two

test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 40 filtered out; finished in 0.00s
";

    #[test]
    fn digests_are_read_with_the_names_of_their_tests() {
        let found = parse(SHOWN).unwrap();
        assert_eq!(found.len(), 3);
        assert!(found.contains(&("a::determinism_two".into(), "34cd".into())));
        assert!(compare(&found, &found).is_ok());
    }

    #[test]
    fn a_difference_names_its_test() {
        let (first, second) = (parse(SHOWN).unwrap(), parse(&SHOWN.replace("12ab", "12ac")).unwrap());
        let error = compare(&first, &second).unwrap_err().to_string();
        assert!(error.contains("a::determinism_two") && !error.contains("determinism_one"), "{error}");
    }

    #[test]
    fn no_tests_and_tests_without_a_digest_fail() {
        assert!(compare(&BTreeSet::new(), &BTreeSet::new()).is_err());
        assert!(
            parse(&SHOWN.replace("digest: 00ff", "")).unwrap_err().to_string().contains("determinism_one")
        );
        assert!(parse("successes:\n\nsuccesses:\n    a::determinism_mute\n").is_err());
        assert!(parse(&SHOWN.replace("00ff", "none")).is_err());
    }
}
