//! Resumable, zero-copy parser of requests: arrays of bulk strings and inline commands.
//!
//! A request never nests, so neither does the parser: an array inside an array is an error at its first byte. What was
//! scanned is not scanned again when more bytes arrive, so a command that trickles in costs what it costs at once.

mod inline;
#[cfg(test)]
mod tests;

use smallvec::SmallVec;

use super::{
    args::{Args, Span},
    limits::Limits,
};

/// Arguments kept without an allocation.
const ARGUMENTS_INLINE: usize = 16;
/// Argument places kept allocated between commands; the room of a larger command is given back after it.
const ARGUMENTS_RETAINED: usize = 1_024;
/// Digits of a length; one more digit is beyond every limit.
const LENGTH_DIGITS_MAX: usize = 10;
/// Bytes of the line end.
const CRLF_BYTES: usize = 2;

/// How far [`Parser::advance`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The command is not whole yet. It will not be before `frame_bytes_min` bytes of it are there.
    Incomplete {
        /// Bytes of the frame known to be needed, counted from its first byte.
        frame_bytes_min: usize,
    },
    /// The command is whole and took `consumed` bytes; [`Parser::args`] has its arguments, none for an empty line.
    Complete {
        /// Bytes of the frame, line ends included.
        consumed: usize,
    },
}

/// Why a byte stream is not RESP. The connection cannot be resynchronised and must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The array header is not a count.
    #[error("invalid multibulk length")]
    InvalidCount,
    /// The array announces more arguments than allowed.
    #[error("invalid multibulk length, at most {max} arguments are allowed")]
    TooManyArguments {
        /// The limit in force, in arguments.
        max: u32,
    },
    /// A bulk header is not a length.
    #[error("invalid bulk length")]
    InvalidLength,
    /// A bulk announces more bytes than allowed.
    #[error("invalid bulk length, at most {max} bytes are allowed")]
    BulkTooLong {
        /// The limit in force, in bytes.
        max: u32,
    },
    /// The whole command is larger than allowed.
    #[error("too big request, at most {max} bytes are allowed")]
    FrameTooLong {
        /// The limit in force, in bytes.
        max: u32,
    },
    /// Something other than a bulk string stands in the array.
    #[error("expected '$', got '{}'", .0.escape_ascii())]
    ExpectedBulk(u8),
    /// A bulk string is not followed by CR LF.
    #[error("expected CRLF after bulk")]
    MissingLineEnd,
    /// An inline command has no end within the limit.
    #[error("too big inline request, at most {max} bytes are allowed")]
    InlineTooLong {
        /// The limit in force, in bytes.
        max: u32,
    },
    /// An inline command has an open quote, or text right after a closing one.
    #[error("unbalanced quotes in request")]
    UnbalancedQuotes,
    /// A browser is speaking HTTP to this port.
    #[error("this is not an HTTP port")]
    Http,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Start,
    Inline,
    BulkHeader,
    BulkBody { len: u32 },
}

/// Parser of one connection's requests.
///
/// The caller keeps the bytes: it calls [`advance`](Self::advance) with a slice that begins at the frame's first byte
/// and grows from call to call, and drops `consumed` bytes once it is done with the arguments.
#[derive(Debug)]
pub struct Parser {
    state: State,
    /// Bytes of the frame scanned so far.
    scanned: usize,
    /// Bulks of the array still to come.
    remaining: u32,
    spans: SmallVec<[Span; ARGUMENTS_INLINE]>,
    /// Arguments of an inline command after unquoting; spans point here while `unquoted_in_use`.
    unquoted: Vec<u8>,
    unquoted_in_use: bool,
}

impl Default for Parser {
    fn default() -> Self {
        Self::new()
    }
}

impl Parser {
    /// A parser at the start of a frame.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: State::Start,
            scanned: 0,
            remaining: 0,
            spans: SmallVec::new(),
            unquoted: Vec::new(),
            unquoted_in_use: false,
        }
    }

    /// Scans `frame` on from where the last call stopped.
    ///
    /// # Errors
    /// [`ProtocolError`]: answer it and close the connection; the parser must not be used again.
    #[inline]
    pub fn advance(&mut self, frame: &[u8], limits: &Limits) -> Result<Progress, ProtocolError> {
        loop {
            let step = match self.state {
                State::Start => self.start(frame, limits)?,
                State::BulkHeader => self.bulk_header(frame, limits)?,
                State::BulkBody { len } => self.bulk_body(frame, len)?,
                State::Inline => self.inline(frame, limits)?,
            };
            if let Some(progress) = step {
                return Ok(progress);
            }
        }
    }

    /// Arguments of the command that [`advance`](Self::advance) has just completed within `frame`.
    #[inline]
    #[must_use]
    pub fn args<'a>(&'a self, frame: &'a [u8]) -> Args<'a> {
        Args::new(if self.unquoted_in_use { &self.unquoted } else { frame }, &self.spans)
    }

    #[inline]
    fn start(&mut self, frame: &[u8], limits: &Limits) -> Result<Option<Progress>, ProtocolError> {
        self.forget();
        match frame.first() {
            None => return Ok(Some(Progress::Incomplete { frame_bytes_min: 1 })),
            Some(b'*') => {}
            Some(_) => {
                self.state = State::Inline;
                return Ok(None);
            }
        }
        match length(&frame[1..]).ok_or(ProtocolError::InvalidCount)? {
            Length::Incomplete => Ok(Some(Progress::Incomplete { frame_bytes_min: frame.len() + 1 })),
            Length::Known { value, header_bytes } => {
                if value > u64::from(limits.arguments_max) {
                    return Err(ProtocolError::TooManyArguments { max: limits.arguments_max });
                }
                self.scanned = 1 + header_bytes;
                self.remaining = value as u32;
                if self.remaining == 0 {
                    return Ok(Some(self.complete(self.scanned)));
                }
                self.state = State::BulkHeader;
                Ok(None)
            }
        }
    }

    #[inline]
    fn bulk_header(&mut self, frame: &[u8], limits: &Limits) -> Result<Option<Progress>, ProtocolError> {
        let rest = &frame[self.scanned..];
        match rest.first() {
            Some(b'$') => {}
            Some(other) => return Err(ProtocolError::ExpectedBulk(*other)),
            None => return Ok(Some(Progress::Incomplete { frame_bytes_min: self.scanned + 1 })),
        }
        let Length::Known { value, header_bytes } = length(&rest[1..]).ok_or(ProtocolError::InvalidLength)?
        else {
            return Ok(Some(Progress::Incomplete { frame_bytes_min: frame.len() + 1 }));
        };
        if value > u64::from(limits.bulk_bytes_max) {
            return Err(ProtocolError::BulkTooLong { max: limits.bulk_bytes_max });
        }
        let len = value as u32;
        self.scanned += 1 + header_bytes;
        if self.scanned + len as usize + CRLF_BYTES > limits.frame_bytes_max as usize {
            return Err(ProtocolError::FrameTooLong { max: limits.frame_bytes_max });
        }
        self.state = State::BulkBody { len };
        Ok(None)
    }

    #[inline]
    fn bulk_body(&mut self, frame: &[u8], len: u32) -> Result<Option<Progress>, ProtocolError> {
        let end = self.scanned + len as usize;
        let Some(line_end) = frame.get(end..end + CRLF_BYTES) else {
            return Ok(Some(Progress::Incomplete { frame_bytes_min: end + CRLF_BYTES }));
        };
        if line_end != b"\r\n" {
            return Err(ProtocolError::MissingLineEnd);
        }
        self.spans.push(Span { start: self.scanned as u32, len });
        self.scanned = end + CRLF_BYTES;
        self.remaining -= 1;
        if self.remaining == 0 {
            return Ok(Some(self.complete(self.scanned)));
        }
        self.state = State::BulkHeader;
        Ok(None)
    }

    #[cold]
    fn inline(&mut self, frame: &[u8], limits: &Limits) -> Result<Option<Progress>, ProtocolError> {
        let found = frame[self.scanned..].iter().position(|byte| *byte == b'\n');
        let line_bytes = found.map_or(frame.len(), |at| self.scanned + at + 1);
        if line_bytes > limits.inline_bytes_max as usize {
            return Err(ProtocolError::InlineTooLong { max: limits.inline_bytes_max });
        }
        self.scanned = line_bytes;
        if found.is_none() {
            return Ok(Some(Progress::Incomplete { frame_bytes_min: line_bytes + 1 }));
        }
        let line = &frame[..line_bytes - 1];
        inline::split(line.strip_suffix(b"\r").unwrap_or(line), &mut self.unquoted, |span| {
            self.spans.push(span)
        })?;
        self.unquoted_in_use = true;
        if self.spans.len() > limits.arguments_max as usize {
            return Err(ProtocolError::TooManyArguments { max: limits.arguments_max });
        }
        let name = self.args(frame).get(0).unwrap_or_default();
        if name.eq_ignore_ascii_case(b"POST") || name.eq_ignore_ascii_case(b"Host:") {
            return Err(ProtocolError::Http);
        }
        Ok(Some(self.complete(line_bytes)))
    }

    #[inline]
    fn complete(&mut self, consumed: usize) -> Progress {
        self.state = State::Start;
        Progress::Complete { consumed }
    }

    /// Drops what the last frame left, and the room of an unusually large one.
    #[inline]
    fn forget(&mut self) {
        self.scanned = 0;
        self.unquoted_in_use = false;
        self.spans.clear();
        self.unquoted.clear();
        if self.spans.capacity() > ARGUMENTS_RETAINED {
            self.spans = SmallVec::new();
        }
    }
}

enum Length {
    Incomplete,
    Known { value: u64, header_bytes: usize },
}

/// `<digits>\r\n` at the head of `bytes`; `None` when it cannot become that. A header is at most a dozen bytes, so
/// starting it over when it arrives in pieces is a constant.
#[inline]
fn length(bytes: &[u8]) -> Option<Length> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'0'..=b'9' if at < LENGTH_DIGITS_MAX && !(at > 0 && value == 0) => {
                value = value * 10 + u64::from(byte - b'0');
            }
            b'\r' if at > 0 => {
                return match bytes.get(at + 1) {
                    Some(b'\n') => Some(Length::Known { value, header_bytes: at + CRLF_BYTES }),
                    Some(_) => None,
                    None => Some(Length::Incomplete),
                };
            }
            _ => return None,
        }
    }
    Some(Length::Incomplete)
}
