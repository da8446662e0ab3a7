//! The WHERE of a partial index, which SQLite shows only inside the statement that made the index.

/// What follows WHERE after the column list of a CREATE INDEX; none where it cannot be found.
pub(super) fn of_index(sql: &str) -> Option<&str> {
    let after_columns = skip_columns(sql)?;
    let rest = &sql[after_columns..];
    let start = rest.find(|c: char| !c.is_whitespace())?;
    let word = rest.get(start..start + "where".len())?;
    word.eq_ignore_ascii_case("where").then(|| rest[start + word.len()..].trim())
}

/// Where the list in the first parentheses ends.
fn skip_columns(sql: &str) -> Option<usize> {
    let bytes = sql.as_bytes();
    let (mut at, mut depth) = (0, 0_u32);
    while at < bytes.len() {
        let rest = &sql[at..];
        at = match bytes[at] {
            b'\'' | b'"' | b'`' => at + quoted(rest)?,
            b'[' => at + rest.find(']')? + 1,
            b'-' if rest.starts_with("--") => at + rest.find('\n')? + 1,
            b'/' if rest.starts_with("/*") => at + rest.find("*/")? + 2,
            b'(' => {
                depth += 1;
                at + 1
            }
            b')' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
                at + 1
            }
            _ => at + rest.chars().next()?.len_utf8(),
        };
    }
    None
}

/// Length of the quoted text at the beginning. A doubled quote stands for itself and reads as two texts side by side.
fn quoted(text: &str) -> Option<usize> {
    let quote = text.chars().next()?;
    Some(text[1..].find(quote)? + 2)
}

#[cfg(test)]
mod tests {
    use super::of_index;

    #[test]
    fn the_predicate_is_found_behind_names_and_comments() {
        for (sql, predicate) in [
            ("CREATE UNIQUE INDEX i ON t(u) WHERE v > 0", Some("v > 0")),
            (
                "CREATE UNIQUE INDEX \"i (where)\" ON t (\"u)\" COLLATE NOCASE, abs(v)) where v IN ('a)', 1)",
                Some("v IN ('a)', 1)"),
            ),
            ("CREATE UNIQUE INDEX i ON t(/* ) */ u -- )\n, v)\n  WHERE\n v NOT NULL", Some("v NOT NULL")),
            ("CREATE UNIQUE INDEX i ON [t(] (u)\tWHERE x='it''s'", Some("x='it''s'")),
            ("CREATE UNIQUE INDEX ё ON т(ж) WHERE ж > 'ы'", Some("ж > 'ы'")),
            ("CREATE UNIQUE INDEX i ON t(u)", None),
            ("CREATE UNIQUE INDEX i ON t(u", None),
            ("CREATE UNIQUE INDEX i ON t(u) -- WHERE", None),
            ("CREATE UNIQUE INDEX i ON t('", None),
        ] {
            assert_eq!(of_index(sql), predicate, "{sql}");
        }
    }
}
