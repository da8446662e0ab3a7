//! What a class has asked of its database.

use trueup::{CacheValue, Class};

/// Loads so far, whatever came of them.
pub(super) fn loads<K, V: CacheValue>(class: &Class<K, V>) -> u64 {
    class.stats().counts().loads.iter().map(|(_, times)| times.count()).sum()
}
