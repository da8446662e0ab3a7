//! What a memory tier is built from.

use super::Policy;

/// Weight assumed of an entry where the builder isn't told, in bytes.
const ENTRY_BYTES_EXPECTED: usize = 512;
/// Entries a segment should be able to hold. Fewer and the cut costs hit ratio; more and a scan of one segment, or a
/// growing table, holds its lock for milliseconds.
const SEGMENT_ENTRIES: usize = 8192;
/// Most segments of a tier.
const SEGMENTS_MAX: usize = 4096;

/// Settings of a [`super::MemoryTier`].
#[derive(Clone, Debug)]
pub struct MemoryConfig {
    policy: Policy,
    capacity_bytes: usize,
    entry_bytes_expected: usize,
    overhead_bytes: Option<usize>,
    segments: Option<usize>,
    entries_max: Option<usize>,
}

impl MemoryConfig {
    /// A tier of `capacity_bytes`, with the default policy.
    #[must_use]
    pub const fn new(capacity_bytes: usize) -> Self {
        Self {
            policy: Policy::S3Fifo,
            capacity_bytes,
            entry_bytes_expected: ENTRY_BYTES_EXPECTED,
            overhead_bytes: None,
            segments: None,
            entries_max: None,
        }
    }

    /// Evicts by `policy`.
    #[must_use]
    pub const fn with_policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// The usual weight of an entry, in bytes; within a factor of ten is good enough. Default 512. It sets how many
    /// evicted keys s3-fifo remembers and into how many segments the tier is cut.
    #[must_use]
    pub const fn with_entry_bytes_expected(mut self, bytes: usize) -> Self {
        self.entry_bytes_expected = if bytes == 0 { 1 } else { bytes };
        self
    }

    /// Added to the weight of every entry, in bytes. Default: [`Policy::overhead_bytes`]. Zero counts entries alone.
    #[must_use]
    pub const fn with_overhead_bytes(mut self, bytes: usize) -> Self {
        self.overhead_bytes = Some(bytes);
        self
    }

    /// Cuts the tier into `count` segments, rounded up to a power of two and at most 4096. Default: one for each 8192
    /// entries expected. An entry must fit its segment.
    #[must_use]
    pub const fn with_segments(mut self, count: usize) -> Self {
        self.segments = Some(count);
        self
    }

    /// Holds no more than `entries`: each counts for that share of the capacity at least.
    #[must_use]
    pub const fn with_entries_max(mut self, entries: usize) -> Self {
        self.entries_max = Some(if entries == 0 { 1 } else { entries });
        self
    }

    /// What the lightest entry counts for, in bytes.
    pub(super) fn weight_min(&self) -> usize {
        self.entries_max.map_or(1, |entries| self.capacity_bytes.div_ceil(entries)).max(1)
    }

    pub(super) const fn policy(&self) -> Policy {
        self.policy
    }

    pub(super) const fn capacity_bytes(&self) -> usize {
        self.capacity_bytes
    }

    pub(super) fn overhead_bytes(&self) -> usize {
        self.overhead_bytes.unwrap_or_else(|| self.policy.overhead_bytes())
    }

    pub(super) const fn entries_expected(&self) -> usize {
        let entries = self.capacity_bytes / self.entry_bytes_expected;
        let entries = match self.entries_max {
            Some(most) if most < entries => most,
            _ => entries,
        };
        if entries == 0 { 1 } else { entries }
    }

    pub(super) fn segment_count(&self) -> usize {
        let wanted = self.segments.unwrap_or_else(|| self.entries_expected() / SEGMENT_ENTRIES);
        match wanted.clamp(1, SEGMENTS_MAX) {
            rounded if rounded.is_power_of_two() => rounded,
            given if self.segments.is_some() => given.next_power_of_two(),
            // Rounded down where the choice is ours, so that no segment falls short.
            computed => computed.next_power_of_two() / 2,
        }
    }
}
