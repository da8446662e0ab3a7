//! Every limit of the engine, named, with its unit.

/// Longest canonical key text, in bytes.
pub const KEY_BYTES_MAX: usize = 1024;
/// Largest value that is cached, in bytes, unless the class sets another bound.
pub const VALUE_BYTES_MAX_DEFAULT: usize = 1 << 20;
/// Most tags one entry may depend on.
pub const TAGS_PER_ENTRY_MAX: usize = 256;
/// Most entries that may wait to be settled; beyond, loads are answered but not kept.
pub const UNSETTLED_ENTRIES_MAX: usize = 100_000;
/// Default number of buckets for the last change of each tag, 8 bytes each.
pub const BUCKETS_DEFAULT: usize = 4 << 20;
/// Default bound of the changes held for loads in flight.
pub const RECENT_CHANGES_MAX_DEFAULT: usize = 1 << 20;
/// Most keys of one ring: the sealing one and those still accepted while they are rotated out.
pub const KEYS_PER_RING_MAX: usize = 8;
/// Longest key text accepted from outside, in bytes, before ignored parameters are dropped and spellings are reduced.
pub const KEY_INPUT_BYTES_MAX: usize = 8 << 10;
/// Most parameters one key text may hold, ignored ones included.
pub const KEY_PARAMETERS_MAX: usize = 256;
/// Most scope dimensions or column parts one class may declare.
pub const KEY_PARTS_MAX: usize = 32;
/// Most readers that wait for one load of a key; beyond, a reader is shed.
pub const FLIGHT_WAITERS_MAX: usize = 10_000;
/// Most readers of one class that wait for loads that others have begun; beyond, a reader is shed.
pub const CLASS_WAITERS_MAX: usize = 20_000;
/// Most keys of one class that are kept warm by background refresh, unless the class records more for a warm start.
pub const HOT_KEYS_MAX: usize = 1_024;
/// Most refreshes of one class under way at once on a node, and never more than a quarter of its loads.
pub const REFRESHES_MAX: u32 = 16;
/// Most loads of one class that wait for another node's at once; beyond, a load waits for nobody.
pub const FLEET_WAITS_MAX: usize = 1_024;
