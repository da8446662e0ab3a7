//! The tables of the run, the same text for every database.
//!
//! Each object has a line in `ledger`, which numbers its versions: every transaction that writes an object's rows first
//! raises its number there. So the database itself says in which order states were committed, also when the writer has
//! not heard the answer, and also of states without a row.

use std::ops::Range;

use crate::history::Object;

/// What the two accounts of a pair hold together, always.
pub(crate) const PAIR_SUM: i64 = 2_000;

/// How many objects there are, and which is which: pairs of accounts first, then items, then shelves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// Two accounts each.
    pub(crate) pairs: u32,
    /// One row each.
    pub(crate) items: u32,
    /// One row each, in a table of two partitions; none where the database has no such thing.
    pub(crate) shelves: u32,
}

/// A row that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) class: &'static str,
    pub(crate) id: u32,
    pub(crate) object: Object,
}

impl Layout {
    pub(crate) const fn objects(self) -> u32 {
        self.pairs + self.items + self.shelves
    }

    /// The objects that are items.
    pub(crate) const fn item_objects(self) -> Range<Object> {
        self.pairs..self.pairs + self.items
    }

    /// The objects that are shelves.
    pub(crate) const fn shelf_objects(self) -> Range<Object> {
        self.pairs + self.items..self.objects()
    }

    /// The shelves of the upper partition.
    pub(crate) const fn upper_shelves(self) -> Range<Object> {
        self.shelf_objects().start + self.shelves / 2..self.objects()
    }

    pub(crate) const fn is_pair(self, object: Object) -> bool {
        object < self.pairs
    }

    /// The two accounts of a pair.
    pub(crate) const fn accounts(self, pair: Object) -> [Row; 2] {
        let first = Row { class: "account", id: 2 * pair + 1, object: pair };
        [first, Row { id: first.id + 1, ..first }]
    }

    /// The row of an item or a shelf.
    pub(crate) const fn single(self, object: Object) -> Row {
        let shelves = self.shelf_objects().start;
        if object < shelves {
            Row { class: "item", id: object - self.pairs + 1, object }
        } else {
            Row { class: "shelf", id: object - shelves + 1, object }
        }
    }

    /// One of the rows of `object`.
    pub(crate) const fn row(self, object: Object, second: bool) -> Row {
        if self.is_pair(object) { self.accounts(object)[second as usize] } else { self.single(object) }
    }

    /// Statements that make the tables and fill them: each object present, at version 1.
    pub(crate) fn statements(self) -> Vec<String> {
        let rows =
            |count: u32, row: &dyn Fn(u32) -> String| (0..count).map(row).collect::<Vec<_>>().join(", ");
        let half = PAIR_SUM / 2;
        let columns =
            "body TEXT NOT NULL, slot BIGINT NOT NULL, version BIGINT NOT NULL, writer TEXT NOT NULL";
        let mut statements = vec![
            "CREATE TABLE ledger (object INTEGER PRIMARY KEY, version BIGINT NOT NULL)".to_owned(),
            "CREATE TABLE account (id INTEGER PRIMARY KEY, balance BIGINT NOT NULL, version BIGINT NOT NULL, \
             writer TEXT NOT NULL)"
                .to_owned(),
            format!("CREATE TABLE item (id INTEGER PRIMARY KEY, {columns}, UNIQUE (slot))"),
            format!("INSERT INTO ledger VALUES {}", rows(self.objects(), &|object| format!("({object}, 1)"))),
            format!(
                "INSERT INTO account VALUES {}",
                rows(2 * self.pairs, &|index| format!("({}, {half}, 1, 'seed')", index + 1))
            ),
        ];
        if self.shelves > 0 {
            let (middle, end) = (self.shelves / 2 + 1, self.shelves + 1);
            statements.extend([
                format!("CREATE TABLE shelf (id INTEGER PRIMARY KEY, {columns}) PARTITION BY RANGE (id)"),
                format!("CREATE TABLE shelf_lower PARTITION OF shelf FOR VALUES FROM (1) TO ({middle})"),
                format!("CREATE TABLE shelf_upper PARTITION OF shelf FOR VALUES FROM ({middle}) TO ({end})"),
            ]);
        }
        for (table, count) in [("item", self.items), ("shelf", self.shelves)] {
            if count > 0 {
                let row = |index: u32| format!("({0}, '{table} {0}', {0}, 1, 'seed')", index + 1);
                statements.push(format!("INSERT INTO {table} VALUES {}", rows(count, &row)));
            }
        }
        statements
    }
}

/// What every state of a row says of itself, so that a mix-up of keys is seen.
pub(crate) fn body(row: Row) -> String {
    format!("{} {}", row.class, row.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_know_their_object_and_nobody_shares_one() {
        let layout = Layout { pairs: 3, items: 2, shelves: 2 };
        let mut rows: Vec<_> = (0..layout.objects()).map(|object| layout.row(object, false)).collect();
        rows.extend((0..layout.pairs).map(|pair| layout.row(pair, true)));
        let mut names: Vec<_> = rows.iter().map(|row| (row.class, row.id)).collect();
        names.sort_unstable();
        let expected: Vec<_> = [("account", 6), ("item", 2), ("shelf", 2)]
            .into_iter()
            .flat_map(|(class, count)| (1..=count).map(move |id| (class, id)))
            .collect();
        assert_eq!(names, expected);
    }
}
