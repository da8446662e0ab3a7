//! What was found, for people and for programs.

use std::{collections::BTreeMap, fmt::Write as _};

use compact_str::CompactString;
use serde::Serialize;
use trueup_core::policy::Counted;

use super::{
    difference::Difference,
    parameters::Standing,
    tally::{Class, Counting, Group, Tally},
};
use crate::cli::{analyze::log, output};

/// Parameters of a class that are shown.
const PARAMETERS_SHOWN: usize = 32;

#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Requests for keys.
    pub(super) requests: u64,
    /// Lines that asked for something else, or were no successful read.
    other: u64,
    /// Lines whose key is none of its class.
    unknown: u64,
    classes: Vec<OfClass>,
}

#[derive(Debug, Serialize)]
struct OfClass {
    class: String,
    requests: u64,
    /// Whether the form is the class's own; else it was learned from the values in the log.
    own_form: bool,
    /// Whether both counts are exact; else they are within a percent in nearly all cases.
    exact: bool,
    /// As the keys are written.
    as_written: Memory,
    /// With keys in normal form.
    normal_form: Memory,
    /// Keys as they are written for one in normal form.
    factor: f64,
    /// Spellings by how they differ from the first of their key; one may differ in several ways.
    differences: BTreeMap<Difference, u64>,
    /// Keys that are spelled in more than one way, of those that were counted.
    spelled_otherwise: u64,
    worst: Vec<OfKey>,
    parameters: Vec<OfParameter>,
}

/// What a memory that never forgets would hold.
#[derive(Debug, Serialize)]
struct Memory {
    entries: u64,
    /// Their size; none where nobody tells what an entry takes.
    bytes: Option<u64>,
    /// Share of requests, 0 to 1, that it would answer.
    hit_rate: f64,
}

#[derive(Debug, Serialize)]
struct OfKey {
    key: String,
    /// At most.
    requests: u64,
    spellings: u64,
    /// Whether spellings are counted exactly; else within 9 % in two cases of three.
    exact: bool,
    differences: BTreeMap<Difference, u64>,
    examples: Vec<Example>,
}

#[derive(Debug, Serialize)]
struct Example {
    spelling: String,
    /// From the first.
    differs_in: Vec<Difference>,
}

#[derive(Debug, Serialize)]
struct OfParameter {
    parameter: String,
    requests: u64,
    /// Different ones.
    values: u64,
    standing: Standing,
    /// What to write into the plan; empty where it is well as it is.
    suggestion: String,
}

impl Report {
    pub(super) fn new(
        tally: &Tally,
        top: usize,
        examples: usize,
        entry_bytes: Option<usize>,
        other: u64,
    ) -> Self {
        let classes: Vec<OfClass> = tally
            .classes()
            .filter(|(_, class, _)| class.requests > 0)
            .map(|(name, class, counting)| of_class(name, class, counting, (top, examples), entry_bytes))
            .collect();
        Self {
            requests: classes.iter().map(|class| class.requests).sum(),
            other,
            unknown: tally.unknown,
            classes,
        }
    }

    /// Keys that are spelled in more than one way.
    pub(super) fn spelled_otherwise(&self) -> u64 {
        self.classes.iter().map(|class| class.spelled_otherwise).sum()
    }

    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        for class in &self.classes {
            class.show(&mut text);
        }
        text + &log::closing_lines(self.requests, self.other, self.unknown, true)
    }
}

/// A number of keys in words.
fn keys(count: u64) -> String {
    format!("{count} {}", if count == 1 { "key" } else { "keys" })
}

fn of_class(
    name: &str,
    class: &Class,
    counting: &Counting,
    (top, examples): (usize, usize),
    entry_bytes: Option<usize>,
) -> OfClass {
    // Estimates may be on the wrong side of each other.
    let spellings = counting.spellings.count().min(class.requests);
    let keys = counting.keys.count().min(spellings);
    let entry_bytes = entry_bytes.map(|bytes| bytes as u64).or_else(|| class.logged_bytes());
    let memory = |entries: u64| Memory {
        entries,
        bytes: entry_bytes.map(|bytes| bytes.saturating_mul(entries)),
        hit_rate: 1.0 - entries.min(class.requests) as f64 / class.requests.max(1) as f64,
    };
    let form = counting.form.parameters();
    let parameters = counting.parameters.hottest(PARAMETERS_SHOWN).into_iter().map(|(name, values)| {
        let (standing, suggestion) = values.advice(name, form, counting.form.is_learned());
        OfParameter {
            parameter: name.to_owned(),
            requests: values.requests,
            values: values.count(),
            standing,
            suggestion,
        }
    });
    let groups = counting.groups.entries().iter();
    let mut differences = BTreeMap::new();
    for (what, count) in groups.clone().flat_map(|group| group.with.differences()) {
        *differences.entry(what).or_default() += count;
    }
    OfClass {
        class: name.to_owned(),
        requests: class.requests,
        own_form: !counting.form.is_learned(),
        exact: counting.spellings.is_exact(),
        as_written: memory(spellings),
        normal_form: memory(keys),
        factor: spellings as f64 / keys.max(1) as f64,
        differences,
        spelled_otherwise: groups.filter(|group| group.with.spellings.count() > 1).count() as u64,
        worst: counting.worst(top).into_iter().map(|group| of_key(group, examples)).collect(),
        parameters: parameters.collect(),
    }
}

fn of_key(group: &Counted<CompactString, Group>, examples: usize) -> OfKey {
    let shown = group.with.examples.iter().take(examples);
    OfKey {
        key: group.key.to_string(),
        requests: group.count,
        spellings: group.with.spellings.count().min(group.count),
        exact: group.with.spellings.is_exact(),
        differences: group.with.differences().collect(),
        examples: shown
            .map(|(spelling, differs_in)| Example {
                spelling: spelling.to_string(),
                differs_in: differs_in.clone(),
            })
            .collect(),
    }
}

impl OfClass {
    fn show(&self, text: &mut String) {
        let about = if self.exact { "" } else { "about " };
        let _ = writeln!(
            text,
            "class {}: {} requests, {about}{} spellings of {about}{}: {:.1} times as many entries",
            self.class,
            self.requests,
            self.as_written.entries,
            keys(self.normal_form.entries),
            self.factor
        );
        let row = |name: &str, memory: &Memory| {
            let hit_rate = format!("{:.1}%", memory.hit_rate * 100.0);
            let bytes = memory.bytes.map_or_else(|| "-".to_owned(), output::bytes);
            [name.to_owned(), memory.entries.to_string(), bytes, hit_rate]
        };
        let rows = [row("as written", &self.as_written), row("normal form", &self.normal_form)];
        text.push_str(&output::table(["keys", "entries", "memory", "hit rate without end"], &rows));
        if !self.differences.is_empty() {
            let mut rows: Vec<[String; 2]> = Vec::new();
            let mut by_count: Vec<_> = self.differences.iter().collect();
            by_count.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
            rows.extend(
                by_count.into_iter().map(|(what, count)| [what.as_str().to_owned(), count.to_string()]),
            );
            text.push('\n');
            text.push_str(&output::table(["differs in", "spellings"], &rows));
        }
        for key in &self.worst {
            key.show(text);
        }
        self.show_parameters(text);
        if !self.own_form {
            text.push_str(
                "normal form learned from the values: name the plan (--config, --source) for that of the class\n",
            );
        }
        text.push('\n');
    }

    fn show_parameters(&self, text: &mut String) {
        let rows: Vec<[String; 5]> = self
            .parameters
            .iter()
            .map(|one| {
                // A learned form declares what it likes.
                let standing = if self.own_form || one.standing == Standing::Ignored {
                    one.standing.as_str()
                } else {
                    "-"
                };
                let (requests, values) = (one.requests.to_string(), one.values.to_string());
                [one.parameter.clone(), requests, values, standing.to_owned(), one.suggestion.clone()]
            })
            .collect();
        if !rows.is_empty() {
            text.push('\n');
            let headings = ["parameter", "requests", "values", "standing", "suggestion for the plan"];
            text.push_str(&output::table(headings, &rows));
        }
    }
}

impl OfKey {
    fn show(&self, text: &mut String) {
        let about = if self.exact { "" } else { "about " };
        let _ =
            writeln!(text, "\n{about}{} spellings, {} requests: {}", self.spellings, self.requests, self.key);
        let rows = self.examples.iter().enumerate().map(|(at, example)| {
            let names: Vec<&str> = example.differs_in.iter().map(|what| what.as_str()).collect();
            let how = match names.as_slice() {
                [] if at == 0 => "first".to_owned(),
                [] => "otherwise".to_owned(),
                names => names.join(", "),
            };
            [format!("  {how}"), example.spelling.clone()]
        });
        text.push_str(&output::table(["  differs in", "spelling"], &rows.collect::<Vec<_>>()));
    }
}
