//! `CLIENT`: what a connection says and asks about itself.

use super::{Args, CommandError, error::printable, lowercase};

/// Longest name or attribute of a client, in bytes.
const CLIENT_TEXT_BYTES_MAX: usize = 256;

/// A subcommand of `CLIENT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCommand<'a> {
    /// `CLIENT ID`.
    Id,
    /// `CLIENT INFO`.
    Info,
    /// `CLIENT LIST`: shows the asking connection only.
    List,
    /// `CLIENT GETNAME`.
    GetName,
    /// `CLIENT SETNAME name`; an empty name removes it.
    SetName(&'a [u8]),
    /// `CLIENT SETINFO LIB-NAME|LIB-VER text`.
    SetInfo(ClientAttribute, &'a [u8]),
    /// `CLIENT REPLY ON`.
    ReplyOn,
}

/// What `CLIENT SETINFO` can set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAttribute {
    /// The library's name.
    LibName,
    /// The library's version.
    LibVersion,
}

impl<'a> ClientCommand<'a> {
    pub(super) fn decode(args: Args<'a>) -> Result<Self, CommandError> {
        let Some(subcommand) = args.get(1) else {
            return Err(CommandError::Arity("client"));
        };
        let mut buffer = [0; super::NAME_BYTES_MAX];
        let arity =
            |name, len: usize| if args.len() == len { Ok(()) } else { Err(CommandError::Arity(name)) };
        let text = args.from(2).get(0).unwrap_or_default();
        match lowercase(subcommand, &mut buffer).unwrap_or_default() {
            b"id" => arity("client|id", 2).map(|()| Self::Id),
            b"info" => arity("client|info", 2).map(|()| Self::Info),
            b"list" if args.len() > 2 => Err(CommandError::Syntax),
            b"list" => Ok(Self::List),
            b"getname" => arity("client|getname", 2).map(|()| Self::GetName),
            b"setname" => {
                arity("client|setname", 3)?;
                Ok(Self::SetName(valid_name(text)?))
            }
            b"setinfo" => {
                arity("client|setinfo", 4)?;
                let value = valid_name(args.get(3).unwrap_or_default())?;
                Ok(Self::SetInfo(ClientAttribute::decode(text)?, value))
            }
            b"reply" => {
                arity("client|reply", 3)?;
                if text.eq_ignore_ascii_case(b"on") {
                    Ok(Self::ReplyOn)
                } else {
                    Err(CommandError::ClientReply)
                }
            }
            _ => Err(CommandError::unknown_subcommand("CLIENT", subcommand)),
        }
    }
}

impl ClientAttribute {
    fn decode(name: &[u8]) -> Result<Self, CommandError> {
        if name.eq_ignore_ascii_case(b"lib-name") {
            Ok(Self::LibName)
        } else if name.eq_ignore_ascii_case(b"lib-ver") {
            Ok(Self::LibVersion)
        } else {
            Err(CommandError::ClientAttribute(printable(name)))
        }
    }
}

/// A name is shown in lists of `key=value` words, so it is printable and has no spaces.
pub(super) fn valid_name(name: &[u8]) -> Result<&[u8], CommandError> {
    if name.len() <= CLIENT_TEXT_BYTES_MAX && name.iter().all(u8::is_ascii_graphic) {
        Ok(name)
    } else {
        Err(CommandError::ClientName)
    }
}
