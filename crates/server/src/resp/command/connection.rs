//! Commands about the connection itself.

use super::{Args, Command, CommandError, error::printable, number};
use crate::resp::{command::client::valid_name, reply::Protocol};

/// User meant when only a password is sent.
pub const DEFAULT_USER: &[u8] = b"default";

/// Name and password of a client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Credentials<'a> {
    /// The user; `default` when none was sent.
    pub user: &'a [u8],
    /// The password.
    pub password: &'a [u8],
}

/// Secrets are not for logs.
impl std::fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(..)")
    }
}

impl<'a> Credentials<'a> {
    /// `AUTH [user] password`.
    pub(super) fn decode(args: Args<'a>) -> Result<Self, CommandError> {
        match (args.get(1), args.get(2), args.len()) {
            (Some(password), None, _) => Ok(Self { user: DEFAULT_USER, password }),
            (Some(user), Some(password), 3) => Ok(Self { user, password }),
            (None, ..) => Err(CommandError::Arity("auth")),
            _ => Err(CommandError::Syntax),
        }
    }
}

/// `HELLO [2|3 [AUTH user password] [SETNAME name]]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello<'a> {
    /// Version to speak from this reply on; as before when `None`.
    pub protocol: Option<Protocol>,
    /// Credentials to check first.
    pub credentials: Option<Credentials<'a>>,
    /// Name to give to the connection.
    pub name: Option<&'a [u8]>,
}

impl<'a> Hello<'a> {
    pub(super) fn decode(args: Args<'a>) -> Result<Self, CommandError> {
        let mut hello = Self { protocol: None, credentials: None, name: None };
        let Some(version) = args.get(1) else {
            return Ok(hello);
        };
        hello.protocol = Some(match number::<i64>(version).map_err(|_| CommandError::HelloVersion)? {
            2 => Protocol::Resp2,
            3 => Protocol::Resp3,
            _ => return Err(CommandError::UnsupportedProtocol),
        });
        let mut at = 2;
        while let Some(option) = args.get(at) {
            match (args.get(at + 1), args.get(at + 2)) {
                (Some(user), Some(password)) if option.eq_ignore_ascii_case(b"auth") => {
                    hello.credentials = Some(Credentials { user, password });
                    at += 3;
                }
                (Some(name), _) if option.eq_ignore_ascii_case(b"setname") => {
                    hello.name = Some(valid_name(name)?);
                    at += 2;
                }
                _ => return Err(CommandError::HelloOption(printable(option))),
            }
        }
        Ok(hello)
    }
}

/// `SELECT 0`.
pub(super) fn select(args: Args<'_>) -> Result<Command<'_>, CommandError> {
    match number::<i64>(super::one(args, "select")?)? {
        0 => Ok(Command::Select),
        _ => Err(CommandError::Database),
    }
}

/// `CONFIG GET pattern ...`.
pub(super) fn config(args: Args<'_>) -> Result<Command<'_>, CommandError> {
    let Some(subcommand) = args.get(1) else {
        return Err(CommandError::Arity("config"));
    };
    if !subcommand.eq_ignore_ascii_case(b"get") {
        return Err(CommandError::unknown_subcommand("CONFIG", subcommand));
    }
    if args.len() < 3 { Err(CommandError::Arity("config|get")) } else { Ok(Command::ConfigGet) }
}
