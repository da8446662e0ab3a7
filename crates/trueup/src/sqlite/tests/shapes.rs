//! Tables of every shape that makes a difference to the triggers.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, types::Value};
use trueup_core::proof::Tag;

use super::super::{
    canonical::canonical_parts,
    install::{FeedPlan, InstallOptions},
    log,
    registry::{GroupSpec, Registry},
};

/// Each makes a table `t` with columns `k`, `u`, `v`, `g` (and perhaps `k2`), and perhaps more.
pub(super) const SHAPES: &[(&str, &str)] = &[
    ("integer key, unique with a default", "CREATE TABLE t(k INTEGER PRIMARY KEY, u TEXT UNIQUE NOT NULL DEFAULT 'b', v INT, g INT)"),
    ("default by expression", "CREATE TABLE t(k INTEGER PRIMARY KEY, u TEXT UNIQUE NOT NULL DEFAULT (lower('B')), v INT, g INT)"),
    ("text key without case", "CREATE TABLE t(k TEXT COLLATE NOCASE PRIMARY KEY, u INT UNIQUE, v INT, g TEXT COLLATE NOCASE)"),
    ("text key without end spaces", "CREATE TABLE t(k TEXT COLLATE RTRIM PRIMARY KEY, u, v, g)"),
    ("untyped key", "CREATE TABLE t(k PRIMARY KEY, u, v, g, UNIQUE(u, v))"),
    ("without rowid, composite", "CREATE TABLE t(k INT, k2 TEXT DEFAULT 'a', u TEXT, v INT, g INT, PRIMARY KEY(k, k2)) WITHOUT ROWID; CREATE UNIQUE INDEX ux ON t(u COLLATE NOCASE)"),
    ("replaces by declaration", "CREATE TABLE t(k INTEGER PRIMARY KEY ON CONFLICT REPLACE, u TEXT UNIQUE ON CONFLICT REPLACE, v INT, g INT)"),
    ("descending integer key", "CREATE TABLE t(k INTEGER PRIMARY KEY DESC, u REAL UNIQUE, v INT, g INT)"),
    ("partial index", "CREATE TABLE t(k INTEGER PRIMARY KEY, u TEXT, v INT, g INT); CREATE UNIQUE INDEX ux ON t(u) WHERE v > 0"),
    ("partial index that names its table", "CREATE TABLE t(k INTEGER PRIMARY KEY, u TEXT, v INT, g INT); CREATE UNIQUE INDEX ux ON t(u) WHERE t.v > 0 -- rich"),
    ("index over an expression", "CREATE TABLE t(k INTEGER PRIMARY KEY, u TEXT, v INT, g INT); CREATE UNIQUE INDEX ux ON t(lower(u))"),
    ("index over a computed column", "CREATE TABLE t(k INTEGER PRIMARY KEY, u TEXT, v INT, g INT, c TEXT AS (lower(u)) STORED UNIQUE)"),
    ("strict", "CREATE TABLE t(k TEXT PRIMARY KEY, u ANY UNIQUE, v ANY, g ANY) STRICT"),
    ("no key", "CREATE TABLE t(k INT, u TEXT UNIQUE, v INT, g INT)"),
    ("key compared otherwise than its column", "CREATE TABLE t(k TEXT, u TEXT UNIQUE, v INT, g INT, PRIMARY KEY(k COLLATE NOCASE))"),
    ("cascades", "CREATE TABLE p(k INTEGER PRIMARY KEY, u TEXT UNIQUE, v INT, g INT);
        CREATE TABLE t(k INTEGER PRIMARY KEY, u TEXT UNIQUE, v INT REFERENCES p(k) ON DELETE CASCADE ON UPDATE CASCADE, g INT REFERENCES p(k) ON DELETE SET NULL ON UPDATE CASCADE)"),
    ("triggers of its own", "CREATE TABLE t(k INTEGER PRIMARY KEY, u TEXT UNIQUE, v INT, g INT);
        CREATE TRIGGER mine AFTER INSERT ON t WHEN NEW.v = 1 BEGIN INSERT OR REPLACE INTO t VALUES (NEW.k + 1, NEW.u || 'x', 0, NEW.g); END;
        CREATE TRIGGER less BEFORE UPDATE ON t WHEN NEW.v = 2 BEGIN DELETE FROM t WHERE k <> OLD.k AND v = 2; END"),
];

/// A database of one shape, followed, and everything that was raised.
pub(super) struct Followed {
    /// Deleted with the file in it.
    _folder: tempfile::TempDir,
    pub(super) conn: Connection,
    registry: Registry,
}

/// The rows of a table: each row's values by the canonical parts of its key, and of its group.
type Rows = BTreeMap<Vec<String>, BTreeSet<String>>;

impl Followed {
    pub(super) fn new(schema: &str, grouped: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shape.db");
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch(schema).unwrap();
        let mut options = InstallOptions::default();
        if grouped {
            let group = GroupSpec { name: "by".into(), columns: vec!["g".into()] };
            options.groups.insert("t".into(), vec![group]);
        }
        FeedPlan::new(&path, &options).unwrap().apply().unwrap();
        conn.pragma_update(None, "foreign_keys", true).unwrap();
        conn.pragma_update(None, "synchronous", false).unwrap();
        let registry = Registry::read(&conn).unwrap();
        Self { _folder: folder, conn, registry }
    }

    pub(super) fn end(&self) -> i64 {
        self.conn.query_row("SELECT max(seq) FROM _trueup_log", [], |row| row.get(0)).unwrap()
    }

    /// All tags raised after `seq`.
    pub(super) fn raised(&self, seq: i64) -> BTreeSet<Tag> {
        let batch = log::read(&self.conn, &self.registry, &BTreeSet::new(), seq, self.end()).unwrap();
        batch.transactions.into_iter().flat_map(|transaction| transaction.tags).collect()
    }

    /// The rows of `t`, by row tag and by group tag.
    pub(super) fn rows(&self) -> [BTreeMap<Tag, BTreeSet<String>>; 2] {
        let table = self.registry.table("t").unwrap();
        let mut by_key = Rows::new();
        let mut by_group = Rows::new();
        let names: Vec<&str> =
            table.logged.key.iter().chain(&table.logged.groups).map(|c| c.name.as_str()).collect();
        let list: String = names.iter().map(|name| format!("{name}, ")).collect();
        let mut statement = self.conn.prepare(&format!("SELECT {list} * FROM t")).unwrap();
        let count = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let part = |columns: &[_], from: usize| {
                canonical_parts(columns, (from..).take(columns.len()).map(|i| row.get_ref(i).unwrap()))
                    .unwrap()
            };
            let values: Vec<Value> = (0..count).map(|i| row.get(i).unwrap()).collect();
            let text = format!("{values:?}");
            let (key, groups) = (&table.logged.key, &table.logged.groups);
            by_key.entry(part(key, 0)).or_default().insert(text.clone());
            by_group.entry(part(groups, key.len())).or_default().insert(text);
        }
        let has_key = !table.logged.key.is_empty();
        let key_tag = |parts: &Vec<String>| {
            if has_key { Tag::row("t", parts.iter().map(String::as_str)) } else { Tag::any("t") }
        };
        let has_groups = !table.logged.groups.is_empty();
        let group_tag = |parts: &Vec<String>| {
            if has_groups { Tag::group("t", "by", parts.iter().map(String::as_str)) } else { Tag::any("t") }
        };
        [
            gather(by_key.iter().map(|(parts, rows)| (key_tag(parts), rows))),
            gather(by_group.iter().map(|(parts, rows)| (group_tag(parts), rows))),
        ]
    }
}

fn gather<'a>(rows: impl Iterator<Item = (Tag, &'a BTreeSet<String>)>) -> BTreeMap<Tag, BTreeSet<String>> {
    let mut by_tag: BTreeMap<Tag, BTreeSet<String>> = BTreeMap::new();
    rows.for_each(|(tag, rows)| by_tag.entry(tag).or_default().extend(rows.iter().cloned()));
    by_tag
}
