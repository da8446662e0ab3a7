//! Which spellings of a parameter's value are one value.

use super::UnicodeForm;
use crate::key::{ColumnForm, KeyError, MalformedValue, column::boolean_word, escape::Place};

/// Whether letter case counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LetterCase {
    /// It counts.
    #[default]
    Exact,
    /// It does not: letters of all scripts are written in lower case.
    Fold,
}

impl LetterCase {
    /// `text` in this letter case and Unicode form.
    pub(super) fn apply(self, text: &str, unicode: UnicodeForm) -> String {
        let normal = unicode.apply(text);
        match self {
            Self::Exact => normal.into_owned(),
            // Lower case can leave the normal form that its input was in.
            Self::Fold => {
                let lower: String = normal.chars().flat_map(char::to_lowercase).collect();
                unicode.apply(&lower).into_owned()
            }
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Fold => "fold",
        }
    }
}

/// Whether white space counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhiteSpace {
    /// It counts.
    #[default]
    Exact,
    /// None at the ends, and one space for any run of it inside.
    Collapse,
}

/// How a parameter's value is written in the key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ValueRule {
    /// Text.
    Text {
        /// Whether letter case counts.
        case: LetterCase,
        /// Whether white space counts.
        space: WhiteSpace,
    },
    /// `true`, `True`, `t`, `yes`, `on`, `1`, and their opposites.
    Boolean,
    /// A decimal number: `1`, `1.0` and `01` are one.
    Number,
    /// One of these, white space around it not counting.
    OneOf {
        /// The allowed values.
        values: Vec<String>,
        /// Whether letter case counts.
        case: LetterCase,
    },
}

impl ValueRule {
    /// Text that is kept exactly.
    #[must_use]
    pub const fn exact_text() -> Self {
        Self::Text { case: LetterCase::Exact, space: WhiteSpace::Exact }
    }

    /// Text in which neither letter case nor white space counts: what people type into a search field.
    #[must_use]
    pub const fn search_text() -> Self {
        Self::Text { case: LetterCase::Fold, space: WhiteSpace::Collapse }
    }

    /// One of `values`, letter case not counting.
    pub fn one_of(values: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::OneOf { values: values.into_iter().map(Into::into).collect(), case: LetterCase::Fold }
    }

    /// Brings declared values to the form in which they are compared.
    pub(super) fn normalise(&mut self, unicode: UnicodeForm) {
        if let Self::OneOf { values, case } = self {
            for value in values.iter_mut() {
                *value = case.apply(value.trim(), unicode);
            }
            values.sort();
            values.dedup();
        }
    }

    /// The canonical value that `text` spells.
    pub(super) fn apply(&self, name: &str, text: &str, unicode: UnicodeForm) -> Result<String, KeyError> {
        let wrong_type = |error| match error {
            MalformedValue::WrongType { expected } => KeyError::WrongType { part: name.into(), expected },
            _ => KeyError::BadEncoding,
        };
        match self {
            Self::Text { case, space } => {
                let text = case.apply(text, unicode);
                Ok(if *space == WhiteSpace::Collapse { collapse(&text) } else { text })
            }
            Self::Boolean => boolean_word(text).map(Into::into).map_err(wrong_type),
            Self::Number => {
                let mut number = String::new();
                let written = ColumnForm::Numeric.write_spelled(text, Place::Body, &mut number);
                written.map(|()| number).map_err(wrong_type)
            }
            Self::OneOf { values, case } => {
                let value = case.apply(text.trim(), unicode);
                let known = values.binary_search(&value).is_ok();
                known
                    .then_some(value)
                    .ok_or_else(|| KeyError::NotOneOf { parameter: name.into(), allowed: values.join(", ") })
            }
        }
    }

    pub(super) fn describe(&self, line: &mut impl FnMut(&[&str])) {
        match self {
            Self::Text { case, space } => {
                line(&["text", case.name(), if *space == WhiteSpace::Exact { "exact" } else { "collapse" }]);
            }
            Self::Boolean => line(&["boolean"]),
            Self::Number => line(&["number"]),
            Self::OneOf { values, case } => {
                line(&["one-of", case.name()]);
                values.iter().for_each(|value| line(&["value", value]));
            }
        }
    }
}

fn collapse(text: &str) -> String {
    let mut collapsed = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !collapsed.is_empty() {
            collapsed.push(' ');
        }
        collapsed.push_str(word);
    }
    collapsed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn apply(rule: &ValueRule, text: &str) -> Result<String, KeyError> {
        rule.apply("p", text, UnicodeForm::Nfc)
    }

    #[test]
    fn each_rule_joins_its_spellings() {
        assert_eq!(apply(&ValueRule::search_text(), " Trail \t SHOES\u{A0}é ").unwrap(), "trail shoes é");
        assert_eq!(apply(&ValueRule::exact_text(), " A ").unwrap(), " A ");
        assert_eq!(apply(&ValueRule::Boolean, "True").unwrap(), apply(&ValueRule::Boolean, "1").unwrap());
        for text in ["1", "1.0", "01", " 1", "1e0"] {
            assert_eq!(apply(&ValueRule::Number, text).unwrap(), "1");
        }
        let mut rule = ValueRule::one_of(["Price", "name"]);
        rule.normalise(UnicodeForm::Nfc);
        assert_eq!(apply(&rule, " PRICE ").unwrap(), "price");
        assert!(matches!(apply(&rule, "size"), Err(KeyError::NotOneOf { .. })));
    }

    #[test]
    fn a_letter_that_is_composed_in_lower_case_only_is_one_text() {
        assert_eq!(apply(&ValueRule::search_text(), "J\u{30C}"), apply(&ValueRule::search_text(), "\u{1F0}"));
    }

    proptest! {
        #[test]
        fn applying_a_rule_twice_changes_nothing(text in any::<String>(), fold in any::<bool>(), trim in any::<bool>(), compat in any::<bool>()) {
            let rule = ValueRule::Text {
                case: if fold { LetterCase::Fold } else { LetterCase::Exact },
                space: if trim { WhiteSpace::Collapse } else { WhiteSpace::Exact },
            };
            let unicode = if compat { UnicodeForm::Nfkc } else { UnicodeForm::Nfc };
            let once = rule.apply("p", &text, unicode).unwrap();
            prop_assert_eq!(rule.apply("p", &once, unicode).unwrap(), once);
        }
    }
}
