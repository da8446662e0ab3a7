//! Writer of replies in RESP2 and RESP3.

use std::{fmt::Display, io::Write as _};

/// Version of the protocol that a connection speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// RESP2, until the client says `HELLO 3`.
    #[default]
    Resp2,
    /// RESP3: maps, doubles, booleans and a null of its own.
    Resp3,
}

impl Protocol {
    /// The number that `HELLO` takes and tells.
    #[must_use]
    pub const fn number(self) -> i64 {
        match self {
            Self::Resp2 => 2,
            Self::Resp3 => 3,
        }
    }
}

/// How a connection wants its replies, detached from the connection: what an answer that comes later needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Version in which to write.
    pub protocol: Protocol,
    /// Bytes of one whole reply; a larger one becomes an error.
    pub reply_bytes_max: usize,
}

impl Format {
    /// Writes one reply to the end of `out`. When it outgrows the limit, an error takes its place, so the stream of
    /// replies stays in step with the stream of commands.
    #[inline]
    pub fn write<R>(self, out: &mut Vec<u8>, write: impl FnOnce(&mut Reply<'_>) -> R) -> R {
        let start = out.len();
        let mut reply = Reply {
            bytes_end_max: start.saturating_add(self.reply_bytes_max),
            out,
            protocol: self.protocol,
            overflowed: false,
        };
        let result = write(&mut reply);
        if reply.overflowed {
            reply.out.truncate(start);
            let max = self.reply_bytes_max;
            reply.error(format_args!("ERR the reply would exceed {max} bytes, ask for fewer keys at once"));
        }
        result
    }

    /// One reply as bytes of its own.
    #[must_use]
    pub fn encode(self, write: impl FnOnce(&mut Reply<'_>)) -> Encoded {
        let mut out = Vec::new();
        self.write(&mut out, write);
        Encoded(out)
    }
}

/// One whole reply, ready for the socket.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Encoded(pub(super) Vec<u8>);

/// Values are not for logs.
impl std::fmt::Debug for Encoded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Encoded({} bytes)", self.0.len())
    }
}

/// Writer of one reply. An aggregate is a header ([`array`](Self::array), [`map`](Self::map)) followed by that many
/// elements.
pub struct Reply<'a> {
    out: &'a mut Vec<u8>,
    protocol: Protocol,
    bytes_end_max: usize,
    overflowed: bool,
}

/// Values are not for logs.
impl std::fmt::Debug for Reply<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reply").field("protocol", &self.protocol).finish_non_exhaustive()
    }
}

impl Reply<'_> {
    /// Version in which this reply is written.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Writes the rest in another version: `HELLO` answers in the one it chooses.
    pub(super) fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    /// A simple string. Line ends in it become spaces.
    pub fn simple(&mut self, text: impl Display) {
        self.line(b'+', text);
    }

    /// An error; `message` begins with its code, such as `ERR`. Line ends in it become spaces.
    pub fn error(&mut self, message: impl Display) {
        self.line(b'-', message);
    }

    /// A signed integer.
    #[inline]
    pub fn integer(&mut self, value: i64) {
        self.header(b':', value);
    }

    /// A bulk string, binary safe.
    #[inline]
    pub fn bulk(&mut self, value: &[u8]) {
        if !self.has_room(value.len()) {
            return;
        }
        self.header(b'$', value.len());
        self.out.extend_from_slice(value);
        self.out.extend_from_slice(b"\r\n");
    }

    /// The absent value: `$-1` in RESP2, `_` in RESP3.
    #[inline]
    pub fn nil(&mut self) {
        self.out.extend_from_slice(match self.protocol {
            Protocol::Resp2 => b"$-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// Header of an array of `len` elements.
    #[inline]
    pub fn array(&mut self, len: usize) {
        self.header(b'*', len);
    }

    /// Header of a map of `pairs` keys, each followed by its value; RESP2 shows it as a flat array.
    pub fn map(&mut self, pairs: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', pairs * 2),
            Protocol::Resp3 => self.header(b'%', pairs),
        }
    }

    /// Header of a set of `len` members; an array in RESP2.
    pub fn set(&mut self, len: usize) {
        self.header(if self.protocol == Protocol::Resp3 { b'~' } else { b'*' }, len);
    }

    /// A double; RESP2 shows it as a bulk string.
    pub fn double(&mut self, value: f64) {
        let text = if value.is_nan() { "nan".to_owned() } else { value.to_string() };
        match self.protocol {
            Protocol::Resp2 => self.bulk(text.as_bytes()),
            Protocol::Resp3 => self.line(b',', text),
        }
    }

    /// A boolean; RESP2 shows it as 1 or 0.
    pub fn boolean(&mut self, value: bool) {
        match self.protocol {
            Protocol::Resp2 => self.integer(i64::from(value)),
            Protocol::Resp3 => self.out.extend_from_slice(if value { b"#t\r\n" } else { b"#f\r\n" }),
        }
    }

    /// Text for people, as `INFO` sends it; a bulk string in RESP2.
    pub fn verbatim(&mut self, text: &str) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text.as_bytes()),
            Protocol::Resp3 => {
                const KIND: &str = "txt:";
                self.header(b'=', KIND.len() + text.len());
                self.out.extend_from_slice(KIND.as_bytes());
                self.out.extend_from_slice(text.as_bytes());
                self.out.extend_from_slice(b"\r\n");
            }
        }
    }

    #[inline]
    fn has_room(&mut self, bytes: usize) -> bool {
        self.overflowed |= self.out.len().saturating_add(bytes) > self.bytes_end_max;
        !self.overflowed
    }

    #[inline]
    fn header(&mut self, kind: u8, value: impl itoa::Integer) {
        self.out.push(kind);
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    fn line(&mut self, kind: u8, text: impl Display) {
        self.out.push(kind);
        let start = self.out.len();
        // Writing into a Vec cannot fail; a Display that does leaves a shorter line.
        let _ = write!(self.out, "{text}");
        for byte in &mut self.out[start..] {
            if matches!(byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
        self.out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(protocol: Protocol, write: impl FnOnce(&mut Reply<'_>)) -> String {
        let Encoded(bytes) = Format { protocol, reply_bytes_max: 64 }.encode(write);
        String::from_utf8(bytes).unwrap()
    }

    #[track_caller]
    fn check(write: impl Fn(&mut Reply<'_>), resp2: &str, resp3: &str) {
        assert_eq!(written(Protocol::Resp2, &write), resp2);
        assert_eq!(written(Protocol::Resp3, &write), resp3);
    }

    #[test]
    fn every_kind_in_both_versions() {
        check(|r| r.ok(), "+OK\r\n", "+OK\r\n");
        check(|r| r.simple("PONG"), "+PONG\r\n", "+PONG\r\n");
        check(|r| r.integer(-42), ":-42\r\n", ":-42\r\n");
        check(|r| r.bulk(b"a\r\nb"), "$4\r\na\r\nb\r\n", "$4\r\na\r\nb\r\n");
        check(|r| r.bulk(b""), "$0\r\n\r\n", "$0\r\n\r\n");
        check(|r| r.nil(), "$-1\r\n", "_\r\n");
        check(|r| r.array(3), "*3\r\n", "*3\r\n");
        check(|r| r.map(2), "*4\r\n", "%2\r\n");
        check(|r| r.set(2), "*2\r\n", "~2\r\n");
        check(|r| r.double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n");
        check(|r| r.double(f64::NEG_INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n");
        check(|r| r.double(f64::NAN), "$3\r\nnan\r\n", ",nan\r\n");
        check(|r| r.boolean(true), ":1\r\n", "#t\r\n");
        check(|r| r.verbatim("a:1\r\n"), "$5\r\na:1\r\n\r\n", "=9\r\ntxt:a:1\r\n\r\n");
    }

    #[test]
    fn a_line_end_in_an_error_cannot_forge_a_reply() {
        assert_eq!(written(Protocol::Resp2, |r| r.error("ERR a\r\n+OK")), "-ERR a  +OK\r\n");
    }

    #[test]
    fn an_oversized_reply_becomes_one_error() {
        let text = written(Protocol::Resp2, |r| {
            r.array(9);
            (0..9).for_each(|_| r.bulk(&[b'x'; 16]));
        });
        assert_eq!(text, "-ERR the reply would exceed 64 bytes, ask for fewer keys at once\r\n");
    }

    #[test]
    fn an_oversized_reply_keeps_those_before_it() {
        let mut out = b"+first\r\n".to_vec();
        Format { protocol: Protocol::Resp2, reply_bytes_max: 8 }.write(&mut out, |r| r.bulk(&[b'x'; 99]));
        assert!(out.starts_with(b"+first\r\n-ERR the reply"));
    }
}
