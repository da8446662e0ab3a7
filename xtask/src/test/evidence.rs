//! Evidence named in documents: a link whose text is the name of a test leads to the file that has it, and an incident that is named
//! is one that the lab has.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Context as _, Result};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// Where the lab keeps its incidents.
const INCIDENTS: &str = "crates/lab/src/incident";
/// The table of what is shown, and by what.
const COVERAGE: &str = "docs/coverage.md";
/// Its rows, by the letter of their section.
const ROWS: [(char, usize); 5] = [('M', 11), ('L', 7), ('K', 4), ('T', 9), ('O', 7)];

/// What is wrong with the evidence that `text`, the document at `path`, names.
pub(super) fn wrong(root: &Path, path: &Path, text: &str) -> Result<Vec<String>> {
    let folder = path.parent().unwrap_or(path);
    let name = path.strip_prefix(root).unwrap_or(path).display();
    let mut wrong = Vec::new();
    for (told, link) in named(text) {
        let target = folder.join(&link);
        let Ok(target) = target.canonicalize() else { continue };
        let there = if target.starts_with(root.join(INCIDENTS)) {
            incidents(root)?.contains(&told)
        } else {
            let source = std::fs::read_to_string(&target)
                .with_context(|| format!("cannot read {}", target.display()))?;
            functions(&source).any(|function| function == told)
        };
        if !there {
            wrong.push(format!("{name}: nothing in {link} is called `{told}`"));
        }
    }
    if path == root.join(COVERAGE) {
        wrong.extend(missing_rows(text).into_iter().map(|why| format!("{name}: {why}")));
    }
    Ok(wrong)
}

/// Names in code whose link leads to a source file, with that file.
fn named(text: &str) -> Vec<(String, String)> {
    let (mut found, mut link) = (Vec::new(), None);
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Link { dest_url, .. }) if is_source(&dest_url) => {
                link = Some(dest_url.into_string())
            }
            Event::End(TagEnd::Link) => link = None,
            Event::Code(code) => found.extend(link.clone().map(|link| (code.into_string(), link))),
            _ => {}
        }
    }
    found
}

fn is_source(link: &str) -> bool {
    !link.contains("://") && Path::new(link).extension().is_some_and(|extension| extension == "rs")
}

/// Functions of a source file.
fn functions(source: &str) -> impl Iterator<Item = &str> {
    let is_part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    source.split("fn ").skip(1).filter_map(move |rest| {
        rest.split(|c: char| !is_part_of_name(c)).next().filter(|name| !name.is_empty())
    })
}

/// Names of the lab's incidents.
fn incidents(root: &Path) -> Result<BTreeSet<String>> {
    let folder = root.join(INCIDENTS);
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if is_source(&path.to_string_lossy()) {
            names.extend(names_in(&std::fs::read_to_string(&path)?));
        }
    }
    Ok(names)
}

fn names_in(source: &str) -> impl Iterator<Item = String> {
    source.split("name: \"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned()))
}

/// Rows that are not there, or that name no evidence.
fn missing_rows(text: &str) -> Vec<String> {
    let cells = |line: &str| line.split(" | ").map(str::to_owned).collect::<Vec<_>>();
    let rows: Vec<Vec<String>> = text.lines().filter(|line| line.starts_with("| ")).map(cells).collect();
    let mut wrong = Vec::new();
    for id in ROWS.iter().flat_map(|(letter, rows)| (1..=*rows).map(move |n| format!("| {letter}{n}"))) {
        match rows.iter().find(|row| row[0] == id) {
            Some(row) if row.get(3).is_some_and(|shown| shown.contains("](")) => {}
            Some(_) => wrong.push(format!("the row {id} names nothing that shows it")),
            None => wrong.push(format!("the row {id} is missing")),
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_its_file_does_not_have_is_wrong() {
        let root = crate::paths::root();
        let path = root.join("docs/some.md");
        let here = "../xtask/src/test/evidence.rs";
        let text = format!(
            "[`functions`]({here}) [`nothing`]({here}) `free` [`evidence.rs`](elsewhere.md) \
             [`stampede`](../{INCIDENTS}/stories.rs) [`no-such`](../{INCIDENTS}/stories.rs)"
        );
        assert_eq!(
            wrong(&root, &path, &text).unwrap(),
            [
                format!("docs/some.md: nothing in {here} is called `nothing`"),
                format!("docs/some.md: nothing in ../{INCIDENTS}/stories.rs is called `no-such`"),
            ]
        );
    }

    #[test]
    fn a_row_without_evidence_is_told_from_one_that_is_missing() {
        let row = |id: &str, shown: &str| format!("| {id} | went wrong | holds | {shown} | |\n");
        let ids = ROWS.iter().flat_map(|(letter, rows)| (1..=*rows).map(move |n| format!("{letter}{n}")));
        let whole: String = ids.map(|id| row(&id, "[`a`](a.rs)")).collect();
        assert_eq!(missing_rows(&whole), [""; 0]);
        let less = whole
            .replace(&row("K4", "[`a`](a.rs)"), "")
            .replace(&row("O7", "[`a`](a.rs)"), &row("O7", "soon"));
        assert_eq!(
            missing_rows(&less),
            ["the row | K4 is missing", "the row | O7 names nothing that shows it"]
        );
    }
}
