//! How an entry is found: a keyed hash to locate it, its full key to be sure.
//!
//! The stored key is a pointer to the entry itself, 8 bytes, because the entry already carries its key text and a hit has to
//! touch the entry anyway.

use std::{
    hash::{BuildHasher, Hash, Hasher},
    sync::{Arc, LazyLock},
};

use foldhash::fast::RandomState;

use super::Weighed;

/// Seeded once per process: keys come from clients, who must not be able to choose colliding ones. One seed for all
/// tiers lets a stored key compute its hash without carrying it.
static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::default);

/// Keyed hash of a key's text. The full key is compared on every hit, so a collision costs time, never a wrong answer.
#[inline]
pub(super) fn hash(key: &str) -> u64 {
    let mut hasher = SEED.build_hasher();
    match key.len() {
        0..=8 => hasher.write_u64(packed(key.as_bytes())),
        _ => hasher.write(key.as_bytes()),
    }
    hasher.finish()
}

/// Up to eight bytes in one word, read in pairs from the end: as numbers are written. A key is often a number written just
/// before, and a wider load would have to wait until the narrow stores that wrote it have reached the cache.
#[inline]
fn packed(mut bytes: &[u8]) -> u64 {
    let mut word = bytes.len() as u64;
    while let Some((front, pair)) = bytes.split_last_chunk() {
        word = (word << 16) | u64::from(u16::from_le_bytes(*pair));
        bytes = front;
    }
    bytes.first().map_or(word, |first| (word << 8) | u64::from(*first))
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
        state.write_u64(hash(self.0.key()));
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
    pub(super) key: &'a str,
}

impl<'a> Wanted<'a> {
    #[inline]
    pub(super) fn new(key: &'a str) -> Self {
        Self { hash: hash(key), key }
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
        same(self.key, stored.0.key())
    }
}

/// `a == b`, by word loads that overlap in the middle. A key is often made just before it is looked up, and the general
/// comparison's wide loads would have to wait until the narrow stores that made it have reached the cache.
#[inline]
pub(super) fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    match a.len() {
        4..8 => a.first_chunk::<4>() == b.first_chunk() && a.last_chunk::<4>() == b.last_chunk(),
        8..=16 => a.first_chunk::<8>() == b.first_chunk() && a.last_chunk::<8>() == b.last_chunk(),
        _ => a == b,
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
