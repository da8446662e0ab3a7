use super::*;
use crate::postgres::feed::{
    pgoutput::{
        decode,
        tests::{PLAIN, STREAMED, in_order},
    },
    tests::mapper::ByFirstColumn,
};

fn assemble(hex: &str) -> (Assembler, Batch) {
    let mut assembler = Assembler::new(Position(1), Xid(740));
    for (bytes, in_stream) in in_order(hex) {
        assert_eq!(assembler.in_stream(), in_stream);
        assembler.take(decode(&bytes, in_stream).unwrap(), &ByFirstColumn).unwrap();
    }
    let batch = assembler.take_batch().unwrap();
    (assembler, batch)
}

fn sorted(tags: impl IntoIterator<Item = Tag>) -> Vec<Tag> {
    let mut tags: Vec<_> = tags.into_iter().collect();
    tags.sort_unstable();
    tags
}

fn rows(table: &str, keys: &[&str]) -> Vec<Tag> {
    sorted(keys.iter().map(|key| Tag::row(table, [*key])).chain([Tag::any(table)]))
}

#[test]
fn each_transaction_raises_what_it_changed() {
    let (_, batch) = assemble(PLAIN);
    let raised: Vec<_> = batch.transactions.iter().map(|t| t.tags.clone()).collect();
    let (t, big, long) = ("public.t", "public.big", "k".repeat(2100));
    let wide = |table| [Tag::any(table), Tag::wide(table)];
    let expected = [
        rows(t, &["1", "2"]),
        rows(t, &["1"]),
        // A new key: the old row is gone, the new one is there.
        rows(t, &["1", "10"]),
        rows(t, &["2"]),
        rows(big, &[&long]),
        // The unchanged key, filled in from the old row.
        rows(big, &[&long]),
        rows(big, &[&long, "k2"]),
        rows(big, &["k2", "k3"]),
        rows("public.f", &["1"]),
        rows("public.f", &["1"]),
        rows("public.f", &["1"]),
        rows("public.p1", &["5"]),
        // Without the row that was rolled back.
        rows(t, &["3", "5"]),
        sorted(wide(t).into_iter().chain(wide("public.c"))),
        // The message outside of a transaction, at the next position.
        vec![Tag(1)],
        rows(t, &["20"]),
    ];
    assert_eq!(raised, expected);
    assert!(batch.transactions.is_sorted_by_key(|t| t.end));
    assert_eq!(batch.end, batch.transactions.last().unwrap().end);
    assert_eq!((batch.beat, batch.previous), (Some(7), Position(1)));
    let year_2020_us = 1_577_836_800_000_000;
    let timed = batch.committed_at_us.iter().zip(&batch.transactions).filter(|(_, t)| t.xid > Xid(0));
    assert!(
        timed.clone().count() == 15 && timed.clone().all(|(us, _)| *us > year_2020_us),
        "by the clock of 1970"
    );
}

#[test]
fn a_savepoint_rolled_back_after_it_was_sent_raises_nothing() {
    let (_, batch) = assemble(STREAMED);
    let [transaction] = &batch.transactions[..] else { panic!("{}", batch.transactions.len()) };
    let has = |key: &str| transaction.tags.contains(&Tag::row("public.f", [key]));
    assert!(has("1") && has("400") && has("2000") && !has("1001") && !has("1400"));
    assert!(transaction.tags.contains(&Tag(2)), "raised by name");
    assert_eq!(transaction.tags.len(), 401 + 2);
}

#[test]
fn ids_are_those_of_64_bits() {
    let near = Xid(0x5_0000_0000 + 740);
    let mut assembler = Assembler::new(Position(1), Xid(0));
    assembler.near(near);
    for (bytes, in_stream) in in_order(PLAIN) {
        assembler.take(decode(&bytes, in_stream).unwrap(), &ByFirstColumn).unwrap();
    }
    let batch = assembler.take_batch().unwrap();
    assert!(batch.transactions.iter().all(|t| t.xid == Xid(0) || t.xid.0 >> 32 == 5));
}

#[test]
fn a_keepalive_within_a_transaction_moves_nothing() {
    let mut assembler = Assembler::new(Position(10), Xid(740));
    let begin = Event::Begin { final_lsn: 15, committed_at: 0, xid: 750 };
    assembler.take(begin, &ByFirstColumn).unwrap();
    assembler.keepalive(Position(30));
    assert_eq!(assembler.take_batch(), None);
    assembler.take(Event::Commit { end: 20, committed_at: 0 }, &ByFirstColumn).unwrap();
    assembler.keepalive(Position(30));
    assembler.keepalive(Position(25));
    let batch = assembler.take_batch().unwrap();
    assert_eq!((batch.previous, batch.end, batch.transactions.len()), (Position(10), Position(30), 0));
}

#[test]
fn what_cannot_be_is_an_error_and_not_a_guess() {
    let begin = || Event::Begin { final_lsn: 15, committed_at: 0, xid: 750 };
    let mut twice = Assembler::new(Position(10), Xid(740));
    twice.take(begin(), &ByFirstColumn).unwrap();
    assert!(matches!(twice.take(begin(), &ByFirstColumn), Err(AssembleError::Order(_))));
    let mut old = Assembler::new(Position(10), Xid(740));
    old.take(begin(), &ByFirstColumn).unwrap();
    let commit = Event::Commit { end: 10, committed_at: 0 };
    assert!(matches!(old.take(commit, &ByFirstColumn), Err(AssembleError::Order(_))));
    let mut unknown = Assembler::new(Position(10), Xid(740));
    unknown.take(begin(), &ByFirstColumn).unwrap();
    let truncate = Event::Truncate { xid: 0, relations: vec![4] };
    assert_eq!(unknown.take(truncate, &ByFirstColumn), Err(AssembleError::Relation(4)));
}
