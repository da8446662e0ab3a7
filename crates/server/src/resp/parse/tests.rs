use proptest::prelude::*;

use super::*;

/// What a stream came to: its commands, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Parsed {
    commands: Vec<Vec<Vec<u8>>>,
    end: Result<usize, ProtocolError>,
}

/// Feeds `stream` in pieces that end at `cuts`, as a connection does. `end` is the number of bytes left over.
fn parse(stream: &[u8], cuts: &[usize], limits: &Limits) -> Parsed {
    let mut parser = Parser::new();
    let mut commands = Vec::new();
    let mut start = 0;
    for end in cuts.iter().copied().filter(|cut| *cut < stream.len()).chain([stream.len()]) {
        loop {
            match parser.advance(&stream[start..end], limits) {
                Ok(Progress::Complete { consumed }) => {
                    let args = parser.args(&stream[start..end]);
                    if !args.is_empty() {
                        commands.push(args.iter().map(<[u8]>::to_vec).collect());
                    }
                    start += consumed;
                }
                Ok(Progress::Incomplete { frame_bytes_min }) => {
                    assert!(frame_bytes_min > end - start, "asks for bytes that are there");
                    break;
                }
                Err(error) => return Parsed { commands, end: Err(error) },
            }
        }
    }
    Parsed { commands, end: Ok(stream.len() - start) }
}

fn encode(args: &[Vec<u8>]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
    out
}

fn commands(stream: &[u8]) -> Vec<Vec<String>> {
    let parsed = parse(stream, &[], &Limits::AUTHENTICATED);
    assert_eq!(parsed.end, Ok(0), "{:?}", stream.escape_ascii().to_string());
    let text = |arg: Vec<u8>| arg.escape_ascii().to_string();
    parsed.commands.into_iter().map(|args| args.into_iter().map(text).collect()).collect()
}

#[track_caller]
fn refused(stream: &[u8], expected: ProtocolError) {
    assert_eq!(parse(stream, &[], &Limits::AUTHENTICATED).end, Err(expected));
}

#[track_caller]
fn waits(stream: &[u8]) {
    let parsed = parse(stream, &[], &Limits::AUTHENTICATED);
    assert_eq!(parsed, Parsed { commands: vec![], end: Ok(stream.len()) });
}

#[test]
fn arrays_and_inline_commands_mix() {
    assert_eq!(
        commands(b"*2\r\n$3\r\nGET\r\n$6\r\nuser:1\r\nPING\r\n\r\n*0\r\nping  hello \n*1\r\n$0\r\n\r\n"),
        [vec!["GET", "user:1"], vec!["PING"], vec!["ping", "hello"], vec![""]]
    );
}

#[test]
fn inline_quotes() {
    assert_eq!(commands(b"ECHO \"a b\\n\\x41\\\"\"\r\n"), [["ECHO", "a b\\nA\\\""]]);
    assert_eq!(commands(b"ECHO 'it\\'s \\n' \"\"\r\n"), [["ECHO", "it\\'s \\\\n", ""]]);
    assert_eq!(commands(b"ECHO a\"b c\"\r\n"), [["ECHO", "ab c"]]);
    for line in ["PING \"a", "PING 'a", "PING \"a\"b", "PING 'a'b", "PING \"a\\"] {
        refused(format!("{line}\r\n").as_bytes(), ProtocolError::UnbalancedQuotes);
    }
}

#[test]
fn hostile_headers_are_refused_at_once() {
    let too_many = ProtocolError::TooManyArguments { max: Limits::AUTHENTICATED.arguments_max };
    let too_long = ProtocolError::BulkTooLong { max: Limits::AUTHENTICATED.bulk_bytes_max };
    refused(b"*2147483648\r\n", too_many);
    refused(b"*131073\r\n", too_many);
    refused(b"*9999999999\r\n", too_many);
    refused(b"*99999999999", ProtocolError::InvalidCount);
    refused(b"*-1\r\n", ProtocolError::InvalidCount);
    refused(b"*x", ProtocolError::InvalidCount);
    refused(b"*\r\n", ProtocolError::InvalidCount);
    refused(b"*01\r\n", ProtocolError::InvalidCount);
    refused(b"*+1\r\n", ProtocolError::InvalidCount);
    refused(b"*1\rX", ProtocolError::InvalidCount);
    refused(b"*1\n", ProtocolError::InvalidCount);
    refused(b"*1\r\n$-1\r\n", ProtocolError::InvalidLength);
    refused(b"*1\r\n$\r\n", ProtocolError::InvalidLength);
    refused(b"*1\r\n$4\rPING", ProtocolError::InvalidLength);
    refused(b"*1\r\n$8388609\r\n", too_long);
    refused(b"*1\r\n$9999999999\r\n", too_long);
    refused(b"*1\r\n:1\r\n", ProtocolError::ExpectedBulk(b':'));
    refused(b"*1\r\n$4\r\nPINGXX", ProtocolError::MissingLineEnd);
    refused(b"*1\r\n$4\r\nPING\r\r", ProtocolError::MissingLineEnd);
    refused(b"POST / HTTP/1.1\r\n", ProtocolError::Http);
    refused(b"host: localhost\r\n", ProtocolError::Http);
}

#[test]
fn a_million_nested_arrays_stop_at_the_second() {
    let nested = b"*1\r\n".repeat(1_000_000);
    let mut parser = Parser::new();
    assert_eq!(parser.advance(&nested, &Limits::AUTHENTICATED), Err(ProtocolError::ExpectedBulk(b'*')));
    assert_eq!(parser.scanned, 4);
}

#[test]
fn half_frames_wait() {
    for stream in [
        "*",
        "*1",
        "*1\r",
        "*1\r\n",
        "*1\r\n$",
        "*1\r\n$4",
        "*1\r\n$4\r\nPIN",
        "*1\r\n$4\r\nPING\r",
        "PING",
        "PING\r",
    ] {
        waits(stream.as_bytes());
    }
}

#[test]
fn a_frame_is_refused_when_it_announces_too_much() {
    let limits = Limits { frame_bytes_max: 40, ..Limits::AUTHENTICATED };
    let parsed = parse(b"*2\r\n$10\r\n0123456789\r\n$20\r\n", &[], &limits);
    assert_eq!(parsed.end, Err(ProtocolError::FrameTooLong { max: 40 }));
}

#[test]
fn inline_is_bounded_with_and_without_an_end() {
    let limits = Limits { inline_bytes_max: 8, ..Limits::AUTHENTICATED };
    let too_long = Err(ProtocolError::InlineTooLong { max: 8 });
    assert_eq!(parse(b"PING ab\n", &[], &limits).end, Ok(0));
    assert_eq!(parse(b"PING abc\n", &[], &limits).end, too_long);
    assert_eq!(parse(b"PING abcdef", &[], &limits).end, too_long);
}

#[test]
fn before_authentication_little_is_accepted() {
    let end = |stream: &[u8]| parse(stream, &[], &Limits::UNAUTHENTICATED).end;
    assert_eq!(end(b"*11\r\n"), Err(ProtocolError::TooManyArguments { max: 10 }));
    assert_eq!(end(b"*1\r\n$16385\r\n"), Err(ProtocolError::BulkTooLong { max: 16_384 }));
    assert_eq!(end(b"a b c d e f g h i j k\r\n"), Err(ProtocolError::TooManyArguments { max: 10 }));
}

#[test]
fn a_long_array_byte_by_byte_is_scanned_once() {
    const ELEMENTS: usize = 50_000;
    let stream = encode(&vec![b"k".to_vec(); ELEMENTS]);
    let mut parser = Parser::new();
    for end in 1..stream.len() {
        let before = parser.scanned;
        assert!(matches!(
            parser.advance(&stream[..end], &Limits::AUTHENTICATED),
            Ok(Progress::Incomplete { .. })
        ));
        // What is scanned stays scanned, and never lags more than one header and one body behind.
        assert!(parser.scanned >= before && end - parser.scanned < 16);
    }
    assert_eq!(
        parser.advance(&stream, &Limits::AUTHENTICATED),
        Ok(Progress::Complete { consumed: stream.len() })
    );
    assert_eq!(parser.args(&stream).len(), ELEMENTS);
}

#[test]
fn a_long_line_byte_by_byte_is_scanned_once() {
    let line = [b'x'; 10_000];
    let mut parser = Parser::new();
    for end in 1..=line.len() {
        assert!(matches!(
            parser.advance(&line[..end], &Limits::AUTHENTICATED),
            Ok(Progress::Incomplete { .. })
        ));
        assert_eq!(parser.scanned, end);
    }
}

#[test]
fn the_room_of_a_large_command_is_given_back() {
    let large = encode(&vec![b"k".to_vec(); 10_000]);
    let mut parser = Parser::new();
    assert!(parser.advance(&large, &Limits::AUTHENTICATED).is_ok());
    assert!(parser.advance(b"", &Limits::AUTHENTICATED).is_ok());
    assert!(!parser.spans.spilled());
}

/// Pieces of streams, sound and broken, so that random streams reach every state of the parser.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let arg = prop::collection::vec(any::<u8>(), 0..20);
    prop_oneof![
        6 => prop::collection::vec(arg, 1..6).prop_map(|args| encode(&args)),
        2 => "[ -~\t]{0,20}\r?\n".prop_map(String::into_bytes),
        1 => r"[*$:][-0-9]{0,11}(\r\n)?".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..8),
    ]
}

proptest! {
    #[test]
    fn any_split_gives_the_same_commands(
        pieces in prop::collection::vec(piece(), 0..12),
        mut cuts in prop::collection::vec(0_usize..600, 0..40),
        limits in prop_oneof![
            Just(Limits::AUTHENTICATED),
            Just(Limits { arguments_max: 4, bulk_bytes_max: 15, frame_bytes_max: 60, inline_bytes_max: 16 }),
        ],
    ) {
        let stream = pieces.concat();
        let whole = parse(&stream, &[], &limits);
        cuts.sort_unstable();
        prop_assert_eq!(&parse(&stream, &cuts, &limits), &whole);
        let every_byte: Vec<usize> = (0..stream.len()).collect();
        prop_assert_eq!(&parse(&stream, &every_byte, &limits), &whole);
    }

    #[test]
    fn what_is_encoded_is_what_is_parsed(
        sent in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..20), 0..8),
    ) {
        let stream: Vec<u8> = sent.iter().flat_map(|args| encode(args)).collect();
        let parsed = parse(&stream, &[], &Limits::AUTHENTICATED);
        prop_assert_eq!(parsed, Parsed { commands: sent, end: Ok(0) });
    }

    #[test]
    fn quoted_arguments_survive(args in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..6)) {
        let mut line = Vec::new();
        for arg in &args {
            line.push(b'"');
            line.extend(arg.iter().flat_map(|byte| format!("\\x{byte:02x}").into_bytes()));
            line.extend_from_slice(b"\" ");
        }
        line.extend_from_slice(b"\r\n");
        prop_assert_eq!(parse(&line, &[], &Limits::AUTHENTICATED).commands, vec![args]);
    }
}
