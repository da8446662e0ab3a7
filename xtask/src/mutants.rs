//! cargo-mutants on the core: each mutant must fail a test, or stand in the list of survivors with a reason.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::{paths, sh};

/// Survivors that are known, each with the reason why no test can or need kill it.
const SURVIVORS: &str = "xtask/survivors.toml";

/// The package that is changed and whose tests must notice.
const PACKAGE: &str = "trueup-core";

/// What is changed, in parts that have tests of their own.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Area {
    /// The proof.
    Proof,
    /// The names of things.
    Key,
    /// The read path.
    Read,
}

impl Area {
    const ALL: [Self; 3] = [Self::Proof, Self::Key, Self::Read];

    /// Matches the names of its mutants, which begin with the file.
    const fn pattern(self) -> &'static str {
        match self {
            Self::Proof => "^crates/core/src/proof/",
            Self::Key => "^crates/core/src/key/",
            Self::Read => "^crates/core/src/read/",
        }
    }
}

/// A part of what is changed, and what is shown to its mutants.
struct Round {
    /// Whose mutants: one area's, or all that are asked for.
    of: Option<Area>,
    /// The tests that are built for them.
    tests: &'static [&'static str],
    /// Those of them that are left out: they take long for what they find.
    skipped: &'static [&'static str],
}

impl Round {
    const fn new(of: Option<Area>, tests: &'static [&'static str]) -> Self {
        Self { of, tests, skipped: &[] }
    }
}

/// Cheapest first: most mutants die by the tests that are nearest, and only those that do not are shown everything else, the
/// model check last.
///
/// Unit tests stand alone: whatever else is built with them builds the core a second time.
const ROUNDS: [Round; 7] = [
    Round::new(Some(Area::Proof), &["--test=proof_cases", "--test=proof_properties"]),
    Round::new(Some(Area::Proof), &["--lib"]),
    Round::new(Some(Area::Key), &["--test=keys"]),
    Round::new(Some(Area::Key), &["--lib"]),
    Round { skipped: &["a_hundred_thousand_entries"], ..Round::new(Some(Area::Read), &["--test=read_path"]) },
    Round::new(
        None,
        &[
            "--lib",
            "--test=envelope",
            "--test=keys",
            "--test=no_allocation",
            "--test=proof_cases",
            "--test=proof_properties",
            "--test=proof_threads",
            "--test=read_path",
        ],
    ),
    Round::new(None, &["--test=model"]),
];

/// Unit tests that take long and are about none of what is changed.
const SKIPPED: [&str; 2] = ["entry::", "tier::"];

/// One test that fails is enough. The test harness takes this for unstable, and has to be told that it may.
const FAIL_FAST: [&str; 3] = ["-Z", "unstable-options", "--fail-fast"];

/// Builds without debug information: a mutant is built once and told apart by passing or failing.
const PROFILE: &str = "mutants";

/// Which mutants.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only the mutants of lines that differ from this commit
    #[arg(long, value_name = "COMMIT")]
    since: Option<String>,
    /// Only the mutants of this area; again for more of them
    #[arg(long)]
    area: Vec<Area>,
    /// Mutants built and tested at once
    #[arg(long, default_value_t = 1)]
    jobs: u32,
    /// Goes on where an interrupted run stopped: mutants that died already are left out
    #[arg(long)]
    resume: bool,
}

/// The list of survivors.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Survivors {
    #[serde(default)]
    survivor: Vec<Survivor>,
}

/// A mutant that lives, for a reason.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Survivor {
    /// As cargo-mutants names it, without line and column: `path: replace ... in ...`.
    mutant: String,
    reason: String,
}

/// Makes mutants as `.cargo/mutants.toml` says and compares what lives with the list.
///
/// # Errors
/// When a mutant lives that is not on the list, or (in a run of all) one on the list lives no more.
pub(crate) fn run(options: &Options) -> Result<()> {
    let known = read()?;
    if !sh::exists("cargo-mutants") {
        sh::run(&mut sh::cargo(&["install", "--locked", "cargo-mutants"]))?;
    }
    let output = paths::cache("mutants")?;
    let diff = output.join("since.diff");
    if let Some(commit) = &options.since {
        std::fs::write(&diff, sh::capture(sh::command("git").args(["diff", commit]))?)?;
    }
    let (mut missed, mut hung) = (Vec::<String>::new(), BTreeSet::<String>::new());
    let mut resume = options.resume;
    for round in &ROUNDS {
        let mut areas = if options.area.is_empty() { Area::ALL.to_vec() } else { options.area.clone() };
        areas.retain(|area| round.of.is_none_or(|of| of == *area));
        if areas.is_empty() {
            continue;
        }
        let mut mutants = sh::cargo(&["mutants", "--package", PACKAGE, "--profile", PROFILE]);
        mutants.args(["--jobs", &options.jobs.to_string()]).arg("--output").arg(&output);
        if options.jobs == 1 {
            // It builds changed copies of the tree; what they depend on is built once for all rounds.
            mutants.env("CARGO_TARGET_DIR", output.join("build"));
        } else {
            mutants.env_remove("CARGO_TARGET_DIR");
        }
        areas.iter().for_each(|area| _ = mutants.args(["--re", area.pattern()]));
        hung.iter().for_each(|mutant| _ = mutants.arg("--exclude-re").arg(exactly(mutant)));
        options.since.iter().for_each(|_| _ = mutants.arg("--in-diff").arg(&diff));
        if std::mem::replace(&mut resume, true) {
            mutants.arg("--iterate");
        }
        // Told to the build, too: it would build every test there is for each mutant.
        round.tests.iter().for_each(|what| _ = mutants.arg(format!("--cargo-arg={what}")));
        let skipped = SKIPPED.iter().chain(round.skipped).flat_map(|tests| ["--skip", *tests]);
        mutants.args(["--", "--"]).args(FAIL_FAST).args(skipped);
        mutants.env(format!("CARGO_TARGET_{}_RUNNER", host()?), "env RUSTC_BOOTSTRAP=1");
        let lived = survivors(mutants, &output)?;
        // The next round may not run the code in which they hang.
        hung.extend(lived.hung);
        missed = lived.missed;
        eprintln!("{} mutants live after {}", missed.len(), round.tests.join(" "));
    }
    // cargo-mutants lets some mutants of other files through its pattern.
    let areas: &[Area] = if options.area.is_empty() { &Area::ALL } else { options.area.as_slice() };
    let of_areas = |line: &&str| areas.iter().any(|area| line.starts_with(&area.pattern()[1..]));
    let missed: Vec<&str> = missed.iter().map(String::as_str).filter(of_areas).collect();
    compare(&missed.join("\n"), &known, options.since.is_none() && options.area.is_empty())
}

/// What programs are built for here, as cargo's variables spell it.
fn host() -> Result<String> {
    let version = sh::capture(sh::command("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    Ok(host.replace(['-', '.'], "_").to_uppercase())
}

/// The mutants for which no test has failed.
struct Lived {
    /// All tests passed.
    missed: Vec<String>,
    /// A test ran for ever: as good as one that fails.
    hung: Vec<String>,
}

/// Runs cargo-mutants.
fn survivors(mut mutants: Command, output: &Path) -> Result<Lived> {
    /// Its exits where every mutant was shown the tests: all are dead, some live, some hung. Which of them may live is decided by the list.
    const ALL_SHOWN: [i32; 3] = [0, 2, 3];
    let status = mutants.status().context("cannot start cargo mutants")?;
    ensure!(
        status.code().is_some_and(|code| ALL_SHOWN.contains(&code)),
        "cargo mutants failed ({status}); does the unchanged tree pass its tests?"
    );
    let read = |name| match std::fs::read_to_string(output.join("mutants.out").join(name)) {
        // Where there is nothing to change, nothing is left.
        Err(error) if status.success() && error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("cargo mutants ({status}) left no {name}")),
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
    };
    Ok(Lived { missed: read("missed.txt")?, hung: read("timeout.txt")? })
}

/// A pattern for one mutant alone.
fn exactly(mutant: &str) -> String {
    let escaped = |c: char| {
        if c.is_ascii_alphanumeric() { c.to_string() } else { format!("\\x{{{:x}}}", u32::from(c)) }
    };
    format!("^{}$", mutant.chars().map(escaped).collect::<String>())
}

fn read() -> Result<Vec<Survivor>> {
    let text = std::fs::read_to_string(paths::root().join(SURVIVORS))
        .with_context(|| format!("cannot read {SURVIVORS}"))?;
    let survivors: Survivors = toml::from_str(&text).with_context(|| format!("{SURVIVORS} is malformed"))?;
    for Survivor { mutant, reason } in &survivors.survivor {
        ensure!(!reason.trim().is_empty(), "{SURVIVORS}: `{mutant}` has no reason");
    }
    Ok(survivors.survivor)
}

fn compare(missed: &str, known: &[Survivor], all: bool) -> Result<()> {
    let mut balance: BTreeMap<String, i64> = BTreeMap::new();
    missed
        .lines()
        .filter(|line| !line.trim().is_empty())
        .for_each(|line| *balance.entry(name(line)).or_default() += 1);
    let lived: i64 = balance.values().sum();
    known.iter().for_each(|survivor| *balance.entry(survivor.mutant.clone()).or_default() -= 1);
    let named = |wanted: fn(i64) -> bool| {
        balance.iter().filter(|(_, count)| wanted(**count)).map(|(name, _)| name.as_str()).collect::<Vec<_>>()
    };
    let (new, gone) = (named(|count| count > 0), named(|count| count < 0));
    ensure!(
        new.is_empty(),
        "{} mutants live without a reason; kill them by a test, or explain them in {SURVIVORS}:\n  {}",
        new.len(),
        new.join("\n  ")
    );
    ensure!(
        !all || gone.is_empty(),
        "no longer alive, take them out of {SURVIVORS}:\n  {}",
        gone.join("\n  ")
    );
    eprintln!("{lived} mutants live, each with its reason in {SURVIVORS}");
    Ok(())
}

/// A mutant's name without line and column, which every edit moves: `src/a.rs:10:5: replace x` is `src/a.rs: replace x`.
fn name(line: &str) -> String {
    let mut parts = line.trim().splitn(4, ':');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(file), Some(_line), Some(_column), Some(what)) => format!("{file}:{what}"),
        _ => line.trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MISSED: &str = "crates/core/src/a.rs:10:5: replace f -> bool with true\n\
                          crates/core/src/a.rs:12:5: replace < with <= in g\n";

    fn known(names: &[&str]) -> Vec<Survivor> {
        names.iter().map(|name| Survivor { mutant: (*name).into(), reason: "equal".into() }).collect()
    }

    #[test]
    fn a_survivor_needs_a_reason_and_a_reason_needs_a_survivor() {
        let both = [
            "crates/core/src/a.rs: replace f -> bool with true",
            "crates/core/src/a.rs: replace < with <= in g",
        ];
        assert!(compare(MISSED, &known(&both), true).is_ok());
        let error = compare(MISSED, &known(&both[..1]), true).unwrap_err().to_string();
        assert!(error.contains("replace < with <=") && !error.contains("replace f"), "{error}");
        assert!(compare("", &known(&both), true).is_err());
        assert!(
            compare("", &known(&both), false).is_ok(),
            "a run of some mutants says nothing of the others"
        );
    }

    #[test]
    fn two_mutants_of_one_name_need_two_reasons() {
        let twice = MISSED.replace("replace f -> bool with true", "replace < with <= in g");
        assert!(compare(&twice, &known(&["crates/core/src/a.rs: replace < with <= in g"]), true).is_err());
    }

    #[test]
    fn a_mutant_is_left_out_by_its_whole_name() {
        assert_eq!(exactly("a.rs:1: < "), r"^a\x{2e}rs\x{3a}1\x{3a}\x{20}\x{3c}\x{20}$");
    }

    #[test]
    fn the_list_in_the_repository_can_be_read() {
        read().unwrap();
    }
}
