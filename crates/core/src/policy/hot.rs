//! Keys that are known to be hot: a list of patterns, as an access log's analysis prints it.
//!
//! One pattern a line, in the normal form of the class's keys; `*` stands for any run of characters. A count may stand in
//! front, followed by a tab: it is for people. Lines that are empty or begin with `#` say nothing. See
//! `docs/guide/absent.md`.

use std::collections::HashSet;

use compact_str::CompactString;

use crate::{key::KeyHashBuilder, limits};

/// Most patterns with a `*`: each is tried in turn.
const HOT_WILDCARDS_MAX: usize = 256;
/// Most patterns in all.
const HOT_KEYS_MAX: usize = 1_000_000;

/// Patterns of keys.
#[derive(Clone, Default)]
pub struct HotKeys {
    exact: HashSet<CompactString, KeyHashBuilder>,
    wild: Vec<Vec<CompactString>>,
}

/// A list of hot keys that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHotKeys {
    /// A line is longer than any key.
    #[error("line {line} is longer than the longest key, {} bytes", limits::KEY_BYTES_MAX)]
    TooLong {
        /// Counted from one.
        line: usize,
    },
    /// Too many patterns.
    #[error("more than {HOT_KEYS_MAX} patterns; keep the hottest")]
    TooMany,
    /// Too many patterns with a `*`.
    #[error("line {line}: more than {HOT_WILDCARDS_MAX} patterns with a `*`; write wider ones")]
    TooManyWild {
        /// Counted from one.
        line: usize,
    },
    /// A pattern that every key fits.
    #[error("line {line}: `*` alone is every key; leave `admission` out instead")]
    Everything {
        /// Counted from one.
        line: usize,
    },
}

impl HotKeys {
    /// Reads a list.
    ///
    /// # Errors
    /// [`BadHotKeys`], naming the line. The keys themselves are not in it.
    pub fn parse(text: &str) -> Result<Self, BadHotKeys> {
        let mut keys = Self::default();
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            let pattern = match line.split_once('\t') {
                Some((count, rest)) if count.trim().parse::<f64>().is_ok() => rest,
                _ => line,
            };
            let pattern = pattern.trim();
            if pattern.is_empty() || pattern.starts_with('#') {
                continue;
            }
            if pattern.len() > limits::KEY_BYTES_MAX {
                return Err(BadHotKeys::TooLong { line: number });
            }
            keys.add(pattern, number)?;
        }
        Ok(keys)
    }

    fn add(&mut self, pattern: &str, line: usize) -> Result<(), BadHotKeys> {
        if pattern.contains('*') {
            let pieces: Vec<CompactString> = pattern.split('*').map(Into::into).collect();
            if pieces.iter().all(|piece| piece.is_empty()) {
                return Err(BadHotKeys::Everything { line });
            }
            if self.wild.len() >= HOT_WILDCARDS_MAX {
                return Err(BadHotKeys::TooManyWild { line });
            }
            self.wild.push(pieces);
        } else {
            self.exact.insert(pattern.into());
        }
        if self.len() > HOT_KEYS_MAX { Err(BadHotKeys::TooMany) } else { Ok(()) }
    }

    /// Whether `key`, in normal form, fits one of the patterns.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.exact.contains(key) || self.wild.iter().any(|pieces| fits(pieces, key))
    }

    /// How many patterns there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.exact.len() + self.wild.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Whether `text` is the pieces in order, with anything between them.
fn fits(pieces: &[CompactString], text: &str) -> bool {
    let [first, between @ .., last] = pieces else { return false };
    let Some(rest) = text.strip_prefix(first.as_str()) else { return false };
    let Some(mut rest) = rest.strip_suffix(last.as_str()) else { return false };
    for piece in between {
        // The first place is the best: it leaves most for the pieces that follow.
        let Some(at) = rest.find(piece.as_str()) else { return false };
        rest = &rest[at + piece.len()..];
    }
    true
}

impl std::fmt::Debug for HotKeys {
    /// Shows no key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HotKeys").field("exact", &self.exact.len()).field("wild", &self.wild.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn counts_comments_and_wildcards_are_read() {
        let keys =
            HotKeys::parse("# hot\n\n1200\tcategory=shoes\n 7.5\tcategory=*;page=1 \nplain\nodd\tkey\n")
                .unwrap();
        for hot in ["category=shoes", "category=hats;page=1", "category=;page=1", "plain", "odd\tkey"] {
            assert!(keys.contains(hot), "{hot}");
        }
        for cold in
            ["category=hats", "category=hats;page=12", "Category=shoes", "xcategory=a;page=1", "# hot", ""]
        {
            assert!(!keys.contains(cold), "{cold}");
        }
        assert_eq!(keys.len(), 4);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_line() {
        assert_eq!(HotKeys::parse("a\n**").unwrap_err(), BadHotKeys::Everything { line: 2 });
        let long = format!("a\nb\n{}", "x".repeat(limits::KEY_BYTES_MAX + 1));
        assert_eq!(HotKeys::parse(&long).unwrap_err(), BadHotKeys::TooLong { line: 3 });
        let wild: String = (0..=HOT_WILDCARDS_MAX).map(|n| format!("{n}*\n")).collect();
        assert_eq!(
            HotKeys::parse(&wild).unwrap_err(),
            BadHotKeys::TooManyWild { line: HOT_WILDCARDS_MAX + 1 }
        );
    }

    proptest! {
        #[test]
        fn a_pattern_fits_what_it_was_made_of(
            pieces in proptest::collection::vec("[ab]{0,3}", 2..5), fill in "[abc]{0,4}",
        ) {
            prop_assume!(pieces.iter().any(|piece| !piece.is_empty()));
            let keys = HotKeys::parse(&pieces.join("*")).unwrap();
            prop_assert!(keys.contains(&pieces.join(&fill)));
        }
    }
}
