//! Comparison with published data, which lies beside the repository and is not part of it: `../shared/data`, or the
//! directory that `TRUEUP_SHARED_DATA` names.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use trueup_core::key::{Key, KeyError, KeyForm, ParamForm, UnknownParameters, is_tracking_parameter};

fn shared_data(file: &str) -> String {
    let beside = |dir: &Path| Some(dir.join("shared/data")).filter(|data| data.is_dir());
    let found = std::env::var_os("TRUEUP_SHARED_DATA")
        .map(PathBuf::from)
        .or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().find_map(beside))
        .expect("no `shared/data` in any directory above this crate: set TRUEUP_SHARED_DATA to it");
    let path = found.join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

/// Names on the published list that are not dropped unless a class asks for it.
const NOT_DROPPED: [(&str, &str); 5] = [
    ("si", "two letters that a shop or API uses for its own things"),
    ("campid", "a campaign of any shop"),
    ("toolid", "a tool of any shop"),
    ("customid", "an identifier of any application"),
    ("rtid", "a room type, route or return of any application"),
];

#[test]
#[ignore = "reads published data that lies beside the repository: `cargo xtask test --only published`"]
fn every_unambiguous_tracking_parameter_is_known() {
    let list = shared_data("keys/tracking-params.csv");
    let names: BTreeSet<&str> = list.lines().skip(1).filter_map(|line| line.split(',').next()).collect();
    assert!(names.len() > 90, "the list is cut off: {} names", names.len());
    let missed: Vec<&&str> = names
        .iter()
        .filter(|name| !is_tracking_parameter(name) && !NOT_DROPPED.iter().any(|(except, _)| except == *name))
        .collect();
    assert!(missed.is_empty(), "not covered: {missed:?}");
    for (name, _) in NOT_DROPPED {
        assert!(names.contains(name) && !is_tracking_parameter(name), "{name} is no exception");
    }
    println!(
        "tracking parameters: {} names, {} dropped, {} kept",
        names.len(),
        names.len() - 5,
        NOT_DROPPED.len()
    );
}

/// How a published case compares with the form of `docs/guide/keys.md`.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// No query, so nothing that a key is made of.
    NotOurs,
    /// The same text.
    SameText,
    /// The query and its published canonical form are one key, whose text is written otherwise.
    SameKey,
    /// Another key, or none: deliberately.
    Otherwise(&'static str),
}

const DECODED_ONCE: &str =
    "percent-encoding is decoded once: `%2561` spells the text `%61`, which is not `a`";
const STRAY_PERCENT: &str = "a `%` without two digits is refused, not guessed at";
const CONTROLS_KEPT: &str =
    "tabs and line ends are kept, escaped: removing them is for a URL parser, before the key";
const LIST_ORDER: &str = "repeated parameters are a list, kept in order, unless declared as a set";

/// Queries that are another key than their published canonical form, or none, and why.
const OTHERWISE: [(&str, &str); 8] = [
    ("q\tu\ne\rry", CONTROLS_KEPT),
    ("%26=%26&%26", LIST_ORDER),
    ("%3d=%3d&%3d", LIST_ORDER),
    ("%%300", STRAY_PERCENT),
    ("%%36%31", STRAY_PERCENT),
    ("%25%2536%2531", DECODED_ONCE),
    ("%25%25361", DECODED_ONCE),
    ("%2561", DECODED_ONCE),
];

fn query(url: &str) -> Option<&str> {
    let before_fragment = url.split('#').next()?;
    before_fragment.split_once('?').map(|(_, query)| query)
}

/// The file writes each byte of a URL as the character of that number.
fn from_bytes_as_characters(url: &str) -> String {
    let bytes: Option<Vec<u8>> = url.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_else(|| url.to_owned())
}

fn compare(form: &KeyForm, given: &str, published: &str) -> Outcome {
    let (Some(given), Some(published)) = (query(given), query(published)) else { return Outcome::NotOurs };
    let key: Result<Key, KeyError> = form.parse(given);
    if let Some((_, why)) = OTHERWISE.iter().find(|(query, _)| *query == given) {
        let same = key.is_ok() && key == form.parse(published);
        assert!(!same, "{given:?} is listed as different and is not");
        return Outcome::Otherwise(why);
    }
    let key = key.unwrap_or_else(|why| panic!("{given:?}: {why}"));
    assert_eq!(form.parse(published).as_ref(), Ok(&key), "{given:?} and {published:?}");
    if key.as_str() == published { Outcome::SameText } else { Outcome::SameKey }
}

#[test]
#[ignore = "reads published data that lies beside the repository: `cargo xtask test --only published`"]
fn queries_of_published_canonical_urls_have_one_key() {
    let unknown = UnknownParameters::Keep;
    let form =
        KeyForm::parameters(ParamForm { unknown, ignore_tracking: false, ..ParamForm::default() }).unwrap();
    let cases: BTreeMap<String, String> =
        serde_json::from_str(&shared_data("keys/urlcanon-semantic.json")).expect("an object of texts");
    assert_eq!(cases.len(), 280);
    let mut counts: BTreeMap<Outcome, Vec<&str>> = BTreeMap::new();
    for (given, published) in &cases {
        let outcome = compare(&form, &from_bytes_as_characters(given), published);
        if outcome == Outcome::NotOurs {
            assert!(query(given).is_none() && query(published).is_none(), "{given:?} loses or gains a query");
        }
        counts.entry(outcome).or_default().push(given);
    }
    for (outcome, urls) in &counts {
        println!("{:4} {outcome:?}", urls.len());
    }
    let count = |outcome| counts.get(&outcome).map_or(0, Vec::len);
    let otherwise: usize = counts
        .iter()
        .filter(|(outcome, _)| matches!(outcome, Outcome::Otherwise(_)))
        .map(|(_, urls)| urls.len())
        .sum();
    let compared = count(Outcome::SameText) + count(Outcome::SameKey) + otherwise;
    println!("{compared} of {} cases have a query; {} agree", cases.len(), compared - otherwise);
    assert_eq!(otherwise, OTHERWISE.len());
}
