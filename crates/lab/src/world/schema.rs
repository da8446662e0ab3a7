//! The tables of the run, the same text for every database.
//!
//! Each object has a line in `ledger`, which numbers its versions: every transaction that writes an object's rows first
//! raises its number there. So the database itself says in which order states were committed, also when the writer has
//! not heard the answer, and also of states without a row.

use crate::history::Object;

/// What the two accounts of a pair hold together, always.
pub(crate) const PAIR_SUM: i64 = 2_000;

/// How many objects there are, and which is which.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// Objects `0..pairs`: two accounts each.
    pub(crate) pairs: u32,
    /// The objects after them: one item each.
    pub(crate) items: u32,
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
        self.pairs + self.items
    }

    pub(crate) const fn is_pair(self, object: Object) -> bool {
        object < self.pairs
    }

    /// The two accounts of a pair.
    pub(crate) const fn accounts(self, pair: Object) -> [Row; 2] {
        let first = Row { class: "account", id: 2 * pair + 1, object: pair };
        [first, Row { id: first.id + 1, ..first }]
    }

    /// The row of an item.
    pub(crate) const fn item(self, object: Object) -> Row {
        Row { class: "item", id: object - self.pairs + 1, object }
    }

    /// One of the rows of `object`.
    pub(crate) const fn row(self, object: Object, second: bool) -> Row {
        if self.is_pair(object) { self.accounts(object)[second as usize] } else { self.item(object) }
    }

    /// Statements that make the tables and fill them: each object present, at version 1.
    pub(crate) fn statements(self) -> Vec<String> {
        let rows =
            |count: u32, row: &dyn Fn(u32) -> String| (0..count).map(row).collect::<Vec<_>>().join(", ");
        let half = PAIR_SUM / 2;
        vec![
            "CREATE TABLE ledger (object INTEGER PRIMARY KEY, version BIGINT NOT NULL)".to_owned(),
            "CREATE TABLE account (id INTEGER PRIMARY KEY, balance BIGINT NOT NULL, version BIGINT NOT NULL, \
             writer TEXT NOT NULL)"
                .to_owned(),
            "CREATE TABLE item (id INTEGER PRIMARY KEY, body TEXT NOT NULL, slot BIGINT NOT NULL UNIQUE, \
             version BIGINT NOT NULL, writer TEXT NOT NULL)"
                .to_owned(),
            format!("INSERT INTO ledger VALUES {}", rows(self.objects(), &|object| format!("({object}, 1)"))),
            format!(
                "INSERT INTO account VALUES {}",
                rows(2 * self.pairs, &|index| format!("({}, {half}, 1, 'seed')", index + 1))
            ),
            format!(
                "INSERT INTO item VALUES {}",
                rows(self.items, &|index| format!("({0}, '{1}', {0}, 1, 'seed')", index + 1, body(index + 1)))
            ),
        ]
    }
}

/// What every state of an item says of itself, so that a mix-up of keys is seen.
pub(crate) fn body(id: u32) -> String {
    format!("item {id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_know_their_object_and_nobody_shares_one() {
        let layout = Layout { pairs: 3, items: 2 };
        let mut rows: Vec<_> = (0..layout.objects()).map(|object| layout.row(object, false)).collect();
        rows.extend((0..layout.pairs).map(|pair| layout.row(pair, true)));
        let mut names: Vec<_> = rows.iter().map(|row| (row.class, row.id)).collect();
        names.sort_unstable();
        let expected: Vec<_> =
            (1..=6).map(|id| ("account", id)).chain((1..=2).map(|id| ("item", id))).collect();
        assert_eq!(names, expected);
    }
}
