//! Settings of the RESP server, with the reason for each default.

use std::time::Duration;

use subtle::ConstantTimeEq;

use super::{
    command::{Credentials, DEFAULT_USER},
    limits::Limits,
};

/// Connections open at once.
pub const CLIENTS_MAX_DEFAULT: usize = 10_000;
/// Bytes of one reply. A reply is built in memory before it is sent.
pub const REPLY_BYTES_MAX_DEFAULT: usize = 64 << 20;
/// Bytes waiting for a peer that does not read; beyond, nothing more is read from it.
pub const OUTPUT_BYTES_MAX_DEFAULT: usize = 1 << 20;
/// Commands of one connection that wait for the source at once.
pub const PENDING_MAX_DEFAULT: usize = 64;
/// Commands taken up before other connections get their turn.
pub const COMMANDS_PER_TURN_DEFAULT: usize = 1_024;
/// Time in which a frame that has begun must be whole.
pub const FRAME_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// Time in which a peer must take some of the bytes that wait for it.
pub const DRAIN_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
/// Time in which commands in flight may finish once the server is asked to stop.
pub const STOP_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// Settings of the RESP server.
#[derive(Clone, Debug)]
pub struct Config {
    /// Connections open at once; one more is told so and closed.
    pub clients_max: usize,
    /// What a client must present; nothing when `None`.
    pub password: Option<Password>,
    /// Limits of requests once authenticated; before, they are [`Limits::UNAUTHENTICATED`].
    pub limits: Limits,
    /// Bytes of one reply; a larger one becomes an error.
    pub reply_bytes_max: usize,
    /// Bytes waiting for a peer beyond which nothing more is read from it.
    pub output_bytes_max: usize,
    /// Commands of one connection that wait for the source at once; further ones wait for their turn.
    pub pending_max: usize,
    /// Commands of one connection taken up before other connections get their turn.
    pub commands_per_turn: usize,
    /// Time in which a frame that has begun must be whole.
    pub frame_timeout: Duration,
    /// Time in which a peer must take some of the bytes that wait for it.
    pub drain_timeout: Duration,
    /// Time without a command after which a connection is closed; `None`, as in Redis, means never.
    pub idle_timeout: Option<Duration>,
    /// Time in which commands in flight may finish once the server is asked to stop.
    pub stop_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            clients_max: CLIENTS_MAX_DEFAULT,
            password: None,
            limits: Limits::AUTHENTICATED,
            reply_bytes_max: REPLY_BYTES_MAX_DEFAULT,
            output_bytes_max: OUTPUT_BYTES_MAX_DEFAULT,
            pending_max: PENDING_MAX_DEFAULT,
            commands_per_turn: COMMANDS_PER_TURN_DEFAULT,
            frame_timeout: FRAME_TIMEOUT_DEFAULT,
            drain_timeout: DRAIN_TIMEOUT_DEFAULT,
            idle_timeout: None,
            stop_timeout: STOP_TIMEOUT_DEFAULT,
        }
    }
}

/// The user and password that clients must present.
#[derive(Clone)]
pub struct Password {
    user: String,
    secret: String,
}

impl Password {
    /// A password for the user `default`, whom clients mean when they send a password alone.
    #[must_use]
    pub fn new(secret: String) -> Self {
        Self { user: String::from_utf8_lossy(DEFAULT_USER).into_owned(), secret }
    }

    /// A password for a user of its own.
    #[must_use]
    pub fn for_user(user: String, secret: String) -> Self {
        Self { user, secret }
    }

    /// Whether `presented` is right. Takes the same time for every wrong password of the right length.
    pub(super) fn admits(&self, presented: &Credentials<'_>) -> bool {
        let user = self.user.as_bytes().ct_eq(presented.user);
        let secret = self.secret.as_bytes().ct_eq(presented.password);
        (user & secret).into()
    }
}

/// Secrets are not for logs.
impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_pair_is_admitted() {
        let password = Password::new("secret".into());
        let admits = |user: &str, password_sent: &str| {
            password.admits(&Credentials { user: user.as_bytes(), password: password_sent.as_bytes() })
        };
        assert!(admits("default", "secret"));
        assert!(!admits("default", "secres") && !admits("default", "secre") && !admits("default", ""));
        assert!(!admits("other", "secret"));
        assert_eq!(format!("{password:?}"), "Password(..)");
    }
}
