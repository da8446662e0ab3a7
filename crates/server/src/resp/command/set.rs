//! `SET key value [NX|XX] [GET] [EX s|PX ms|EXAT s|PXAT ms|KEEPTTL]`.

use super::{Args, CommandError, lowercase, number};

/// A decoded `SET`.
#[derive(Clone, Copy)]
pub struct Set<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The value.
    pub value: &'a [u8],
    /// When to write at all.
    pub condition: Option<Condition>,
    /// How long the value lives; `None` for the class's own life.
    pub expire: Option<Expire>,
    /// Whether the answer is the value before.
    pub get: bool,
}

/// Keys and values are not for logs.
impl std::fmt::Debug for Set<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Set")
            .field("condition", &self.condition)
            .field("expire", &self.expire)
            .finish_non_exhaustive()
    }
}

/// When `SET` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// `NX`: only where there is no value.
    IfAbsent,
    /// `XX`: only where there is one.
    IfPresent,
}

/// Life of a value that is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expire {
    /// `EX`, `PX`: milliseconds from now.
    After(u64),
    /// `EXAT`, `PXAT`: milliseconds since the Unix epoch.
    At(u64),
    /// `KEEPTTL`: as before.
    Keep,
}

impl<'a> Set<'a> {
    pub(super) fn decode(args: Args<'a>) -> Result<Self, CommandError> {
        let (Some(key), Some(value)) = (args.get(1), args.get(2)) else {
            return Err(CommandError::Arity("set"));
        };
        let mut set = Self { key, value, condition: None, expire: None, get: false };
        let mut rest = args.from(3).iter();
        while let Some(option) = rest.next() {
            let mut buffer = [0; super::NAME_BYTES_MAX];
            match lowercase(option, &mut buffer).unwrap_or_default() {
                b"nx" if set.condition.is_none() => set.condition = Some(Condition::IfAbsent),
                b"xx" if set.condition.is_none() => set.condition = Some(Condition::IfPresent),
                b"get" => set.get = true,
                b"keepttl" if set.expire.is_none() => set.expire = Some(Expire::Keep),
                unit @ (b"ex" | b"px" | b"exat" | b"pxat") if set.expire.is_none() => {
                    let life_ms =
                        milliseconds(rest.next().ok_or(CommandError::Syntax)?, !unit.starts_with(b"p"))?;
                    set.expire = Some(if unit.ends_with(b"at") {
                        Expire::At(life_ms)
                    } else {
                        Expire::After(life_ms)
                    });
                }
                _ => return Err(CommandError::Syntax),
            }
        }
        Ok(set)
    }
}

/// A positive span, in milliseconds.
fn milliseconds(arg: &[u8], in_seconds: bool) -> Result<u64, CommandError> {
    let value = u64::try_from(number::<i64>(arg)?).map_err(|_| CommandError::InvalidExpire)?;
    let scaled = value.checked_mul(if in_seconds { 1_000 } else { 1 });
    scaled.filter(|ms| *ms > 0).ok_or(CommandError::InvalidExpire)
}
