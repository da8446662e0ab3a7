//! Inline commands: one line, arguments separated by spaces, quoted as redis-cli users are used to.

use super::{ProtocolError, Span};

/// Splits `line` into arguments, unquoted into `out`, and hands each one's place to `push`.
///
/// Double quotes know `\n \r \t \b \a \xHH` and `\` before any other byte; single quotes know `\'` only. A closing
/// quote must end its argument.
///
/// # Errors
/// [`ProtocolError::UnbalancedQuotes`].
pub(super) fn split(line: &[u8], out: &mut Vec<u8>, mut push: impl FnMut(Span)) -> Result<(), ProtocolError> {
    let mut rest = line;
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return Ok(());
        }
        let start = out.len();
        rest = argument(rest, out)?;
        push(Span { start: start as u32, len: (out.len() - start) as u32 });
    }
}

/// Unquotes one argument into `out` and returns what follows it.
fn argument<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    while let Some((byte, tail)) = rest.split_first() {
        match byte {
            b' ' | b'\t' | b'\r' => return Ok(rest),
            b'"' => return after_quote(double_quoted(tail, out)?),
            b'\'' => return after_quote(single_quoted(tail, out)?),
            other => out.push(*other),
        }
        rest = tail;
    }
    Ok(rest)
}

fn after_quote(rest: &[u8]) -> Result<&[u8], ProtocolError> {
    match rest.first() {
        Some(byte) if !byte.is_ascii_whitespace() => Err(ProtocolError::UnbalancedQuotes),
        _ => Ok(rest),
    }
}

fn double_quoted<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        rest = match rest {
            [b'"', tail @ ..] => return Ok(tail),
            [b'\\', b'x', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                out.push(hex(*high) << 4 | hex(*low));
                tail
            }
            [b'\\', escaped, tail @ ..] => {
                out.push(unescape(*escaped));
                tail
            }
            [byte, tail @ ..] => {
                out.push(*byte);
                tail
            }
            [] => return Err(ProtocolError::UnbalancedQuotes),
        };
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        rest = match rest {
            [b'\'', tail @ ..] => return Ok(tail),
            [b'\\', b'\'', tail @ ..] => {
                out.push(b'\'');
                tail
            }
            [byte, tail @ ..] => {
                out.push(*byte);
                tail
            }
            [] => return Err(ProtocolError::UnbalancedQuotes),
        };
    }
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}
