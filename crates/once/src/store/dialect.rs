//! What differs between the two databases' SQL.

use std::borrow::Cow;

/// Which database's SQL is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// PostgreSQL 13 or later.
    Postgres,
    /// SQLite 3.45 or later.
    Sqlite,
}

/// Each token, and what it becomes on PostgreSQL and on SQLite.
///
/// PostgreSQL's clock stands in a subquery so that it is read once for the statement and an index can be searched by it;
/// `now()` would be the time of BEGIN, and a transaction that waited for a lock would take a lease for live that has ended.
const TOKENS: [(&str, &str, &str); 4] = [
    (
        "{now}",
        "(SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint)",
        "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
    ),
    ("{for_update}", "FOR UPDATE", ""),
    ("{skip_locked}", "FOR UPDATE SKIP LOCKED", ""),
    ("{for_share}", "FOR SHARE", ""),
];

impl Dialect {
    /// Fills in the tokens, and for SQLite turns `$1` into `?1`: there `$1` is a name, numbered by where it appears first.
    ///
    /// A `$` before a digit is a parameter wherever it stands: no literal in the statement may hold one.
    #[must_use]
    pub fn render(self, sql: &str) -> Cow<'_, str> {
        let mut text = Cow::Borrowed(sql);
        if sql.contains('{') {
            for (token, postgres, sqlite) in TOKENS {
                if text.contains(token) {
                    let by = match self {
                        Self::Postgres => postgres,
                        Self::Sqlite => sqlite,
                    };
                    text = Cow::Owned(text.replace(token, by));
                }
            }
        }
        match self {
            Self::Postgres => text,
            Self::Sqlite => numbered(text),
        }
    }
}

fn numbered(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text.contains('$') {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let parameter = c == '$' && rest.peek().is_some_and(char::is_ascii_digit);
        out.push(if parameter { '?' } else { c });
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_keep_their_numbers() {
        let sql = "UPDATE t SET a = $2 WHERE b = $1 AND c <= {now} {for_share}";
        assert_eq!(
            Dialect::Sqlite.render(sql),
            "UPDATE t SET a = ?2 WHERE b = ?1 AND c <= CAST(unixepoch('subsec') * 1000 AS INTEGER) "
        );
        let postgres = Dialect::Postgres.render(sql);
        assert!(postgres.starts_with("UPDATE t SET a = $2") && postgres.ends_with("FOR SHARE"));
        assert!(!postgres.contains('{'));
    }

    #[test]
    fn plain_text_is_borrowed() {
        assert!(matches!(Dialect::Postgres.render("SELECT $1"), Cow::Borrowed(_)));
        assert!(matches!(Dialect::Sqlite.render("SELECT 1"), Cow::Borrowed(_)));
    }
}
