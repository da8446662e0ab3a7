//! Commands about cached data.

use super::{Args, CommandError, ReadMany, ReadOne, Set, one, some};

/// A command about cached data.
#[derive(Clone, Copy)]
pub enum Data<'a> {
    /// `GET key`: the value, or nil.
    Get {
        /// The key, `class:parts`.
        key: &'a [u8],
    },
    /// `MGET key ...`: an array of values and nils.
    Mget {
        /// One key or more.
        keys: Args<'a>,
    },
    /// `EXISTS key ...`: how many of the keys have a value; a key named twice counts twice.
    Exists {
        /// One key or more.
        keys: Args<'a>,
    },
    /// `TTL key`, `PTTL key`: time left; -1 without a limit, -2 without a value.
    Ttl {
        /// The key.
        key: &'a [u8],
        /// Unit of the answer.
        unit: TtlUnit,
    },
    /// `DEL key ...`, `UNLINK key ...`: invalidate; answers how many were cached.
    Delete {
        /// One key or more.
        keys: Args<'a>,
    },
    /// `SET key value [options]`.
    Set(Set<'a>),
    /// `TRUEUP.GET class key [TOKEN t] [MAXSTALE ms] [CONSISTENT]`: `[value, version, age_ms, served_by]`.
    Read(ReadOne<'a>),
    /// `TRUEUP.MGET class numkeys key ... [TOKEN t] [MAXSTALE ms] [CONSISTENT]`: an array of what `TRUEUP.GET` answers.
    ReadMany(ReadMany<'a>),
    /// `TRUEUP.TOKEN`: a token for now.
    Token,
    /// `TRUEUP.INVALIDATE tag`.
    Invalidate {
        /// The tag, as declared by the application.
        tag: &'a [u8],
    },
    /// `TRUEUP.LEASE class key`: the value, or the right to fill it.
    Lease {
        /// The class.
        class: &'a [u8],
        /// The key within the class.
        key: &'a [u8],
    },
    /// `TRUEUP.FILL class key lease value`.
    Fill {
        /// The class.
        class: &'a [u8],
        /// The key within the class.
        key: &'a [u8],
        /// What `TRUEUP.LEASE` gave.
        lease: &'a [u8],
        /// The value to cache.
        value: &'a [u8],
    },
}

/// Keys and values are not for logs: only the command's name is shown.
impl std::fmt::Debug for Data<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Data({})", self.name())
    }
}

/// Unit of a remaining life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TtlUnit {
    /// `TTL`.
    Seconds,
    /// `PTTL`.
    Milliseconds,
}

impl<'a> Data<'a> {
    /// Decodes the command called `name`, in lower case; `None` when there is none.
    pub(super) fn decode(name: &[u8], args: Args<'a>) -> Result<Option<Self>, CommandError> {
        Ok(Some(match name {
            b"mget" => Self::Mget { keys: some(args, "mget")? },
            b"exists" => Self::Exists { keys: some(args, "exists")? },
            b"ttl" => Self::Ttl { key: one(args, "ttl")?, unit: TtlUnit::Seconds },
            b"pttl" => Self::Ttl { key: one(args, "pttl")?, unit: TtlUnit::Milliseconds },
            b"del" => Self::Delete { keys: some(args, "del")? },
            b"unlink" => Self::Delete { keys: some(args, "unlink")? },
            b"set" => Self::Set(Set::decode(args)?),
            b"trueup.get" => Self::Read(ReadOne::decode(args)?),
            b"trueup.mget" => Self::ReadMany(ReadMany::decode(args)?),
            b"trueup.token" if args.len() > 1 => return Err(CommandError::Arity("trueup.token")),
            b"trueup.token" => Self::Token,
            b"trueup.invalidate" => Self::Invalidate { tag: one(args, "trueup.invalidate")? },
            b"trueup.lease" => {
                let [class, key] = exactly(args, "trueup.lease")?;
                Self::Lease { class, key }
            }
            b"trueup.fill" => {
                let [class, key, lease, value] = exactly(args, "trueup.fill")?;
                Self::Fill { class, key, lease, value }
            }
            _ => return Ok(None),
        }))
    }

    /// Name of the command, in lower case, as metrics label it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Get { .. } => "get",
            Self::Mget { .. } => "mget",
            Self::Exists { .. } => "exists",
            Self::Ttl { .. } => "ttl",
            Self::Delete { .. } => "del",
            Self::Set(_) => "set",
            Self::Read(_) => "trueup.get",
            Self::ReadMany(_) => "trueup.mget",
            Self::Token => "trueup.token",
            Self::Invalidate { .. } => "trueup.invalidate",
            Self::Lease { .. } => "trueup.lease",
            Self::Fill { .. } => "trueup.fill",
        }
    }

    /// Whether it only reads. Reads of one pipeline may overlap; anything else waits for what stands before it and
    /// holds back what stands behind it, so that a client reads its own writes.
    #[inline]
    #[must_use]
    pub fn is_read(&self) -> bool {
        match self {
            Self::Get { .. } | Self::Mget { .. } | Self::Exists { .. } | Self::Ttl { .. } => true,
            Self::Read(_) | Self::ReadMany(_) => true,
            Self::Delete { .. } | Self::Set(_) | Self::Invalidate { .. } => false,
            // A token must cover the writes that stand before it in the pipeline.
            Self::Token | Self::Lease { .. } | Self::Fill { .. } => false,
        }
    }
}

/// The `N` arguments after the command's name.
fn exactly<'a, const N: usize>(args: Args<'a>, name: &'static str) -> Result<[&'a [u8]; N], CommandError> {
    if args.len() != N + 1 {
        return Err(CommandError::Arity(name));
    }
    Ok(std::array::from_fn(|at| args.get(at + 1).unwrap_or_default()))
}
