//! Documents whose links lead somewhere, and files that speak of nothing but the project.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::evidence;
use crate::paths;

/// Folders that hold nothing written by hand.
const SKIPPED: &[&str] =
    &["target", ".git", "node_modules", "corpus", "artifacts", "mutants.out", "mutants.out.old"];

/// Words that no file may contain, and why. They name a place on one developer's machine, or a promise to oneself.
const FORBIDDEN: &[(&str, &str)] = &[
    ("/home/", "a path of one machine"),
    ("/root/", "a path of one machine"),
    ("/Users/", "a path of one machine"),
    ("/work/", "a path of one machine"),
    ("/tmp/wt", "a path of one machine"),
    ("shared/design", "not part of this repository"),
    ("TODO", "do it, or leave it out"),
    ("FIXME", "fix it, or say in words what holds and why"),
];

/// This file, which has to name them.
const SELF: &str = "xtask/src/test/prose.rs";

/// Reads every text file of the repository.
///
/// # Errors
/// Lists all that is wrong, each with its file.
pub(crate) fn run() -> Result<()> {
    let root = paths::root();
    let files = files(&root)?;
    let mut wrong = Vec::new();
    let mut documents = HashMap::new();
    for path in &files {
        // What is not text (fixtures, images) has no words.
        let Ok(text) = std::fs::read_to_string(path) else { continue };
        let name = path.strip_prefix(&root).unwrap_or(path);
        wrong.extend(forbidden(name, &text));
        if path.extension().is_some_and(|extension| extension == "md") {
            wrong.extend(evidence::wrong(&root, path, &text)?);
            documents.insert(path.clone(), Document::read(&text));
        }
    }
    for (path, document) in &documents {
        let name = path.strip_prefix(&root).unwrap_or(path).display();
        wrong.extend(
            document.dead(path, &documents).map(|link| format!("{name}: the link `{link}` leads nowhere")),
        );
    }
    wrong.sort();
    ensure!(wrong.is_empty(), "{} things to mend:\n  {}", wrong.len(), wrong.join("\n  "));
    eprintln!("{} files, {} documents", files.len(), documents.len());
    Ok(())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() && !SKIPPED.iter().any(|name| entry.file_name() == *name) {
            found.extend(files(&entry.path())?);
        } else if kind.is_file() && entry.file_name() != ".git" {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn forbidden<'a>(name: &'a Path, text: &'a str) -> impl Iterator<Item = String> + 'a {
    let lines = text.lines().enumerate().filter(move |_| name != Path::new(SELF));
    lines.flat_map(move |(index, line)| {
        let words = FORBIDDEN.iter().filter(|(word, _)| line.contains(word));
        words.map(move |(word, why)| format!("{}:{}: `{word}`: {why}", name.display(), index + 1))
    })
}

/// What matters of a Markdown document here.
#[derive(Debug, Default)]
struct Document {
    links: Vec<String>,
    anchors: HashSet<String>,
}

impl Document {
    fn read(text: &str) -> Self {
        let mut document = Self::default();
        let mut heading: Option<String> = None;
        for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    document.links.push(dest_url.into_string());
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    if let Some(title) = heading.take() {
                        document.anchor(&title);
                    }
                }
                Event::Text(words) | Event::Code(words) => {
                    if let Some(title) = &mut heading {
                        title.push_str(&words);
                    }
                }
                _ => {}
            }
        }
        document
    }

    /// Adds the anchor of a heading; the second of the same title ends in `-1`.
    fn anchor(&mut self, title: &str) {
        let anchor = slug(title);
        let free = (0..).map(|n| if n == 0 { anchor.clone() } else { format!("{anchor}-{n}") });
        if let Some(free) = free.into_iter().find(|name| !self.anchors.contains(name)) {
            self.anchors.insert(free);
        }
    }

    /// Links of this document, which lies at `path`, that lead to no file and no heading of `documents`.
    fn dead<'a>(
        &'a self,
        path: &'a Path,
        documents: &'a HashMap<PathBuf, Self>,
    ) -> impl Iterator<Item = &'a String> + 'a {
        self.links.iter().filter(move |link| !is_outside(link) && !self.leads(link, path, documents))
    }

    fn leads(&self, link: &str, path: &Path, documents: &HashMap<PathBuf, Self>) -> bool {
        let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
        if file.is_empty() {
            return self.has(anchor);
        }
        let folder = path.parent().unwrap_or(path);
        let Ok(target) = folder.join(file).canonicalize() else { return false };
        documents.get(&target).is_none_or(|document| document.has(anchor))
    }

    fn has(&self, anchor: Option<&str>) -> bool {
        anchor.is_none_or(|anchor| self.anchors.contains(anchor))
    }
}

/// Whether a link leaves the repository; such a link is not followed, for tests need no network.
fn is_outside(link: &str) -> bool {
    link.contains("://") || link.starts_with("mailto:")
}

/// The anchor that forges give to a heading: lower case, punctuation dropped, spaces as hyphens.
fn slug(title: &str) -> String {
    let kept = title.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_headings_that_are_not_there_are_dead() {
        let text = "# The `proof`, in short\n[a](#the-proof-in-short) [b](#nothing) [c](https://example.org/x)\n\
                    ```\n[d](nowhere.md)\n```\n[e](nowhere.md)\n# Twice\n# Twice\n[f](#twice-1) [g](#twice-2)";
        let document = Document::read(text);
        let (path, others) = (PathBuf::from("here.md"), HashMap::new());
        let dead: Vec<_> = document.dead(&path, &others).collect();
        assert_eq!(dead, ["#nothing", "nowhere.md", "#twice-2"]);
    }

    #[test]
    fn forbidden_words_are_found_with_their_line() {
        let name = Path::new("docs/a.md");
        let text = format!("fine\nsee /{}/me/notes", "home");
        assert_eq!(
            forbidden(name, &text).collect::<Vec<_>>(),
            ["docs/a.md:2: `/home/`: a path of one machine"]
        );
        assert_eq!(forbidden(Path::new(SELF), &text).count(), 0);
    }
}
