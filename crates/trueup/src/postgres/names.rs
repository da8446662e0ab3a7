//! Names of everything that is installed into a database, and how names are written in SQL.

/// The schema of Trueup's own tables.
pub(super) const SCHEMA: &str = "trueup";
/// The publication of the tables in use.
pub(super) const PUBLICATION: &str = "trueup";
/// The declared groups, by table.
pub(super) const GROUPS: &str = "trueup.groups";
/// Prefix of logical messages that raise tags.
pub(super) const TAGS_PREFIX: &str = "trueup.tags";

/// `name` as an SQL identifier.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `text` as an SQL string literal.
pub(super) fn literal(text: &str) -> String {
    // Without a backslash the plain form means the same whatever `standard_conforming_strings` says.
    if text.contains('\\') {
        format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

/// A relation as an SQL identifier.
pub(super) fn qualified(schema: &str, table: &str) -> String {
    format!("{}.{}", identifier(schema), identifier(table))
}

/// The name of a relation as it stands in tags and messages.
pub(super) fn tag_name(schema: &str, table: &str) -> String {
    format!("{schema}.{table}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(qualified("a\"b", "c"), "\"a\"\"b\".\"c\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\b'"), "E'a\\\\b'''");
    }
}
