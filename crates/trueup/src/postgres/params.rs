//! Named parameters (`:id`) in PostgreSQL's SQL: found, and replaced.

/// A query whose parameters can be written otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    /// What stands before each parameter, and the parameter's place among the names.
    parts: Vec<(String, usize)>,
    rest: String,
    names: Vec<String>,
}

impl Template {
    /// Takes `sql` apart. Strings, quoted names, dollar quotes, comments and casts (`::text`) are passed over.
    pub(super) fn new(sql: &str) -> Self {
        let bytes = sql.as_bytes();
        let (mut parts, mut names) = (Vec::new(), Vec::<String>::new());
        let (mut at, mut begun) = (0, 0);
        while at < bytes.len() {
            at = match bytes[at] {
                b'\'' => after_string(sql, at),
                b'"' => after(sql, at + 1, "\""),
                b'-' if bytes[at..].starts_with(b"--") => after(sql, at + 2, "\n"),
                b'/' if bytes[at..].starts_with(b"/*") => after_comment(bytes, at),
                b'$' => after_dollar_quote(sql, at),
                b':' if bytes[at..].starts_with(b"::") => at + 2,
                b':' => {
                    let name = identifier(&sql[at + 1..]);
                    if !name.is_empty() {
                        let place = names.iter().position(|known| known == name).unwrap_or_else(|| {
                            names.push(name.to_owned());
                            names.len() - 1
                        });
                        parts.push((sql[begun..at].to_owned(), place));
                        begun = at + 1 + name.len();
                    }
                    at + 1 + name.len()
                }
                _ => at + 1,
            };
        }
        Self { parts, rest: sql[begun.min(sql.len())..].to_owned(), names }
    }

    /// The names, each once, in order of appearance.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// The query with `written` in the place of each parameter, which is told by its place among the names.
    pub(super) fn write(&self, written: impl Fn(usize) -> String) -> String {
        let mut sql = String::new();
        for (before, place) in &self.parts {
            sql.push_str(before);
            sql.push_str(&written(*place));
        }
        sql + &self.rest
    }
}

/// Index just past the next `end` at or after `from`; the end of the text if there is none.
fn after(sql: &str, from: usize, end: &str) -> usize {
    sql.get(from..).and_then(|rest| rest.find(end)).map_or(sql.len(), |i| from + i + end.len())
}

/// Past a string; one that begins with `E` escapes by backslashes.
fn after_string(sql: &str, quote: usize) -> usize {
    let bytes = sql.as_bytes();
    let before = |n: usize| quote.checked_sub(n).and_then(|i| bytes.get(i)).copied();
    let is_name =
        |byte: Option<u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80);
    if !matches!(before(1), Some(b'e' | b'E')) || is_name(before(2)) {
        return after(sql, quote + 1, "'");
    }
    let mut at = quote + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'\'' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Past a comment; PostgreSQL's may stand in each other.
fn after_comment(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start + 2, 1);
    while at < bytes.len() && depth > 0 {
        match &bytes[at..] {
            [b'/', b'*', ..] => (at, depth) = (at + 2, depth + 1),
            [b'*', b'/', ..] => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
    }
    at
}

/// Past `$$...$$` or `$tag$...$tag$`; past the `$` alone where that is no quote.
fn after_dollar_quote(sql: &str, start: usize) -> usize {
    let bytes = sql.as_bytes();
    let in_name = start > 0 && (bytes[start - 1].is_ascii_alphanumeric() || bytes[start - 1] == b'_');
    let tag = identifier(&sql[start + 1..]);
    let end = start + 1 + tag.len();
    if in_name || bytes.get(end) != Some(&b'$') {
        return start + 1;
    }
    after(sql, end + 1, &sql[start..=end])
}

/// The name at the start of `text`; none where that begins with a digit, as the bound of an array slice does.
fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
    if text.starts_with(|c: char| c.is_ascii_digit()) { "" } else { &text[..end] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(sql: &str) -> (String, Vec<String>) {
        let template = Template::new(sql);
        (template.write(|place| format!("${}", place + 1)), template.names().to_vec())
    }

    #[test]
    fn each_name_is_one_parameter() {
        let (sql, names) = numbered("SELECT * FROM t WHERE a = :id AND b > :since::date AND c = :id");
        assert_eq!(sql, "SELECT * FROM t WHERE a = $1 AND b > $2::date AND c = $1");
        assert_eq!(names, ["id", "since"]);
    }

    #[test]
    fn what_is_no_parameter_is_left_alone() {
        for sql in [
            "SELECT ':no', 'it''s :no', \":no\", a::text, x[1:2] -- :no\n /* /* :no */ :no */ FROM t",
            "SELECT E'\\':no', $$ :no $$, $f$ $$ :no $f$, a$b FROM t",
            "SELECT 'é :no",
            "/* :no",
            "$$ :no",
            "E'\\",
            ":",
        ] {
            assert_eq!(numbered(sql), (sql.to_owned(), Vec::new()));
        }
        assert_eq!(numbered("SELECT $1 = :a, type':no' = :b, E'x' = :c").1, ["a", "b", "c"]);
    }
}
