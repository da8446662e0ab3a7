//! What is wrong with a command, in the words that Redis clients already know.

use super::Args;

/// Bytes of an unknown command's name and arguments that the error repeats.
const ECHO_BYTES_MAX: usize = 128;

/// A whole frame that is no valid command. The connection goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No such command. The text is the client's own, cut and made printable.
    #[error("ERR unknown command '{name}', with args beginning with: {args}")]
    Unknown {
        /// The name as sent.
        name: String,
        /// Each argument in quotes.
        args: String,
    },
    /// No such subcommand.
    #[error("ERR unknown subcommand '{subcommand}'. Try {command} HELP.")]
    UnknownSubcommand {
        /// The command, in upper case.
        command: &'static str,
        /// The subcommand as sent.
        subcommand: String,
    },
    /// Too few or too many arguments. Of the commands that only Trueup has, it says which ones they take.
    #[error("ERR wrong number of arguments for '{0}' command{usage}", usage = usage(.0))]
    Arity(&'static str),
    /// An option that is unknown, repeated, or contradicts another.
    #[error("ERR syntax error")]
    Syntax,
    /// A number was expected.
    #[error("ERR value is not an integer or out of range")]
    NotAnInteger,
    /// A life that is not a positive number of its unit.
    #[error("ERR invalid expire time in 'set' command")]
    InvalidExpire,
    /// `SELECT` of a database other than 0.
    #[error("ERR DB index is out of range")]
    Database,
    /// `HELLO` with something that is no version.
    #[error("ERR Protocol version is not an integer or out of range")]
    HelloVersion,
    /// `HELLO` with a version that is not spoken here.
    #[error("NOPROTO unsupported protocol version")]
    UnsupportedProtocol,
    /// `HELLO` with an unknown or incomplete option.
    #[error("ERR Syntax error in HELLO option '{0}'")]
    HelloOption(String),
    /// A client's name that cannot be shown in a list.
    #[error("ERR Client names cannot contain spaces, newlines or special characters.")]
    ClientName,
    /// `CLIENT SETINFO` with an attribute other than LIB-NAME and LIB-VER.
    #[error("ERR Unrecognized option '{0}'")]
    ClientAttribute(String),
    /// `CLIENT REPLY OFF` and `SKIP`: the stream of replies would no longer match the stream of commands.
    #[error("ERR CLIENT REPLY supports ON only")]
    ClientReply,
    /// `TRUEUP.MGET` with a count that is no positive number.
    #[error("ERR numkeys should be greater than 0")]
    KeyCount,
    /// `TRUEUP.MGET` with a count beyond its arguments.
    #[error("ERR Number of keys can't be greater than number of args")]
    KeyCountTooLarge,
}

impl CommandError {
    #[cold]
    pub(super) fn unknown(args: Args<'_>) -> Self {
        let mut shown = String::new();
        for arg in args.from(1).iter() {
            if shown.len() >= ECHO_BYTES_MAX {
                break;
            }
            shown.push_str(&format!("'{}' ", printable(arg)));
        }
        Self::Unknown { name: printable(args.get(0).unwrap_or_default()), args: shown }
    }

    #[cold]
    pub(super) fn unknown_subcommand(command: &'static str, subcommand: &[u8]) -> Self {
        Self::UnknownSubcommand { command, subcommand: printable(subcommand) }
    }
}

/// How a command of Trueup's own is written, to follow an error; empty for those that every client knows.
fn usage(name: &str) -> &'static str {
    match name {
        "trueup.get" => "; write TRUEUP.GET class key [TOKEN t] [MAXSTALE ms] [CONSISTENT]",
        "trueup.mget" => {
            "; write TRUEUP.MGET class numkeys key [key ...] [TOKEN t] [MAXSTALE ms] [CONSISTENT]"
        }
        "trueup.token" => "; write TRUEUP.TOKEN alone",
        "trueup.invalidate" => "; write TRUEUP.INVALIDATE tag",
        "trueup.lease" => "; write TRUEUP.LEASE class key",
        "trueup.fill" => "; write TRUEUP.FILL class key lease value",
        _ => "",
    }
}

/// At most [`ECHO_BYTES_MAX`] bytes of `bytes`, with what a terminal would not show escaped.
pub(super) fn printable(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(ECHO_BYTES_MAX)].escape_ascii().to_string()
}
