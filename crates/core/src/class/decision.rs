//! The ten decisions that every class answers.

use std::fmt;

/// One of the ten decisions about a class. Each has a field, and a safe default or a demand to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Decision {
    /// Who loads the value and who writes it.
    Pattern,
    /// What ends an entry when its source changes.
    Invalidation,
    /// What happens when many readers miss one key.
    Stampede,
    /// What is kept out of every tier.
    NeverCache,
    /// What goes first when memory is full, and how long an entry may stay.
    Eviction,
    /// What an empty cache does to the source.
    ColdStart,
    /// How old an answer may be.
    ConsistencyBound,
    /// What an answer depends on besides its key.
    KeyScope,
    /// How one knows that the class works.
    Measurement,
    /// How much memory the class may take.
    Size,
}

impl Decision {
    /// All ten, in the order in which `trueup.toml` is written.
    pub const ALL: [Self; 10] = [
        Self::Pattern,
        Self::Invalidation,
        Self::Stampede,
        Self::NeverCache,
        Self::Eviction,
        Self::ColdStart,
        Self::ConsistencyBound,
        Self::KeyScope,
        Self::Measurement,
        Self::Size,
    ];

    /// The decision as a question to the owner of the class.
    #[must_use]
    pub const fn question(self) -> &'static str {
        match self {
            Self::Pattern => "who loads the value, and who writes it?",
            Self::Invalidation => {
                "who ends an entry when its source changes, and what if that fails silently?"
            }
            Self::Stampede => "what happens when a thousand readers miss one key at once?",
            Self::NeverCache => "what must never be held outside the source?",
            Self::Eviction => "how long may an entry stay, and what goes first when memory is full?",
            Self::ColdStart => {
                "what does an empty cache do to the source, and a source that fails to the reader?"
            }
            Self::ConsistencyBound => "how old may an answer be before it counts as wrong?",
            Self::KeyScope => "what does the answer depend on besides its key: tenant, user, role, locale?",
            Self::Measurement => "how would you notice that the class does not work?",
            Self::Size => "how large may one value be, and all of them together?",
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pattern => "pattern",
            Self::Invalidation => "invalidation",
            Self::Stampede => "stampede",
            Self::NeverCache => "never-cache",
            Self::Eviction => "eviction",
            Self::ColdStart => "cold start",
            Self::ConsistencyBound => "consistency bound",
            Self::KeyScope => "key scope",
            Self::Measurement => "measurement",
            Self::Size => "size",
        })
    }
}
