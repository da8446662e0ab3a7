//! A stream of requests must come to the same commands however it is cut into pieces, and no stream may panic the
//! parser, the decoder or the writer of errors.
//!
//! The first byte of the input chooses the limits, the next four the sizes of the pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trueup_server::resp::{
    command::Command,
    limits::Limits,
    parse::{Parser, Progress, ProtocolError},
    reply::{Encoded, Format, Protocol},
};

/// Limits so small that short inputs reach them.
const SMALL: Limits =
    Limits { arguments_max: 4, bulk_bytes_max: 16, frame_bytes_max: 64, inline_bytes_max: 24 };
const FORMAT: Format = Format { protocol: Protocol::Resp3, reply_bytes_max: 1 << 20 };

#[derive(Debug, PartialEq)]
struct Outcome {
    commands: Vec<Vec<Vec<u8>>>,
    replies: Vec<Encoded>,
    left_over_bytes: usize,
    error: Option<ProtocolError>,
}

fuzz_target!(|input: &[u8]| {
    let Some((head, stream)) = input.split_first_chunk::<5>() else { return };
    let [limits, sizes @ ..] = head;
    let limits = match limits % 3 {
        0 => Limits::AUTHENTICATED,
        1 => Limits::UNAUTHENTICATED,
        _ => SMALL,
    };
    let whole = run(stream, &limits, std::iter::once(stream.len()));
    let pieces = run(stream, &limits, sizes.iter().cycle().map(|size| usize::from(*size).max(1)));
    assert_eq!(whole, pieces);
});

/// Parses and decodes `stream`, fed in pieces of the given sizes.
fn run(stream: &[u8], limits: &Limits, sizes: impl Iterator<Item = usize>) -> Outcome {
    let mut outcome = Outcome { commands: vec![], replies: vec![], left_over_bytes: 0, error: None };
    let mut parser = Parser::new();
    let (mut start, mut end) = (0, 0);
    for size in sizes {
        end = stream.len().min(end + size);
        loop {
            let frame = &stream[start..end];
            match parser.advance(frame, limits) {
                Ok(Progress::Complete { consumed }) => {
                    let args = parser.args(frame);
                    if !args.is_empty() {
                        outcome.commands.push(args.iter().map(<[u8]>::to_vec).collect());
                        outcome.replies.push(FORMAT.encode(|reply| match Command::decode(args) {
                            Ok(Command::Command(query)) => query.answer(reply),
                            Ok(command) => reply.simple(format_args!("{command:?}")),
                            Err(error) => reply.error(error),
                        }));
                    }
                    start += consumed;
                }
                Ok(Progress::Incomplete { frame_bytes_min }) => {
                    assert!(frame_bytes_min > frame.len());
                    break;
                }
                Err(error) => {
                    outcome.error = Some(error);
                    return outcome;
                }
            }
        }
        if end == stream.len() {
            break;
        }
    }
    outcome.left_over_bytes = stream.len() - start;
    outcome
}
