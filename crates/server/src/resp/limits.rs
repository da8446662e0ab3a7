//! What one connection may ask of the parser.

/// Arguments of one command after authentication.
pub const ARGUMENTS_MAX: u32 = 131_072;
/// Arguments of one command before authentication.
pub const ARGUMENTS_MAX_UNAUTHENTICATED: u32 = 10;
/// Bytes of one argument after authentication.
pub const BULK_BYTES_MAX: u32 = 8 << 20;
/// Bytes of one argument before authentication.
pub const BULK_BYTES_MAX_UNAUTHENTICATED: u32 = 16 << 10;
/// Bytes of one whole command after authentication.
pub const FRAME_BYTES_MAX: u32 = 16 << 20;
/// Bytes of one whole command before authentication.
pub const FRAME_BYTES_MAX_UNAUTHENTICATED: u32 = 64 << 10;
/// Bytes of one inline command, line end included.
pub const INLINE_BYTES_MAX: u32 = 64 << 10;

/// Limits of the request parser. Sizes are checked when they are announced, before any byte of the argument is
/// buffered, so a hostile length costs its sender a closed connection and the server nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Arguments of one command, its name included.
    pub arguments_max: u32,
    /// Bytes of one argument.
    pub bulk_bytes_max: u32,
    /// Bytes of one command with all its headers.
    pub frame_bytes_max: u32,
    /// Bytes of one inline command, line end included.
    pub inline_bytes_max: u32,
}

impl Limits {
    /// Limits of a client that may use the cache.
    pub const AUTHENTICATED: Self = Self {
        arguments_max: ARGUMENTS_MAX,
        bulk_bytes_max: BULK_BYTES_MAX,
        frame_bytes_max: FRAME_BYTES_MAX,
        inline_bytes_max: INLINE_BYTES_MAX,
    };

    /// Limits of a client that still owes its password: room for `HELLO 3 AUTH user pass SETNAME name`, no more.
    pub const UNAUTHENTICATED: Self = Self {
        arguments_max: ARGUMENTS_MAX_UNAUTHENTICATED,
        bulk_bytes_max: BULK_BYTES_MAX_UNAUTHENTICATED,
        frame_bytes_max: FRAME_BYTES_MAX_UNAUTHENTICATED,
        inline_bytes_max: INLINE_BYTES_MAX,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::AUTHENTICATED
    }
}
