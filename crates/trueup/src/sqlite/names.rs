//! Names of everything that is installed into a database, and the SQL that several files share.

/// Every table and trigger of ours begins with this.
pub(super) const PREFIX: &str = "_trueup_";
/// One row: version, system id, feed nonce, and the journal mode to go back to.
pub(super) const META: &str = "_trueup_meta";
/// The followed tables.
pub(super) const TABLES: &str = "_trueup_table";
/// The processes that follow the log.
pub(super) const READERS: &str = "_trueup_reader";
/// The log of changes.
pub(super) const LOG: &str = "_trueup_log";

/// Version of all that is installed; a newer one than this is refused.
pub(super) const FEED_VERSION: i64 = 1;

/// Milliseconds since 1970 by the database's clock. Written so that every SQLite since 3.8 understands it, because
/// triggers run inside other programs.
pub(super) const NOW_MS: &str = "CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER)";

/// Stands for a table's rows inside a trigger: the table may itself be called `new` or `old`.
pub(super) const ROW: &str = "_trueup_row";

/// What a log row tells.
pub(super) mod kind {
    /// Nothing: the first row of a log.
    pub(in super::super) const MARK: i64 = 0;
    /// A row changed: its key and group columns, before or after, stand in `v0` and following.
    pub(in super::super) const ROW: i64 = 1;
    /// A table changed in a way that is not told row by row.
    pub(in super::super) const WIDE: i64 = 2;
    /// A tag was raised by hand; its hash stands in `v0`.
    pub(in super::super) const TAG: i64 = 3;
    /// A process wants to join the epoch; its reader id stands in `v0`.
    pub(in super::super) const JOIN: i64 = 4;
}

/// `name` as an SQL identifier.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `text` as an SQL string literal.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Whether two names are the same name to SQLite.
pub(super) fn same_name(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}
