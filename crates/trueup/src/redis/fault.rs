//! What goes wrong, in the words of the engine's trait.

use compact_str::{CompactString, ToCompactString as _, format_compact};
use redis::{ErrorKind, ServerError, ServerErrorKind};
use trueup_core::tier::{RemoteError, RemoteOperation};

use crate::plan::AddressError;

/// Longest text of a server that is shown, in bytes. It may quote what it was sent.
const SHOWN_BYTES_MAX: usize = 120;

/// A remote tier could not be set up. That it can't be reached is no such error: see [`super::Redis`].
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedisError {
    /// The address is none.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The certificates can't be used.
    #[error("the certificates for the remote tier can't be used: {0}; give PEM files")]
    Certificates(String),
    /// The node can't be given a secret.
    #[error("the remote tier has no secret: {0}")]
    Secret(String),
}

/// What one call to one server came to, when it gave no answers.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was not asked.
    NotAsked(CompactString),
    /// It did not answer in time.
    Late,
    /// The connection is of no use any more.
    Broken(CompactString),
    /// Bytes that are no answer. The connection is of no use any more.
    Nonsense(CompactString),
}

impl Failure {
    pub(super) fn of(error: &redis::RedisError) -> Self {
        match error.kind() {
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Self::Nonsense(brief(&error.to_string())),
            _ => Self::Broken(brief(&error.to_string())),
        }
    }

    pub(super) fn told(
        &self,
        operation: RemoteOperation,
        endpoint: &CompactString,
        within: std::time::Duration,
    ) -> RemoteError {
        let endpoint = endpoint.clone();
        match self {
            Self::NotAsked(reason) | Self::Broken(reason) => {
                RemoteError::Unavailable { operation, endpoint, reason: reason.clone() }
            }
            Self::Late => RemoteError::Timeout { operation, endpoint, after: within },
            Self::Nonsense(reason) => RemoteError::Protocol { operation, endpoint, reason: reason.clone() },
        }
    }
}

/// What a server's refusal of one command means for its caller.
pub(super) fn refusal(
    error: &ServerError,
    operation: RemoteOperation,
    endpoint: &CompactString,
) -> RemoteError {
    let endpoint = endpoint.clone();
    let reason = words(error);
    if is_unusable(error) || error.kind() == Some(ServerErrorKind::TryAgain) {
        RemoteError::Unavailable { operation, endpoint, reason }
    } else {
        RemoteError::Refused { operation, endpoint, reason }
    }
}

/// Whether a server that says so is of no use for any command, for the time being.
pub(super) fn is_unusable(error: &ServerError) -> bool {
    match error.kind() {
        Some(kind) => matches!(
            kind,
            ServerErrorKind::BusyLoading | ServerErrorKind::ClusterDown | ServerErrorKind::MasterDown
        ),
        None => matches!(error.code(), "NOAUTH" | "WRONGPASS"),
    }
}

/// Whether it refuses scripts: by its access list, or because it knows none.
pub(super) fn refuses_scripts(error: &ServerError) -> bool {
    let details = error.details().unwrap_or_default();
    match error.kind() {
        Some(ServerErrorKind::NoPerm) => details.contains("eval"),
        Some(ServerErrorKind::ResponseError) => details.starts_with("unknown command"),
        _ => false,
    }
}

/// The server's own words.
pub(super) fn words(error: &ServerError) -> CompactString {
    match error.details() {
        Some(details) => brief(&format_compact!("{} {details}", error.code())),
        None => error.code().to_compact_string(),
    }
}

/// The beginning of a text, without control characters.
pub(super) fn brief(text: &str) -> CompactString {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN_BYTES_MAX).collect()
}
