//! A scripted log, written by the library's own encoder and read by ours: whatever the order in which parts of
//! transactions are told, each committed one raises what it changed and was not rolled back, once, in commit order.

use std::collections::BTreeSet;

use pg_walstream::{
    ColumnData, ColumnInfo, LogicalReplicationMessage as Written, StreamingReplicationMessage, TupleData,
    encode_message_to_bytes, encode_streaming_message_to_bytes,
};
use proptest::prelude::*;

use super::*;
use crate::postgres::feed::{pgoutput::decode, tests::mapper::ByFirstColumn};

const TABLES: u32 = 3;
const PARTS: u32 = 4;

#[derive(Clone, Debug)]
enum Act {
    Insert { table: u32, key: u8 },
    Rekey { table: u32, from: u8, to: u8 },
    Delete { table: u32, key: u8 },
    Truncate { table: u32 },
    Name { tag: u64 },
}

#[derive(Clone, Debug)]
struct Script {
    /// Each act with the part (subtransaction) that does it.
    acts: Vec<(u32, Act)>,
    rolled_back: BTreeSet<u32>,
    /// Told in parts, one for each number: before the commit of the transaction so many places earlier.
    streamed: Option<Vec<usize>>,
    commits: bool,
    keepalive: bool,
}

fn act() -> impl Strategy<Value = Act> {
    let (table, key) = (0..TABLES, 0_u8..5);
    prop_oneof![
        4 => (table.clone(), key.clone()).prop_map(|(table, key)| Act::Insert { table, key }),
        2 => (table.clone(), key.clone(), key.clone()).prop_map(|(table, from, to)| Act::Rekey { table, from, to }),
        2 => (table.clone(), key).prop_map(|(table, key)| Act::Delete { table, key }),
        1 => table.prop_map(|table| Act::Truncate { table }),
        1 => (0_u64..9).prop_map(|tag| Act::Name { tag }),
    ]
}

fn script() -> impl Strategy<Value = Script> {
    let acts = proptest::collection::vec((0..PARTS, act()), 0..12);
    // The top-level part is rolled back only with the whole.
    let rolled_back = proptest::collection::btree_set(1..PARTS, 0..3);
    let streamed = proptest::option::of(proptest::collection::vec(0_usize..4, 1..4));
    (acts, rolled_back, streamed, any::<bool>(), any::<bool>()).prop_map(
        |(acts, rolled_back, streamed, commits, keepalive)| Script {
            acts,
            rolled_back,
            streamed,
            commits,
            keepalive,
        },
    )
}

fn table(number: u32) -> String {
    format!("public.t{number}")
}

fn tags(act: &Act) -> Vec<Tag> {
    let row = |number: u32, key: &u8| Tag::row(&table(number), [key.to_string().as_str()]);
    match act {
        Act::Insert { table: t, key } | Act::Delete { table: t, key } => {
            vec![Tag::any(&table(*t)), row(*t, key)]
        }
        Act::Rekey { table: t, from, to } => vec![Tag::any(&table(*t)), row(*t, from), row(*t, to)],
        Act::Truncate { table: t } => vec![Tag::any(&table(*t)), Tag::wide(&table(*t))],
        Act::Name { tag } => vec![Tag(*tag)],
    }
}

fn tuple(key: u8) -> TupleData {
    TupleData::new(vec![ColumnData::text(key.to_string().into_bytes()), ColumnData::null()])
}

fn written(act: &Act) -> Written {
    match act {
        Act::Insert { table, key } => Written::Insert { relation_id: *table, tuple: tuple(*key) },
        Act::Rekey { table, from, to } => Written::Update {
            relation_id: *table,
            old_tuple: Some(tuple(*from)),
            new_tuple: tuple(*to),
            key_type: Some('K'),
        },
        Act::Delete { table, key } => {
            Written::Delete { relation_id: *table, old_tuple: tuple(*key), key_type: 'K' }
        }
        Act::Truncate { table } => Written::Truncate { relation_ids: vec![*table], flags: 0 },
        Act::Name { tag } => Written::Message {
            flags: 1,
            lsn: 0,
            prefix: TAGS_PREFIX.to_owned(),
            content: tag.to_le_bytes().to_vec().into(),
        },
    }
}

/// What is written, and where the log ends.
#[derive(Default)]
struct Log {
    messages: Vec<Result<Vec<u8>, u64>>,
    end: u64,
}

impl Log {
    fn plain(&mut self, message: &Written) {
        self.messages.push(Ok(encode_message_to_bytes(message, 2).to_vec()));
    }

    fn streamed(&mut self, message: Written, xid: u32) {
        let message = StreamingReplicationMessage { message, is_streaming: true, xid: Some(xid) };
        self.messages.push(Ok(encode_streaming_message_to_bytes(&message, 2).to_vec()));
    }

    fn relation(number: u32) -> Written {
        let column = |flags, name: &str| ColumnInfo::new(flags, name.to_owned(), 23, -1);
        Written::Relation {
            relation_id: number,
            namespace: "public".into(),
            relation_name: format!("t{number}").into(),
            replica_identity: b'd',
            columns: vec![column(1, "id"), column(0, "v")],
        }
    }

    fn stream(&mut self, xid: u32, is_first: bool, acts: &[(u32, Act)]) {
        self.plain(&Written::StreamStart { xid, first_segment: is_first });
        if is_first {
            (0..TABLES).for_each(|number| self.streamed(Self::relation(number), xid));
        }
        for (part, act) in acts {
            // The server tells messages under the top-level id.
            let id = if matches!(act, Act::Name { .. }) { xid } else { xid + part };
            self.streamed(written(act), id);
        }
        self.plain(&Written::StreamStop);
    }
}

const fn xid(place: usize) -> u32 {
    1000 + place as u32 * PARTS
}

fn write(scripts: &[Script]) -> Log {
    let mut log = Log { end: 100, ..Log::default() };
    for place in 0..scripts.len() {
        // Parts of this and of later transactions whose turn it is.
        for (later, script) in scripts.iter().enumerate().skip(place) {
            let Some(turns) = &script.streamed else { continue };
            let size = script.acts.len().div_ceil(turns.len()).max(1);
            let mut turns: Vec<_> = turns.iter().map(|back| later.saturating_sub(*back)).collect();
            turns.sort_unstable();
            for (number, turn) in turns.iter().enumerate() {
                let acts = script.acts.chunks(size).nth(number).unwrap_or_default();
                if *turn == place {
                    log.stream(xid(later), number == 0, acts);
                }
            }
        }
        let (script, xid) = (&scripts[place], xid(place));
        log.end += 10;
        let end_lsn = log.end;
        let (flags, commit_lsn, timestamp) = (0, end_lsn - 5, 0);
        match &script.streamed {
            Some(_) => {
                let abort = |part: u32| Written::StreamAbort {
                    xid,
                    subtransaction_xid: xid + part,
                    abort_lsn: None,
                    abort_timestamp: None,
                };
                script.rolled_back.iter().for_each(|part| log.plain(&abort(*part)));
                if script.commits {
                    log.plain(&Written::StreamCommit { xid, flags, commit_lsn, end_lsn, timestamp });
                } else {
                    log.plain(&abort(0));
                }
            }
            None if script.commits => {
                log.plain(&Written::Begin { final_lsn: commit_lsn, timestamp, xid });
                (0..TABLES).for_each(|number| log.plain(&Log::relation(number)));
                let done = |(part, _): &&(u32, Act)| !script.rolled_back.contains(part);
                script.acts.iter().filter(done).for_each(|(_, act)| log.plain(&written(act)));
                log.plain(&Written::Commit { flags, commit_lsn, end_lsn, timestamp });
            }
            None => {}
        }
        if script.keepalive {
            log.end += 3;
            log.messages.push(Err(log.end));
        }
    }
    log
}

fn expected(scripts: &[Script]) -> Vec<(u64, Vec<Tag>)> {
    let mut expected = Vec::new();
    for (place, script) in scripts.iter().enumerate().filter(|(_, script)| script.commits) {
        let stays = |part: u32, act: &Act| {
            let named_in_stream = script.streamed.is_some() && matches!(act, Act::Name { .. });
            named_in_stream || !script.rolled_back.contains(&part)
        };
        let raised: BTreeSet<_> = script
            .acts
            .iter()
            .filter(|(part, act)| stays(*part, act))
            .flat_map(|(_, act)| tags(act))
            .collect();
        if !raised.is_empty() {
            expected.push((u64::from(xid(place)), raised.into_iter().collect()));
        }
    }
    expected
}

proptest! {
    #[test]
    fn committed_changes_are_raised_once_and_in_order(
        scripts in proptest::collection::vec(script(), 1..8),
        take_each in any::<bool>(),
    ) {
        let log = write(&scripts);
        let mut assembler = Assembler::new(Position(100), Xid(1000));
        let mut batches = Vec::new();
        for message in &log.messages {
            match message {
                Ok(bytes) => {
                    let event = decode(bytes, assembler.in_stream()).unwrap();
                    assembler.take(event, &ByFirstColumn).unwrap();
                }
                Err(wal_end) => assembler.keepalive(Position(*wal_end)),
            }
            if take_each {
                batches.extend(assembler.take_batch());
            }
        }
        batches.extend(assembler.take_batch());
        let raised: Vec<_> =
            batches.iter().flat_map(|b| &b.transactions).map(|t| (t.xid.0, t.tags.clone())).collect();
        prop_assert_eq!(raised, expected(&scripts));
        // Each batch continues the one before it, and holds what ends within it.
        let mut at = Position(100);
        for batch in &batches {
            prop_assert_eq!(batch.previous, at);
            prop_assert!(batch.transactions.iter().all(|t| batch.previous < t.end && t.end <= batch.end));
            at = batch.end;
        }
        prop_assert!(assembler.streamed.is_empty(), "what has ended is forgotten");
    }
}

proptest! {
    // Thousands of rows each time.
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn a_large_transaction_is_told_by_its_tables(extra in 1_u32..50, in_stream: bool, name in 0_u64..9) {
        let mut assembler = Assembler::new(Position(100), Xid(1000));
        let mut take = |message: Written, within: bool| {
            let bytes = if within {
                let message = StreamingReplicationMessage { message, is_streaming: true, xid: Some(1000) };
                encode_streaming_message_to_bytes(&message, 2)
            } else {
                encode_message_to_bytes(&message, 2)
            };
            let event = decode(&bytes, assembler.in_stream()).unwrap();
            assembler.take(event, &ByFirstColumn).unwrap();
        };
        let (flags, commit_lsn, end_lsn, timestamp) = (0, 190, 200, 0);
        match in_stream {
            true => take(Written::StreamStart { xid: 1000, first_segment: true }, false),
            false => take(Written::Begin { final_lsn: 190, timestamp, xid: 1000 }, false),
        }
        (0..2).for_each(|number| take(Log::relation(number), in_stream));
        take(written(&Act::Name { tag: name }), in_stream);
        take(written(&Act::Insert { table: 1, key: 1 }), in_stream);
        for key in 0..open::TRANSACTION_TAGS_MAX as u32 + extra {
            let key = ColumnData::text(key.to_string().into_bytes());
            let tuple = TupleData::new(vec![key, ColumnData::null()]);
            take(Written::Insert { relation_id: 0, tuple }, in_stream);
        }
        match in_stream {
            true => {
                take(Written::StreamStop, false);
                take(Written::StreamCommit { xid: 1000, flags, commit_lsn, end_lsn, timestamp }, false);
            }
            false => take(Written::Commit { flags, commit_lsn, end_lsn, timestamp }, false),
        }
        let batch = assembler.take_batch().unwrap();
        let mut expected = vec![Tag(name)];
        for number in 0..2 {
            expected.extend([Tag::any(&table(number)), Tag::wide(&table(number))]);
        }
        expected.sort_unstable();
        prop_assert_eq!(&batch.transactions[0].tags, &expected);
    }
}
