//! The guide's tables against the parser: every key stands in both, with the same default.

use std::collections::BTreeSet;

use super::*;

struct Row {
    heading: String,
    key: String,
    default: String,
    example: String,
}

fn rows() -> Vec<Row> {
    let guide = include_str!("../../../../../docs/guide/plan.md");
    let mut heading = String::new();
    let mut rows = Vec::new();
    for line in guide.lines().skip_while(|line| *line != "## Keys") {
        if let Some(text) = line.strip_prefix("### ") {
            heading = text.to_owned();
        }
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        if let [key, kind, default, example, _] = cells[..]
            && kind != "type"
            && !key.starts_with("---")
        {
            let [key, default, example] = [key, default, example].map(str::to_owned);
            rows.push(Row { heading: heading.clone(), key, default, example });
        }
    }
    rows
}

/// A file around `key = value`, in the section of the row.
fn file(row: &Row, value: Option<&str>) -> String {
    let line = value.map(|value| format!("{} = {value}", row.key)).unwrap_or_default();
    let remote = "[l2]\nurls = \"redis://h:1\"\n";
    let class = |lines: &str| format!("{remote}[class.c]\ntable = \"t\"\n{lines}\n");
    let columns = if row.key == "columns" { "" } else { "columns = [\"id\"]\n" };
    match row.heading.as_str() {
        "[source]" if row.key == "url" => {
            format!("[source]\n{}", if line.is_empty() { "url = \"sqlite:x\"" } else { &line })
        }
        "[source]" if row.key == "replicas" => format!("[source]\nurl = \"postgres://h/d\"\n{line}\n"),
        "[source]" if row.key == "ramp_floor" => {
            format!("[source]\nurl = \"sqlite:x\"\nramp = \"9s\"\n{line}\n")
        }
        "[source]" => format!("[source]\nurl = \"sqlite:x\"\n{line}\n"),
        "[fleet]" if row.key == "advertise" => {
            format!("[fleet]\n{}", if line.is_empty() { "advertise = \"http://h:1\"" } else { &line })
        }
        "[fleet]" => format!("[fleet]\nadvertise = \"http://h:1\"\n{line}\n"),
        "[l2]" if row.key == "urls" => {
            format!("[l2]\n{}", if line.is_empty() { "urls = \"redis://h:1\"" } else { &line })
        }
        "[l2]" => format!("{remote}{line}\n"),
        "[warm]" => {
            let with = match row.key.as_str() {
                "preheat_file" if !line.is_empty() => "preheat_at = \"08:00\"",
                "preheat_at" if !line.is_empty() => "preheat_file = \"log\"",
                _ => "",
            };
            format!("[warm]\n{with}\n{line}\n")
        }
        "[write_behind]" if row.key == "journal" => {
            format!("[write_behind]\n{}", if line.is_empty() { "journal = \"j\"" } else { &line })
        }
        "[write_behind]" => format!("[write_behind]\njournal = \"j\"\n{line}\n"),
        "[server]" | "[memory]" => format!("{}\n{line}\n", row.heading),
        "[defaults] and [class.NAME]" => {
            // The lives of the tiers are compared where there is a remote one.
            let l2 = if row.key == "l2_life" { "l2 = true\n" } else { "" };
            class(&format!("key = \"id\"\n{l2}{line}"))
        }
        "[class.NAME] only" => class(&format!("key = \"id\"\n{line}")),
        "The table `key`" => class(&format!("[class.c.key]\n{columns}parameters.p = {{}}\n{line}")),
        "Rules of a parameter" => {
            class(&format!("[class.c.key]\n{columns}[class.c.key.parameters.p]\n{line}"))
        }
        "The table `fallback`" => class(&format!(
            "key = \"id\"\n[class.c.fallback]\n{}",
            if line.is_empty() { "json = \"0\"" } else { &line }
        )),
        "The table `invalidation`" => class(&format!("key = \"id\"\n{line}")),
        "The table `bloom`" => {
            let entries = if row.key == "entries" { "" } else { "bloom.entries = 5\n" };
            let line = if row.key == "entries" && line.is_empty() { "entries = 5" } else { &line };
            let line = if line.is_empty() { String::new() } else { format!("bloom.{line}") };
            class(&format!("key = \"id\"\n{entries}{line}"))
        }
        "The table `admission`" => {
            let keys = if row.key == "keys_max" { "" } else { "admission.keys_max = 5\n" };
            let line = if row.key == "keys_max" && line.is_empty() { "keys_max = 5" } else { &line };
            let line = if line.is_empty() { String::new() } else { format!("admission.{line}") };
            class(&format!("key = \"id\"\n{keys}{line}"))
        }
        other => panic!("the guide has an unknown heading {other:?}"),
    }
}

/// The default as TOML, if the row states one; "as `x`" is the default of `x`.
fn default_of(row: &Row, rows: &[Row]) -> Option<String> {
    if let Some(other) = row.default.strip_prefix("as `").and_then(|text| text.strip_suffix('`')) {
        let same = rows.iter().find(|r| r.heading == row.heading && r.key == other).unwrap();
        return default_of(same, rows);
    }
    let value = row.default.strip_prefix('`')?.strip_suffix('`')?;
    Some(value.to_owned())
}

#[test]
fn documented_defaults_are_the_real_ones() {
    let rows = rows();
    let mut compared = 0;
    for row in &rows {
        if let Some(default) = default_of(row, &rows).filter(|_| row.key != "columns") {
            assert_eq!(
                read(&file(row, Some(&default))),
                read(&file(row, None)),
                "{}.{}",
                row.heading,
                row.key
            );
            compared += 1;
        }
    }
    assert!(compared >= 35, "only {compared} defaults were found in the guide");
}

#[test]
fn documented_examples_are_accepted_and_mean_something() {
    for row in rows() {
        if let Some(example) = row.example.strip_prefix('`').and_then(|text| text.strip_suffix('`')) {
            assert_ne!(
                read(&file(&row, Some(example))),
                read(&file(&row, None)),
                "{}.{}",
                row.heading,
                row.key
            );
        }
    }
}

#[test]
fn the_guide_lists_exactly_the_keys_of_the_parser() {
    let text = "[class.c]\ntable = \"t\"\ninvalidation = {}\nbloom = {}\nadmission = {}\nfallback = {}\n[class.c.key.parameters.p]\n";
    let (root, _) = node::parse(text);
    let findings = Findings::default();
    Plan::read(&root, &findings);
    let known = findings.known.into_inner();
    let under =
        |path: &str| -> BTreeSet<String> { known[path].iter().map(|key| (*key).to_owned()).collect() };
    let rows = rows();
    let listed = |headings: &[&str]| -> BTreeSet<String> {
        rows.iter()
            .filter(|row| headings.contains(&row.heading.as_str()))
            .map(|row| row.key.clone())
            .collect()
    };
    for (path, headings) in [
        ("source", &["[source]"][..]),
        ("fleet", &["[fleet]"]),
        ("server", &["[server]"]),
        ("memory", &["[memory]"]),
        ("warm", &["[warm]"]),
        ("l2", &["[l2]"]),
        ("write_behind", &["[write_behind]"]),
        ("defaults", &["[defaults] and [class.NAME]"]),
        ("class.c", &["[defaults] and [class.NAME]", "[class.NAME] only"]),
        ("class.c.key", &["The table `key`"]),
        ("class.c.key.parameters.p", &["Rules of a parameter"]),
        ("class.c.invalidation", &["The table `invalidation`"]),
        ("class.c.bloom", &["The table `bloom`"]),
        ("class.c.admission", &["The table `admission`"]),
        ("class.c.fallback", &["The table `fallback`"]),
    ] {
        assert_eq!(listed(headings), under(path), "{path}");
    }
}

#[test]
fn the_guide_lists_every_purpose() {
    let guide = include_str!("../../../../../docs/guide/plan.md");
    for purpose in Purpose::ALL {
        let never = if purpose.never_reason().is_some() { "never" } else { "yes" };
        assert!(guide.contains(&format!("| `{purpose}` | {never} |")), "{purpose}");
    }
}
