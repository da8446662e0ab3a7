//! How an entry is found: a keyed hash to locate it, its print to compare, and its full key where the print does not settle it.
//!
//! The stored key is a pointer to the entry itself, 8 bytes, because the entry already carries print and key, and a hit has to
//! touch the entry anyway.

use std::{
    hash::{BuildHasher, Hash, Hasher},
    sync::{Arc, LazyLock},
};

use foldhash::fast::RandomState;

use super::Weighed;
use crate::key::KeyName;

/// Seeded once per process: keys come from clients, who must not be able to choose colliding ones. One seed for all
/// tiers lets a stored key compute its hash without carrying it.
static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::default);

/// What a lookup compares first: an integer key itself, or else a keyed hash of the key's text.
///
/// There is no `Debug`: a key may hold personal data.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Print(u64);

impl Print {
    /// Set in the print of a text; integers of names end far below.
    const IS_TEXT: u64 = 1 << 63;

    /// The print of a key by its canonical text.
    #[inline]
    #[must_use]
    pub fn of(key: &str) -> Self {
        Self::named(KeyName::of(key))
    }

    #[inline]
    fn named(name: KeyName<'_>) -> Self {
        match name {
            KeyName::Integer(integer) => Self(integer),
            KeyName::Text(text) => {
                let mut hasher = SEED.build_hasher();
                hasher.write(text.as_bytes());
                Self(hasher.finish() | Self::IS_TEXT)
            }
        }
    }

    /// Keyed hash. What is found is compared on every hit, so a collision costs time, never a wrong answer.
    #[inline]
    pub(super) fn hash(self) -> u64 {
        let mut hasher = SEED.build_hasher();
        hasher.write_u64(self.0);
        hasher.finish()
    }
}

impl Hash for Print {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(Self::hash(*self));
    }
}

/// The key of a stored entry.
pub(super) struct EntryKey<E>(pub(super) Arc<E>);

impl<E> Clone for EntryKey<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E: Weighed> Hash for EntryKey<E> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.print().hash());
    }
}

impl<E: Weighed> PartialEq for EntryKey<E> {
    fn eq(&self, other: &Self) -> bool {
        self.0.key() == other.0.key()
    }
}

impl<E: Weighed> Eq for EntryKey<E> {}

/// A key to look for, hashed once.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) hash: u64,
    print: Print,
    name: KeyName<'a>,
}

impl<'a> Wanted<'a> {
    #[inline]
    pub(super) fn new(name: KeyName<'a>) -> Self {
        let print = Print::named(name);
        Self { hash: print.hash(), print, name }
    }

    #[inline]
    pub(super) fn of(key: &'a str) -> Self {
        Self::new(KeyName::of(key))
    }

    /// Whether it is the key of `held`: the print of an integer is the whole of it.
    #[inline]
    pub(super) fn is_of(&self, held: &impl Weighed) -> bool {
        self.print == held.print()
            && match self.name {
                KeyName::Integer(_) => true,
                KeyName::Text(text) => text == held.key(),
            }
    }
}

impl Hash for Wanted<'_> {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl<E: Weighed> quick_cache::Equivalent<EntryKey<E>> for Wanted<'_> {
    #[inline]
    fn equivalent(&self, stored: &EntryKey<E>) -> bool {
        self.is_of(stored.0.as_ref())
    }
}

impl quick_cache::Equivalent<Print> for Wanted<'_> {
    #[inline]
    fn equivalent(&self, stored: &Print) -> bool {
        self.print == *stored
    }
}

/// Hands the hash computed above through to the library's table unchanged.
#[derive(Clone, Copy, Default)]
pub(super) struct Prehashed(u64);

impl BuildHasher for Prehashed {
    type Hasher = Self;

    #[inline]
    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

impl Hasher for Prehashed {
    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }

    #[inline]
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    // Only `write_u64` is ever called by the keys above; folding keeps the hasher correct for any caller.
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Uses, Weighed},
        Print, Wanted,
    };

    struct Held(&'static str, Print, Uses);

    impl Weighed for Held {
        fn weight(&self) -> usize {
            1
        }

        fn key(&self) -> &str {
            self.0
        }

        fn print(&self) -> Print {
            self.1
        }

        fn uses(&self) -> &Uses {
            &self.2
        }
    }

    #[test]
    fn a_text_that_shares_its_print_with_another_is_still_another() {
        let held = |key, print| Held(key, Print::of(print), Uses::default());
        assert!(Wanted::of("a").is_of(&held("a", "a")));
        assert!(!Wanted::of("a").is_of(&held("b", "a")), "the texts differ");
        assert!(Wanted::of("7").is_of(&held("7", "7")));
        assert!(!Wanted::of("7").is_of(&held("8", "8")));
    }
}
