//! The hot keys of an access log, in memory that does not grow with the log.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, Read as _},
    ops::ControlFlow,
};

use compact_str::CompactString;
use trueup_core::policy::{Counted, SpaceSaving};

use super::{
    Routes,
    line::{self, Line},
    patterns,
};

/// Keys that are counted of a class, unless stated: what is asked for more often than once in so many requests is certainly
/// among them.
pub const KEYS_MAX_DEFAULT: usize = 100_000;
/// Classes that are counted: a file of something else must not fill the memory with its words.
const CLASSES_MAX: usize = 1_024;
/// Longest line that is read, in bytes. Of longer ones the rest is passed over, and they count as unread.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// The normal form of a key of a class; none if it is no key of it.
type NormalForm<'a> = Box<dyn Fn(&str, &str) -> Option<CompactString> + Send + 'a>;

/// Counts the keys that the lines of a file ask for.
pub struct Tally<'a> {
    routes: Routes,
    class: Option<String>,
    normal: NormalForm<'a>,
    keys_max: usize,
    classes: BTreeMap<CompactString, SpaceSaving<CompactString>>,
    /// Patterns of the keys, by class, if they are wanted.
    patterns: Option<BTreeMap<CompactString, SpaceSaving<CompactString>>>,
    /// Lines that asked for a key.
    pub counted: u64,
    /// Lines that asked for something else.
    pub other: u64,
    /// Lines that named what is no key of its class, or no class.
    pub unknown: u64,
}

/// The hot keys of one class, the hottest first.
#[derive(Clone, Debug)]
pub struct TalliedClass<'t> {
    /// The class.
    pub name: &'t str,
    /// All requests for keys of the class.
    pub requests: u64,
    /// Key, how often it was asked for at most, and by how much that may be too high.
    pub keys: Vec<(&'t str, u64, u64)>,
    /// The same of patterns with a `*`, which many keys fit; none unless they were asked for.
    pub patterns: Vec<(&'t str, u64, u64)>,
}

/// Shows `line` every line of `from` until it breaks, and none for one that is longer than 64 KiB; `read` is told how many bytes
/// each had. Blocks.
///
/// # Errors
/// `from` cannot be read.
pub fn each_line(
    mut from: impl BufRead,
    mut line: impl FnMut(Option<&str>) -> ControlFlow<()>,
    mut read: impl FnMut(u64),
) -> io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let mut length = from.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes)? as u64;
        if length == 0 {
            return Ok(());
        }
        let goes_on = if length == LINE_BYTES_MAX && bytes.last() != Some(&b'\n') {
            length += from.skip_until(b'\n')? as u64;
            line(None)
        } else {
            // What is no text in a log is no key of ours.
            line(Some(&String::from_utf8_lossy(&bytes)))
        };
        read(length);
        if goes_on.is_break() {
            return Ok(());
        }
    }
}

impl<'a> Tally<'a> {
    /// Counts `keys_max` keys of each class, as they are written.
    #[must_use]
    pub fn new(routes: Routes, keys_max: usize) -> Self {
        Self {
            routes,
            class: None,
            normal: Box::new(|_, key| Some(key.into())),
            keys_max,
            classes: BTreeMap::new(),
            patterns: None,
            counted: 0,
            other: 0,
            unknown: 0,
        }
    }

    /// Only keys of this class; a line that is neither of an access log nor a URL is one.
    #[must_use]
    pub fn of_class(mut self, class: Option<String>) -> Self {
        self.class = class;
        self
    }

    /// Brings keys into normal form, so that two spellings of one key are counted as one, and leaves out what is none.
    #[must_use]
    pub fn in_normal_form(
        mut self,
        normal: impl Fn(&str, &str) -> Option<CompactString> + Send + 'a,
    ) -> Self {
        self.normal = Box::new(normal);
        self
    }

    /// Also counts what keys of several parts have in common: patterns with `*` for one part.
    #[must_use]
    pub fn with_patterns(mut self) -> Self {
        self.patterns = Some(BTreeMap::new());
        self
    }

    /// Counts every line of `from`; `read` is told how many bytes each had. Blocks.
    ///
    /// # Errors
    /// `from` cannot be read.
    pub fn read(&mut self, from: impl BufRead, read: impl FnMut(u64)) -> io::Result<()> {
        each_line(
            from,
            |line| {
                match line {
                    Some(line) => self.line(line),
                    None => self.other += 1,
                }
                ControlFlow::Continue(())
            },
            read,
        )
    }

    /// Counts one line.
    pub fn line(&mut self, line: &str) {
        let asked = match line::read_line(line, &self.routes, self.class.as_deref()) {
            Line::Asked(asked) => asked,
            Line::Other => {
                self.other += 1;
                return;
            }
            Line::Empty => return,
        };
        let is_known = self.classes.contains_key(asked.class) || self.classes.len() < CLASSES_MAX;
        let Some(key) = Some(asked.key)
            .filter(|key| is_known && !key.contains('*'))
            .and_then(|key| (self.normal)(asked.class, key))
        else {
            self.unknown += 1;
            return;
        };
        self.counted += 1;
        let keys_max = self.keys_max;
        let count = |classes: &mut BTreeMap<CompactString, SpaceSaving<CompactString>>,
                     key: &CompactString| {
            if !classes.contains_key(asked.class) {
                classes.insert(asked.class.into(), SpaceSaving::new(keys_max));
            }
            if let Some(class) = classes.get_mut(asked.class) {
                class.note_times(key.as_str(), asked.times, || (key.clone(), ()));
            }
        };
        count(&mut self.classes, &key);
        if let Some(of_classes) = &mut self.patterns {
            patterns::of(&key).iter().for_each(|pattern| count(of_classes, pattern));
        }
    }

    /// What was counted: for each class the `most` keys asked for most.
    #[must_use]
    pub fn classes(&self, most: usize) -> Vec<TalliedClass<'_>> {
        fn told(counted: Vec<&Counted<CompactString>>) -> Vec<(&str, u64, u64)> {
            counted.into_iter().map(|one| (one.key.as_str(), one.count, one.error)).collect()
        }
        let patterns_of = |name: &CompactString, keys: &SpaceSaving<CompactString>| {
            let patterns = self.patterns.as_ref()?.get(name)?;
            Some(told(patterns::worth_telling(patterns, keys)))
        };
        self.classes
            .iter()
            .map(|(name, keys)| TalliedClass {
                name,
                requests: keys.seen(),
                keys: told(keys.hottest(most)),
                patterns: patterns_of(name, keys).unwrap_or_default(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_counted_by_class_in_bounded_memory() {
        let mut log = String::new();
        for n in 0..3_000 {
            log.push_str(&format!("h - - [t] \"GET /v1/user/{n} HTTP/1.1\" 200 1\n"));
            log.push_str("h - - [t] \"GET /v1/user/007 HTTP/1.1\" 200 1\n/favicon.ico\nuser x\n# nothing\n");
        }
        log.push_str(&"y".repeat(3 * LINE_BYTES_MAX as usize));
        log.push_str("\nshelf 9");
        let numbers = |_: &str, key: &str| Some(key.parse::<u64>().ok()?.to_string().into());
        let mut tally = Tally::new(Routes::default(), 100).in_normal_form(numbers);
        let mut bytes = 0;
        tally.read(log.as_bytes(), |read| bytes += read).unwrap();
        assert_eq!(bytes, log.len() as u64);
        assert_eq!((tally.counted, tally.other, tally.unknown), (6_001, 3_001, 3_000));
        let classes = tally.classes(2);
        assert_eq!(classes.iter().map(|class| class.name).collect::<Vec<_>>(), ["shelf", "user"]);
        let user = &classes[1];
        assert_eq!((user.requests, user.keys.len()), (6_000, 2));
        assert_eq!(user.keys[0], ("7", 3_001, 0), "two spellings of one key");
    }

    #[test]
    fn patterns_are_no_keys_and_a_list_keeps_its_order() {
        let mut tally = Tally::new(Routes::default(), 100).of_class(Some("shelf".into()));
        for line in ["b", "a", "hats,*", "c"] {
            tally.line(line);
        }
        let classes = tally.classes(9);
        assert_eq!(classes[0].keys.iter().map(|(key, ..)| *key).collect::<Vec<_>>(), ["b", "a", "c"]);
        assert_eq!(tally.unknown, 1);
    }
}
