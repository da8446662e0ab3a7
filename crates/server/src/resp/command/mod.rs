//! What a client may ask, decoded from its arguments.
//!
//! Names and options are matched without regard to case; keys and values are bytes and stay as sent.

mod client;
mod connection;
mod data;
mod error;
mod set;
pub mod table;
#[cfg(test)]
mod tests;
mod trueup;

pub use self::{
    client::{ClientAttribute, ClientCommand},
    connection::{Credentials, DEFAULT_USER, Hello},
    data::{Data, TtlUnit},
    error::CommandError,
    set::{Condition, Expire, Set},
    table::CommandQuery,
    trueup::{ReadMany, ReadOne, ReadOptions},
};
use super::args::Args;

/// Longest command name, in bytes; a longer one is unknown.
const NAME_BYTES_MAX: usize = 24;

/// One decoded command, borrowing from the read buffer.
#[derive(Clone, Copy, Debug)]
pub enum Command<'a> {
    /// About cached data: answered by the [`Service`](super::Service).
    Data(Data<'a>),
    /// `PING [message]`.
    Ping(Option<Text<'a>>),
    /// `ECHO message`.
    Echo(Text<'a>),
    /// `HELLO [2|3 [AUTH user password] [SETNAME name]]`.
    Hello(Hello<'a>),
    /// `AUTH [user] password`.
    Auth(Credentials<'a>),
    /// `SELECT 0`: there is one database.
    Select,
    /// `INFO [section ...]`.
    Info(Args<'a>),
    /// `COMMAND [COUNT | LIST | INFO [name ...] | DOCS [name ...]]`.
    Command(CommandQuery<'a>),
    /// `CLIENT ...`, about this connection only.
    Client(ClientCommand<'a>),
    /// `CONFIG GET pattern ...`: nothing of Redis's configuration exists here, so nothing matches.
    ConfigGet,
    /// `RESET`: back to the state of a new connection.
    Reset,
    /// `QUIT`: answer what came before, then close.
    Quit,
}

/// A message to send back. It may hold anything, so it is not for logs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text<'a>(pub &'a [u8]);

impl std::fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Text({} bytes)", self.0.len())
    }
}

impl<'a> Command<'a> {
    /// Decodes `args`, which holds at least the command's name.
    ///
    /// # Errors
    /// [`CommandError`], whose text is the reply.
    #[inline]
    pub fn decode(args: Args<'a>) -> Result<Self, CommandError> {
        let name = args.get(0).unwrap_or_default();
        if name.eq_ignore_ascii_case(b"get") {
            return Ok(Self::Data(Data::Get { key: one(args, "get")? }));
        }
        Self::decode_other(name, args)
    }

    fn decode_other(name: &[u8], args: Args<'a>) -> Result<Self, CommandError> {
        let mut buffer = [0; NAME_BYTES_MAX];
        let Some(lower) = lowercase(name, &mut buffer) else {
            return Err(CommandError::unknown(args));
        };
        Ok(match lower {
            b"ping" if args.len() > 2 => return Err(CommandError::Arity("ping")),
            b"ping" => Self::Ping(args.get(1).map(Text)),
            b"echo" => Self::Echo(Text(one(args, "echo")?)),
            b"hello" => Self::Hello(Hello::decode(args)?),
            b"auth" => Self::Auth(Credentials::decode(args)?),
            b"select" => connection::select(args)?,
            b"info" => Self::Info(args.from(1)),
            b"command" => Self::Command(CommandQuery::decode(args)?),
            b"client" => Self::Client(ClientCommand::decode(args)?),
            b"config" => connection::config(args)?,
            b"reset" if args.len() > 1 => return Err(CommandError::Arity("reset")),
            b"reset" => Self::Reset,
            b"quit" => Self::Quit,
            other => match Data::decode(other, args)? {
                Some(data) => Self::Data(data),
                None => return Err(CommandError::unknown(args)),
            },
        })
    }

    /// Whether a client may send it before it has authenticated.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Auth(_) | Self::Hello(_) | Self::Quit | Self::Reset)
    }
}

/// `name` in lower case within `buffer`; `None` when it does not fit.
fn lowercase<'b>(name: &[u8], buffer: &'b mut [u8; NAME_BYTES_MAX]) -> Option<&'b [u8]> {
    let lower = buffer.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    Some(lower)
}

/// The only argument of `name`.
#[inline]
fn one<'a>(args: Args<'a>, name: &'static str) -> Result<&'a [u8], CommandError> {
    match (args.get(1), args.len()) {
        (Some(arg), 2) => Ok(arg),
        _ => Err(CommandError::Arity(name)),
    }
}

/// The arguments of `name`, which wants one at least.
fn some<'a>(args: Args<'a>, name: &'static str) -> Result<Args<'a>, CommandError> {
    if args.len() < 2 { Err(CommandError::Arity(name)) } else { Ok(args.from(1)) }
}

/// A decimal number.
fn number<N: std::str::FromStr>(arg: &[u8]) -> Result<N, CommandError> {
    let text = std::str::from_utf8(arg).map_err(|_| CommandError::NotAnInteger)?;
    text.parse().map_err(|_| CommandError::NotAnInteger)
}
