//! The page with the table: text from a template, figures and facts put in.

use std::fmt::Write as _;

use crate::{
    harness::{self, Size},
    machine,
    table::Rows,
};

/// What does not change from run to run.
const TEMPLATE: &str = include_str!("page.template");

/// The command that makes the same page again.
pub(crate) fn command(quick: bool, full: bool) -> String {
    let size = match (quick, full) {
        (true, _) => " --quick",
        (_, true) => " --full",
        _ => "",
    };
    format!("cargo xtask compare{size}")
}

/// The page.
pub(crate) fn render(rows: &Rows, size: Size, seed: u64, command: &str) -> String {
    let mut text = TEMPLATE.to_owned();
    let mut put = |name: &str, value: &str| text = text.replace(&format!("{{{{{name}}}}}"), value);
    put("date", &machine::today());
    put("machine", &machine::describe());
    put("command", command);
    put("versions", &versions());
    put("table", &rows.table());
    put("notes", &notes(rows));
    put("rounds", &size.rounds.to_string());
    put("seed", &seed.to_string());
    put("hot_keys", &size.hot_keys.to_string());
    put("judged_keys", &size.judged_keys.to_string());
    put("phase_s", &size.phase.as_secs().to_string());
    put("judged_s", &size.judged.as_secs().to_string());
    put("bound_ms", &harness::BOUND.as_millis().to_string());
    put("life_min", &(harness::LIFE.as_secs() / 60).to_string());
    put("tasks", &harness::TASKS.to_string());
    put("crowd", &harness::CROWD.to_string());
    put("connections", &harness::CONNECTIONS.to_string());
    put("reads_per_s", &harness::READS_PER_S.to_string());
    put("bursts_per_s", &harness::BURSTS_PER_S.to_string());
    put("burst", &harness::BURST.to_string());
    text
}

fn notes(rows: &Rows) -> String {
    let mut text = String::new();
    for note in rows.notes() {
        let _ = writeln!(text, "- {note}");
    }
    for (name, why) in rows.left_out() {
        let _ = writeln!(
            text,
            "- {} could not be measured to the end:\n\n```text\n{}\n```\n",
            name.title(),
            why.trim()
        );
    }
    if text.is_empty() { "Nothing else was noticed in this run.\n".to_owned() } else { text }
}

/// Of what was measured, and what it ran on.
fn versions() -> String {
    let postgres = machine::first_line("psql", &["--version"]);
    let redis = machine::first_line("redis-server", &["--version"]);
    let redis = redis.split(' ').find_map(|word| word.strip_prefix("v=")).unwrap_or("unknown").to_owned();
    let mut text = format!(
        "PostgreSQL {}, Redis {redis}, {}, Node {}, {}",
        postgres.split(' ').nth(2).unwrap_or("unknown"),
        machine::first_line("rustc", &["--version"]).split(" (").next().unwrap_or("unknown"),
        machine::first_line("node", &["--version"]),
        machine::first_line("python3", &["--version"]),
    );
    for (name, version) in PINNED {
        let _ = write!(text, ", {name} {version}");
    }
    text
}

/// As in `Cargo.lock`, `package-lock.json` and `requirements.txt`.
const PINNED: &[(&str, &str)] = &[
    ("Trueup", env!("CARGO_PKG_VERSION")),
    ("moka", "0.12.16"),
    ("redis-rs", "1.8.1"),
    ("cachet", "0.16.0"),
    ("hitbox", "0.2.4"),
    ("multi-tier-cache", "0.6.9"),
    ("foyer", "0.22.6"),
    ("bentocache", "1.6.1"),
    ("cashews", "7.6.0"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Name;

    #[test]
    fn every_place_of_the_template_is_filled() {
        let rows = Rows::new(&[Name::Trueup]);
        let text = render(&rows, Size::QUICK, 1, &command(true, false));
        assert!(!text.contains("{{") && !text.contains("}}"), "{text}");
        assert!(text.contains("cargo xtask compare --quick"));
    }

    #[test]
    fn the_versions_named_are_those_that_are_pinned() {
        let files = [
            include_str!("../Cargo.toml"),
            include_str!("../drivers/bentocache/package.json"),
            include_str!("../drivers/cashews/requirements.txt"),
        ]
        .concat();
        for (name, version) in PINNED.iter().skip(1) {
            assert!(files.contains(version), "{name} {version}");
        }
    }
}
