//! Errors in the words of Redis clients: a code in capitals, then what is wrong and what to do.

use trueup_core::{
    error::{FillError, ReadError},
    source::LoadError,
};

use crate::{
    node::{AskError, InvalidateError},
    resp::{Outcome, reply::Reply},
};

const SET_REFUSED: &str = "ERR SET is refused: the values of this server come from its database of record; write there, \
    and the cache follows by itself";
const NOT_FILLED: &str = "its values are loaded from the source, so nobody may fill them; read it with GET";
const UNLABELLED: &str = "FALLBACK the source does not answer; what the class declares to stand in says nothing about it: \
    TRUEUP.GET answers it, with its label";

/// The code that stands in front of `error`.
fn code(error: &AskError) -> &'static str {
    match error {
        AskError::Token(_) | AskError::Read(ReadError::TokenUnknown) => "BADTOKEN",
        AskError::Read(ReadError::Load(error)) => match error {
            LoadError::Shed { .. } => "TRYAGAIN",
            LoadError::Unfilled => "UNFILLED",
            LoadError::TimedOut { .. } => "TIMEOUT",
            LoadError::Unavailable(_) | LoadError::LeftAlone { .. } | LoadError::Lost => "UNAVAILABLE",
            LoadError::Refused(_) | LoadError::TooLarge { .. } => "ERR",
        },
        _ => "ERR",
    }
}

/// Writes `error`.
pub(super) fn write(reply: &mut Reply<'_>, error: &AskError) {
    reply.error(format_args!("{} {error}", code(error)));
}

/// Writes `error` as the whole outcome.
#[cold]
pub(super) fn now(reply: &mut Reply<'_>, error: &AskError) -> Outcome {
    write(reply, error);
    Outcome::Done
}

/// Writes why nothing was invalidated.
pub(super) fn of_invalidation(reply: &mut Reply<'_>, error: &InvalidateError) {
    match error {
        InvalidateError::Ask(error) => write(reply, error),
        other => reply.error(format_args!("ERR {other}")),
    }
}

/// Writes that the plan's stand-in was not answered where nothing could say that it is one.
pub(super) fn unlabelled(reply: &mut Reply<'_>) {
    reply.error(UNLABELLED);
}

/// The answer to `SET`.
pub(super) fn set(reply: &mut Reply<'_>) -> Outcome {
    reply.error(SET_REFUSED);
    Outcome::Done
}

/// The answer to leases on a class that loads by itself.
pub(super) fn not_filled(reply: &mut Reply<'_>, class: &str) -> Outcome {
    reply.error(format_args!("ERR class `{class}` is not filled by clients: {NOT_FILLED}"));
    Outcome::Done
}

/// Writes why a fill was not kept.
pub(super) fn of_fill(reply: &mut Reply<'_>, error: &FillError) {
    let code = match error {
        FillError::LeaseLost => "LEASELOST",
        FillError::Invalidated => "INVALIDATED",
        _ => "ERR",
    };
    reply.error(format_args!("{code} {error}"));
}
