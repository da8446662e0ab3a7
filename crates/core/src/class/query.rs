//! Named parameters of a query, found without parsing SQL.

/// The names of the parameters (`:id`) of `sql`, each once, in order of appearance. Strings, quoted names, comments
/// and casts (`::text`) are passed over.
#[must_use]
pub fn named_parameters(sql: &str) -> Vec<&str> {
    let bytes = sql.as_bytes();
    let mut found: Vec<&str> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        at = match bytes[at] {
            quote @ (b'\'' | b'"' | b'`') => after(sql, at + 1, char::from(quote).encode_utf8(&mut [0; 4])),
            b'[' => after(sql, at + 1, "]"),
            b'-' if bytes[at..].starts_with(b"--") => after(sql, at + 2, "\n"),
            b'/' if bytes[at..].starts_with(b"/*") => after(sql, at + 2, "*/"),
            b':' if bytes[at..].starts_with(b"::") => at + 2,
            b':' => {
                let name = identifier(&sql[at + 1..]);
                if !name.is_empty() && !found.contains(&name) {
                    found.push(name);
                }
                at + 1 + name.len()
            }
            _ => at + 1,
        };
    }
    found
}

/// Index just past the next `end` at or after `from`; the end of the text if there is none.
fn after(sql: &str, from: usize, end: &str) -> usize {
    sql[from..].find(end).map_or(sql.len(), |i| from + i + end.len())
}

fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_each_name_once_in_order() {
        let sql = "SELECT * FROM t WHERE a = :id AND b > :since AND c = :id";
        assert_eq!(named_parameters(sql), ["id", "since"]);
    }

    #[test]
    fn passes_over_strings_names_comments_and_casts() {
        let sql = "SELECT ':no', 'it''s :no', \":no\", `:no`, [:no], a::text -- :no\n /* :no */ FROM t WHERE é = :yes";
        assert_eq!(named_parameters(sql), ["yes"]);
        for unterminated in ["'", "--", "/*", "[", ":", "::", "é'"] {
            assert_eq!(named_parameters(unterminated), [""; 0]);
        }
    }
}
