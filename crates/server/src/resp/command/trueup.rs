//! `TRUEUP.GET` and `TRUEUP.MGET`: reads that ask for evidence.
//!
//! ```text
//! TRUEUP.GET  class key                   [TOKEN t] [MAXSTALE ms] [CONSISTENT]
//! TRUEUP.MGET class numkeys key [key ...] [TOKEN t] [MAXSTALE ms] [CONSISTENT]
//! ```
//! Keys stand where their number says they stand, so a key that reads `CONSISTENT` is still a key.

use std::time::Duration;

use super::{Args, CommandError, lowercase, number};

/// What a read demands beyond its class's promise.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadOptions<'a> {
    /// `TOKEN t`: reflect the write that gave this token.
    pub token: Option<&'a [u8]>,
    /// `MAXSTALE ms`: a tighter bound than the class's.
    pub max_staleness: Option<Duration>,
    /// `CONSISTENT`: all keys from one state of the database.
    pub consistent: bool,
}

impl std::fmt::Debug for ReadOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadOptions")
            .field("token", &self.token.is_some())
            .field("max_staleness", &self.max_staleness)
            .field("consistent", &self.consistent)
            .finish()
    }
}

impl<'a> ReadOptions<'a> {
    fn decode(args: Args<'a>) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let mut rest = args.iter();
        while let Some(option) = rest.next() {
            let mut buffer = [0; super::NAME_BYTES_MAX];
            match lowercase(option, &mut buffer).unwrap_or_default() {
                b"token" if options.token.is_none() => {
                    options.token = Some(rest.next().ok_or(CommandError::Syntax)?);
                }
                b"maxstale" if options.max_staleness.is_none() => {
                    let bound_ms = number(rest.next().ok_or(CommandError::Syntax)?)?;
                    options.max_staleness = Some(Duration::from_millis(bound_ms));
                }
                b"consistent" if !options.consistent => options.consistent = true,
                _ => return Err(CommandError::Syntax),
            }
        }
        Ok(options)
    }
}

/// `TRUEUP.GET`.
#[derive(Clone, Copy)]
pub struct ReadOne<'a> {
    /// The class.
    pub class: &'a [u8],
    /// The key within the class.
    pub key: &'a [u8],
    /// What is demanded.
    pub options: ReadOptions<'a>,
}

impl<'a> ReadOne<'a> {
    pub(super) fn decode(args: Args<'a>) -> Result<Self, CommandError> {
        let (Some(class), Some(key)) = (args.get(1), args.get(2)) else {
            return Err(CommandError::Arity("trueup.get"));
        };
        Ok(Self { class, key, options: ReadOptions::decode(args.from(3))? })
    }
}

/// Keys are not for logs.
impl std::fmt::Debug for ReadOne<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadOne").field("options", &self.options).finish_non_exhaustive()
    }
}

/// `TRUEUP.MGET`.
#[derive(Clone, Copy, Debug)]
pub struct ReadMany<'a> {
    /// The class of all keys.
    pub class: &'a [u8],
    /// One key or more.
    pub keys: Args<'a>,
    /// What is demanded.
    pub options: ReadOptions<'a>,
}

impl<'a> ReadMany<'a> {
    pub(super) fn decode(args: Args<'a>) -> Result<Self, CommandError> {
        let (Some(class), Some(count), true) = (args.get(1), args.get(2), args.len() > 3) else {
            return Err(CommandError::Arity("trueup.mget"));
        };
        let count: usize = number(count).map_err(|_| CommandError::KeyCount)?;
        let keys = args.from(3);
        if count == 0 {
            return Err(CommandError::KeyCount);
        }
        if count > keys.len() {
            return Err(CommandError::KeyCountTooLarge);
        }
        Ok(Self { class, keys: keys.take(count), options: ReadOptions::decode(keys.from(count))? })
    }
}
