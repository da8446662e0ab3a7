//! Text under the collations that decide which texts are equal.

use std::fmt::{self, Write};

use super::{Escaped, MalformedValue, Place, SqlValue};

/// Which texts a column holds equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Collation {
    /// Byte by byte: SQLite `BINARY`, and every deterministic collation of PostgreSQL.
    #[default]
    Binary,
    /// SQLite `NOCASE`: the 26 ASCII letters without case.
    NoCase,
    /// PostgreSQL `citext`: letters of all scripts without case, one character at a time, as `lower()` has it where the
    /// database's locale follows Unicode. Use [`ColumnForm::Opaque`](super::ColumnForm::Opaque) for another locale.
    CiText,
    /// Spaces at the end do not count: SQLite `RTRIM`, PostgreSQL `char(n)`.
    RTrim,
}

impl Collation {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::NoCase => "nocase",
            Self::CiText => "citext",
            Self::RTrim => "rtrim",
        }
    }

    /// Writes the text that stands for all texts equal to `text`.
    pub(super) fn write(self, text: &str, out: &mut impl Write) -> fmt::Result {
        match self {
            Self::Binary => out.write_str(text),
            Self::NoCase => write_nocase(text, out),
            Self::CiText => text.chars().flat_map(char::to_lowercase).try_for_each(|c| out.write_char(c)),
            Self::RTrim => out.write_str(text.trim_end_matches(' ')),
        }
    }
}

/// SQLite's comparison stops at a NUL and then compares lengths alone: what follows counts by its bytes only.
fn write_nocase(text: &str, out: &mut impl Write) -> fmt::Result {
    let compared = text.find('\0').unwrap_or(text.len());
    text[..compared].chars().try_for_each(|c| out.write_char(c.to_ascii_lowercase()))?;
    (compared..text.len()).try_for_each(|_| out.write_char('\0'))
}

pub(super) fn write(
    collation: Collation,
    value: SqlValue<'_>,
    place: Place,
    out: &mut impl Write,
) -> Result<(), MalformedValue> {
    match value {
        SqlValue::Text(text) => Ok(collation.write(text, &mut Escaped::new(out, place))?),
        SqlValue::Int(int) => Ok(out.write_str(itoa::Buffer::new().format(int))?),
        SqlValue::Uint(int) => Ok(out.write_str(itoa::Buffer::new().format(int))?),
        _ => Err(MalformedValue::type_error("text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(collation: Collation, text: &str) -> String {
        let mut out = String::new();
        collation.write(text, &mut out).unwrap();
        out
    }

    #[test]
    fn each_collation_joins_what_it_holds_equal() {
        assert_eq!(folded(Collation::Binary, "Ab "), "Ab ");
        assert_eq!(folded(Collation::NoCase, "ABC É"), "abc É");
        assert_eq!(folded(Collation::CiText, "ABC É"), "abc é");
        assert_eq!(folded(Collation::RTrim, " a  "), " a");
        assert_eq!(folded(Collation::RTrim, "a\t"), "a\t");
    }

    #[test]
    fn a_final_sigma_is_folded_like_any_other() {
        assert_eq!(folded(Collation::CiText, "ΑΣ"), folded(Collation::CiText, "ασ"));
    }

    #[test]
    fn nocase_sees_only_the_length_after_a_nul() {
        assert_eq!(folded(Collation::NoCase, "A\0b"), folded(Collation::NoCase, "a\0c"));
        assert_ne!(folded(Collation::NoCase, "A\0b"), folded(Collation::NoCase, "a\0cc"));
        assert_eq!(folded(Collation::NoCase, "A\0é"), "a\0\0\0");
    }
}
