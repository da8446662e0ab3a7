//! `COMMAND`: what the server says about its own commands. Clients use it for completion and to find keys.

use super::{Args, CommandError, lowercase};
use crate::resp::reply::Reply;

/// A form of `COMMAND`.
#[derive(Clone, Copy, Debug)]
pub enum CommandQuery<'a> {
    /// `COMMAND`: everything.
    All,
    /// `COMMAND COUNT`.
    Count,
    /// `COMMAND LIST`.
    List,
    /// `COMMAND INFO [name ...]`; nil for an unknown name.
    Info(Args<'a>),
    /// `COMMAND DOCS [name ...]`; unknown names are left out.
    Docs(Args<'a>),
}

/// One command as `COMMAND` describes it.
struct Entry {
    name: &'static str,
    /// Number of arguments with the name; negative for "at least".
    arity: i64,
    flags: &'static [&'static str],
    /// First key, last key and step, as positions; zeros where there is no key.
    keys: [i64; 3],
    summary: &'static str,
}

const READ: &[&str] = &["readonly", "fast"];
const READ_MANY: &[&str] = &["readonly"];
const WRITE: &[&str] = &["write"];
const OPEN: &[&str] = &["noscript", "loading", "stale", "fast", "no_auth"];
const ANY: &[&str] = &["loading", "stale", "fast"];
const NO_KEY: [i64; 3] = [0, 0, 0];
const ONE_KEY: [i64; 3] = [1, 1, 1];
const ALL_KEYS: [i64; 3] = [1, -1, 1];
const CLASS_KEY: [i64; 3] = [2, 2, 1];

const fn entry(
    name: &'static str,
    arity: i64,
    flags: &'static [&'static str],
    keys: [i64; 3],
    summary: &'static str,
) -> Entry {
    Entry { name, arity, flags, keys, summary }
}

#[rustfmt::skip]
const TABLE: &[Entry] = &[
    entry("auth", -2, OPEN, NO_KEY, "Authenticates the connection"),
    entry("client", -2, ANY, NO_KEY, "Names and describes this connection"),
    entry("command", -1, ANY, NO_KEY, "Describes the commands"),
    entry("config", -2, ANY, NO_KEY, "Answers CONFIG GET with nothing: there is no Redis configuration"),
    entry("del", -2, WRITE, ALL_KEYS, "Invalidates keys"),
    entry("echo", 2, ANY, NO_KEY, "Sends the message back"),
    entry("exists", -2, READ_MANY, ALL_KEYS, "Counts the keys that have a value"),
    entry("get", 2, READ, ONE_KEY, "Reads a value, from the cache where it is proven, else from the source"),
    entry("hello", -1, OPEN, NO_KEY, "Chooses the protocol version, authenticates, names the connection"),
    entry("info", -1, ANY, NO_KEY, "Describes the server"),
    entry("mget", -2, READ_MANY, ALL_KEYS, "Reads several values"),
    entry("ping", -1, ANY, NO_KEY, "Answers PONG, or the message"),
    entry("pttl", 2, READ, ONE_KEY, "Tells how many milliseconds a value may still be served"),
    entry("quit", -1, OPEN, NO_KEY, "Closes the connection"),
    entry("reset", 1, OPEN, NO_KEY, "Returns the connection to its first state"),
    entry("select", 2, ANY, NO_KEY, "Accepts database 0, the only one"),
    entry("set", -3, WRITE, ONE_KEY, "Is refused: values come from the database of record"),
    entry("trueup.fill", 5, WRITE, CLASS_KEY, "Is refused: values come from the database of record"),
    entry("trueup.get", -3, READ, CLASS_KEY, "Reads a value with its version, age and origin"),
    entry("trueup.invalidate", 2, WRITE, NO_KEY, "Invalidates everything that carries a tag"),
    entry("trueup.lease", 3, WRITE, CLASS_KEY, "Is refused: values come from the database of record"),
    entry("trueup.mget", -4, READ_MANY, [3, -1, 1], "Reads several values of one class with their evidence"),
    entry("trueup.token", 1, READ, NO_KEY, "Gives a token for now"),
    entry("ttl", 2, READ, ONE_KEY, "Tells how many seconds a value may still be served"),
    entry("unlink", -2, WRITE, ALL_KEYS, "Invalidates keys"),
];

impl<'a> CommandQuery<'a> {
    pub(super) fn decode(args: Args<'a>) -> Result<Self, CommandError> {
        let Some(subcommand) = args.get(1) else {
            return Ok(Self::All);
        };
        let mut buffer = [0; super::NAME_BYTES_MAX];
        match lowercase(subcommand, &mut buffer).unwrap_or_default() {
            b"count" if args.len() > 2 => Err(CommandError::Arity("command|count")),
            b"count" => Ok(Self::Count),
            b"list" if args.len() > 2 => Err(CommandError::Syntax),
            b"list" => Ok(Self::List),
            b"info" => Ok(Self::Info(args.from(2))),
            b"docs" => Ok(Self::Docs(args.from(2))),
            _ => Err(CommandError::unknown_subcommand("COMMAND", subcommand)),
        }
    }

    /// Writes the answer.
    pub fn answer(&self, reply: &mut Reply<'_>) {
        match self {
            Self::Count => reply.integer(TABLE.len() as i64),
            Self::List => {
                reply.array(TABLE.len());
                TABLE.iter().for_each(|entry| reply.bulk(entry.name.as_bytes()));
            }
            Self::Info(names) if !names.is_empty() => {
                reply.array(names.len());
                for name in names.iter() {
                    match find(name) {
                        Some(entry) => entry.info(reply),
                        None => reply.nil(),
                    }
                }
            }
            Self::All | Self::Info(_) => {
                reply.array(TABLE.len());
                TABLE.iter().for_each(|entry| entry.info(reply));
            }
            Self::Docs(names) if !names.is_empty() => {
                reply.map(names.iter().filter_map(find).count());
                names.iter().filter_map(find).for_each(|entry| entry.docs(reply));
            }
            Self::Docs(_) => {
                reply.map(TABLE.len());
                TABLE.iter().for_each(|entry| entry.docs(reply));
            }
        }
    }
}

fn find(name: &[u8]) -> Option<&'static Entry> {
    TABLE.iter().find(|entry| entry.name.as_bytes().eq_ignore_ascii_case(name))
}

impl Entry {
    /// The ten fields of Redis 7: categories, tips, key specifications and subcommands are empty.
    fn info(&self, reply: &mut Reply<'_>) {
        reply.array(10);
        reply.bulk(self.name.as_bytes());
        reply.integer(self.arity);
        reply.set(self.flags.len());
        self.flags.iter().for_each(|flag| reply.simple(flag));
        self.keys.iter().for_each(|position| reply.integer(*position));
        reply.set(0);
        (0..3).for_each(|_| reply.array(0));
    }

    fn docs(&self, reply: &mut Reply<'_>) {
        reply.bulk(self.name.as_bytes());
        reply.map(2);
        reply.bulk(b"summary");
        reply.bulk(self.summary.as_bytes());
        reply.bulk(b"group");
        reply.bulk(if self.name.starts_with("trueup.") { b"trueup" } else { b"generic" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::{
        command::tests::with_args,
        reply::{Format, Protocol},
    };

    #[test]
    fn the_table_is_sorted_and_every_entry_is_decoded() {
        assert!(TABLE.is_sorted_by(|a, b| a.name < b.name));
        for entry in TABLE {
            with_args(&[entry.name.as_bytes()], |args| {
                let error = super::super::Command::decode(args).err();
                assert!(!matches!(error, Some(CommandError::Unknown { .. })), "{}", entry.name);
            });
        }
    }

    #[test]
    fn docs_leave_out_what_is_unknown_and_info_says_nil() {
        let text = |words: &[&[u8]]| {
            with_args(words, |args| {
                let format = Format { protocol: Protocol::Resp2, reply_bytes_max: 1 << 16 };
                let query = CommandQuery::decode(args).unwrap();
                String::from_utf8(format.encode(|reply| query.answer(reply)).0).unwrap()
            })
        };
        assert!(
            text(&[b"command", b"docs", b"GET", b"nope"])
                .starts_with("*2\r\n$3\r\nget\r\n*4\r\n$7\r\nsummary\r\n")
        );
        let info = text(&[b"command", b"info", b"nope", b"get"]);
        assert!(info.starts_with(
            "*2\r\n$-1\r\n*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n"
        ));
        assert_eq!(text(&[b"command", b"count"]), format!(":{}\r\n", TABLE.len()));
    }
}
