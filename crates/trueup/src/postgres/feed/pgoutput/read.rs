//! A bounded reader over one message.

/// Bytes that are no message of pgoutput.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The message ends within a part.
    #[error("the message ends before its {0}")]
    Short(&'static str),
    /// A part holds what it cannot.
    #[error("the message has an impossible {0}")]
    Impossible(&'static str),
    /// A message type that this release does not know.
    #[error("message type `{}` is unknown", char::from(*.0).escape_default())]
    Unknown(u8),
    /// Bytes are left after the last part.
    #[error("{0} bytes are left after the end of the message")]
    Longer(usize),
}

/// What is left of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn array<const N: usize>(&mut self, part: &'static str) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed::Short(part))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self, part: &'static str) -> Result<u8, Malformed> {
        self.array::<1>(part).map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self, part: &'static str) -> Result<u16, Malformed> {
        self.array(part).map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self, part: &'static str) -> Result<u32, Malformed> {
        self.array(part).map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self, part: &'static str) -> Result<u64, Malformed> {
        self.array(part).map(u64::from_be_bytes)
    }

    pub(super) fn i64(&mut self, part: &'static str) -> Result<i64, Malformed> {
        self.array(part).map(i64::from_be_bytes)
    }

    /// As many bytes as `count` says.
    pub(super) fn bytes(&mut self, count: u32, part: &'static str) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(count as usize).ok_or(Malformed::Short(part))?;
        self.rest = rest;
        Ok(taken)
    }

    /// Text up to a zero byte.
    pub(super) fn text(&mut self, part: &'static str) -> Result<&'a str, Malformed> {
        let end = self.rest.iter().position(|byte| *byte == 0).ok_or(Malformed::Short(part))?;
        let (text, rest) = self.rest.split_at(end);
        self.rest = &rest[1..];
        std::str::from_utf8(text).map_err(|_| Malformed::Impossible(part))
    }

    /// What is left, without taking it.
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes everything that is left.
    pub(super) fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    pub(super) fn end(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::Longer(self.rest.len())) }
    }
}
