#![no_main]
//! Whatever a server sends on a replication connection is a message or an error: no panic, and a row that was decoded can be
//! read in full.

use libfuzzer_sys::fuzz_target;
use trueup::postgres::pgoutput::{Event, Frame, Row, decode};

fuzz_target!(|input: (bool, &[u8])| {
    let (in_stream, bytes) = input;
    let bytes = match Frame::decode(bytes) {
        Ok(Frame::Data(message)) => message,
        _ => bytes,
    };
    let Ok(event) = decode(bytes, in_stream) else { return };
    let read = |row: Row<'_>| assert!(row.values().count() <= usize::from(u16::MAX));
    match event {
        Event::Insert { new, .. } => read(new),
        Event::Update { old, new, .. } => {
            old.into_iter().for_each(read);
            read(new);
        }
        Event::Delete { old, .. } => read(old),
        _ => {}
    }
});
