//! What a writer does next: one transaction, as text that any program could send.

use rand::{Rng as _, rngs::StdRng, seq::IndexedRandom as _};
use std::sync::atomic::Ordering;

use crate::{
    history::Object,
    world::{Book, Effect, schema::body},
};

/// Largest amount of one transfer.
const AMOUNT_MAX: i64 = 100;
/// Of a hundred writes to items, so many delete.
const DELETES_PERCENT: u32 = 20;

/// A transaction, and the states that it makes.
#[derive(Clone, Debug)]
pub(crate) struct Op {
    pub(crate) effects: Vec<Effect>,
    pub(crate) statements: Vec<String>,
}

impl Op {
    /// A transaction that raises the version of each object, and then runs `statements`.
    fn new(effects: Vec<Effect>, statements: Vec<String>) -> Self {
        let raise = |effect: &Effect| {
            format!(
                "UPDATE ledger SET version = version + 1 WHERE object = {} RETURNING version",
                effect.object
            )
        };
        let statements = effects.iter().map(raise).chain(statements).collect();
        Self { effects, statements }
    }
}

/// The version that the transaction has given to `object`.
fn version(object: Object) -> String {
    format!("(SELECT version FROM ledger WHERE object = {object})")
}

/// Money moves between the two accounts of a pair.
pub(crate) fn transfer(book: &Book, pair: Object, writer: &str, dice: &mut StdRng) -> Op {
    let amount = dice.random_range(-AMOUNT_MAX..=AMOUNT_MAX);
    let [first, second] = book.layout.accounts(pair);
    let part = |id: u32, amount: i64| {
        format!(
            "UPDATE account SET balance = balance + ({amount}), version = {}, writer = '{writer}' WHERE id = {id}",
            version(pair)
        )
    };
    let effects = vec![Effect { object: pair, present: true }];
    Op::new(effects, vec![part(first.id, amount), part(second.id, -amount)])
}

/// The row is there, whether it was or not.
pub(crate) fn put(book: &Book, object: Object, writer: &str) -> Op {
    let row = book.layout.single(object);
    let (body, slot, version) = (body(row), book.slot(), version(object));
    let upsert = format!(
        "INSERT INTO {} (id, body, slot, version, writer) VALUES ({}, '{body}', {slot}, {version}, '{writer}') \
         ON CONFLICT (id) DO UPDATE SET body = excluded.body, version = excluded.version, writer = excluded.writer",
        row.class, row.id
    );
    Op::new(vec![Effect { object, present: true }], vec![upsert])
}

/// The row is gone.
pub(crate) fn delete(book: &Book, object: Object) -> Op {
    let row = book.layout.single(object);
    let delete = format!("DELETE FROM {} WHERE id = {}", row.class, row.id);
    Op::new(vec![Effect { object, present: false }], vec![delete])
}

/// `item` is written with the slot of `other`, which is pushed out without a DELETE of its own.
pub(crate) fn replace(book: &Book, item: Object, other: Object, writer: &str) -> Op {
    let (row, other_id) = (book.layout.single(item), book.layout.single(other).id);
    let (id, body, slot, version) = (row.id, body(row), book.slot(), version(item));
    let replace = format!(
        "REPLACE INTO item (id, body, slot, version, writer) VALUES ({id}, '{body}', \
         COALESCE((SELECT slot FROM item WHERE id = {other_id}), {slot}), {version}, '{writer}')"
    );
    let effects = vec![Effect { object: item, present: true }, Effect { object: other, present: false }];
    Op::new(effects, vec![replace])
}

/// The row of `from` takes the key of `to`.
pub(crate) fn rekey(book: &Book, from: Object, to: Object, writer: &str) -> Op {
    let (row, from_id) = (book.layout.single(to), book.layout.single(from).id);
    let update = format!(
        "UPDATE item SET id = {}, body = '{}', version = {}, writer = '{writer}' WHERE id = {from_id}",
        row.id,
        body(row),
        version(to)
    );
    let effects = vec![Effect { object: from, present: false }, Effect { object: to, present: true }];
    Op::new(effects, vec![update])
}

/// The next transaction on `object`, which may touch another of the same owner's `items` too.
pub(crate) fn next(book: &Book, object: Object, items: &[Object], writer: &str, dice: &mut StdRng) -> Op {
    if book.layout.is_pair(object) {
        return transfer(book, object, writer, dice);
    }
    let percent = |of: u32, dice: &mut StdRng| dice.random_ratio(of.min(100), 100);
    let is_item = book.layout.item_objects().contains(&object);
    let other = items.choose(dice).copied().filter(|other| is_item && *other != object);
    if let Some(other) = other {
        if percent(book.mix.replace.load(Ordering::Relaxed), dice) {
            return replace(book, object, other, writer);
        }
        let can = book.is_present(object) && !book.is_present(other);
        if can && percent(book.mix.rekey.load(Ordering::Relaxed), dice) {
            return rekey(book, object, other, writer);
        }
    }
    if percent(DELETES_PERCENT, dice) { delete(book, object) } else { put(book, object, writer) }
}
