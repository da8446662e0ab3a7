use proptest::prelude::*;

use super::*;

pub(crate) const PLAIN: &str = include_str!("fixtures/plain.hex");
pub(crate) const STREAMED: &str = include_str!("fixtures/streamed.hex");

/// The messages of a fixture.
pub(crate) fn messages(hex: &str) -> Vec<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap() as u8;
    let line =
        |line: &str| line.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect();
    hex.lines().map(line).collect()
}

/// Each message with whether it stands in a stream.
pub(crate) fn in_order(hex: &str) -> Vec<(Vec<u8>, bool)> {
    let mut in_stream = false;
    let note = |message: Vec<u8>| {
        let within = in_stream;
        match message[0] {
            b'S' => in_stream = true,
            b'E' => in_stream = false,
            _ => {}
        }
        (message, within)
    };
    messages(hex).into_iter().map(note).collect()
}

fn text(value: Value<'_>) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Unchanged => "=".to_owned(),
        Value::Text(text) if text.len() > 12 => format!("{}x{}", &text[..1], text.len()),
        Value::Text(text) => text.to_owned(),
        Value::Opaque => "?".to_owned(),
    }
}

fn row(row: Row<'_>) -> String {
    row.values().map(text).collect::<Vec<_>>().join(" ")
}

fn describe(event: &Event<'_>) -> String {
    match event {
        Event::Begin { .. } => "begin".to_owned(),
        Event::Commit { .. } => "commit".to_owned(),
        Event::Relation { relation, .. } => {
            let columns =
                relation.columns.iter().map(|c| format!("{}{}", c.name, if c.is_key { "*" } else { "" }));
            let columns = columns.collect::<Vec<_>>().join(",");
            format!("{}.{}({columns}) {:?}", relation.namespace, relation.name, relation.identity)
        }
        Event::Insert { new, .. } => format!("+ {}", row(*new)),
        Event::Update { old: Some(old), new, .. } => format!("{} > {}", row(*old), row(*new)),
        Event::Update { old: None, new, .. } => format!("> {}", row(*new)),
        Event::Delete { old, .. } => format!("- {}", row(*old)),
        Event::Truncate { relations, .. } => format!("truncate {}", relations.len()),
        Event::Message { is_transactional, prefix, content, .. } => {
            format!("{prefix} {is_transactional} {}", content.len())
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn a_servers_own_messages_are_read_as_what_was_done() {
    let told: Vec<String> = in_order(PLAIN)
        .iter()
        .map(|(bytes, in_stream)| describe(&decode(bytes, *in_stream).unwrap()))
        .filter(|line| !["begin", "commit", "Type"].contains(&line.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            "public.t(id*,name,note,m) Default",
            "+ 1 one - ok",
            "+ 2 zwei ü x bad",
            "> 1 uno - ok",
            "1 - - - > 10 uno - ok",
            "- 2 - - -",
            "public.big(id*,filler) Default",
            "+ kx2100 fx9000",
            // The key is stored apart and was not changed: the old one is told, the new one is not.
            "kx2100 - > = short",
            "kx2100 - > k2 gx9000",
            "k2 - > k3 =",
            "public.f(id*,v*) Full",
            "+ 1 a",
            "1 a > 1 b",
            "- 1 b",
            "public.p1(id*,v) Default",
            "+ 5 five",
            "+ 3 three - -",
            "+ 5 five - -",
            "public.t(id*,name,note,m) Default",
            "public.c(id*,t) Default",
            "truncate 2",
            "trueup.beat true 1",
            "trueup.tags false 8",
            "public.t(id*,name,note,m) Default",
            "+ 20 prepared - -",
        ]
    );
}

#[test]
fn a_stream_names_the_subtransaction_of_each_change_and_what_was_rolled_back() {
    let events = in_order(STREAMED);
    let decoded: Vec<_> = events.iter().map(|(bytes, within)| decode(bytes, *within).unwrap()).collect();
    let top = match decoded[0] {
        Event::StreamStart { xid, is_first: true } => xid,
        ref other => panic!("{other:?}"),
    };
    let of = |wanted: u32| {
        decoded.iter().filter(|e| matches!(e, Event::Insert { xid, .. } if *xid == wanted)).count()
    };
    let aborted = decoded.iter().find_map(|event| match event {
        Event::StreamAbort { xid, subxid } => Some((*xid, *subxid)),
        _ => None,
    });
    assert_eq!(aborted, Some((top, top + 1)));
    assert!(of(top) >= 400 && of(top + 1) > 0, "{} {}", of(top), of(top + 1));
    assert!(matches!(decoded.last(), Some(Event::StreamCommit { xid, .. }) if *xid == top));
}

#[test]
fn a_message_that_is_cut_or_longer_is_refused() {
    for (message, in_stream) in in_order(PLAIN).into_iter().chain(in_order(STREAMED).into_iter().take(3)) {
        let step = (message.len() / 200).max(1);
        for cut in (0..message.len()).step_by(step) {
            assert!(decode(&message[..cut], in_stream).is_err(), "{} of {:?}", cut, message[0] as char);
        }
        let mut longer = message.clone();
        longer.push(0);
        assert_eq!(decode(&longer, in_stream), Err(Malformed::Longer(1)));
    }
}

#[test]
fn frames_are_told_apart() {
    let mut keepalive = vec![b'k'];
    keepalive.extend(7_u64.to_be_bytes());
    keepalive.extend(0_i64.to_be_bytes());
    keepalive.push(1);
    assert_eq!(Frame::decode(&keepalive), Ok(Frame::Keepalive { wal_end: 7, wants_reply: true }));
    assert_eq!(Frame::decode(&keepalive[..17]), Err(Malformed::Short("wish for a reply")));
    let mut data = vec![b'w'];
    data.extend([0; 24]);
    data.extend(*b"E");
    assert_eq!(Frame::decode(&data), Ok(Frame::Data(b"E")));
    assert_eq!(Frame::decode(b"x"), Err(Malformed::Unknown(b'x')));
}

#[test]
fn values_are_never_shown() {
    assert_eq!(format!("{:?}", [Value::Text("secret"), Value::Null]), "[Text(..), Null]");
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), in_stream: bool) {
        let _ = decode(&bytes, in_stream);
        let _ = Frame::decode(&bytes);
    }

    #[test]
    fn no_damage_panics(which in 0_usize..61, at in 0_usize..200, with: u8) {
        let (mut message, in_stream) = in_order(PLAIN).swap_remove(which);
        let at = at % message.len();
        message[at] = with;
        if let Ok(Event::Insert { new, .. } | Event::Update { new, .. }) = decode(&message, in_stream) {
            let _ = new.values().count();
        }
    }
}
