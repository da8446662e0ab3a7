//! Every limit of the engine, named, with its unit.

/// Longest canonical key text, in bytes.
pub const KEY_BYTES_MAX: usize = 1024;
/// Largest value that is cached, in bytes, unless the class sets another bound.
pub const VALUE_BYTES_MAX_DEFAULT: usize = 1 << 20;
/// Most tags one entry may depend on.
pub const TAGS_PER_ENTRY_MAX: usize = 256;
