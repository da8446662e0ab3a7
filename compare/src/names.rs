//! Who is compared.

use clap::ValueEnum;

/// A rival, or Trueup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Name {
    Trueup,
    ByHand,
    Cachet,
    Hitbox,
    MultiTierCache,
    Foyer,
    Bentocache,
    Cashews,
}

impl Name {
    /// As it stands in the table.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Trueup => "Trueup",
            Self::ByHand => "moka + redis by hand",
            Self::Cachet => "cachet",
            Self::Hitbox => "hitbox",
            Self::MultiTierCache => "multi-tier-cache",
            Self::Foyer => "foyer hybrid",
            Self::Bentocache => "bentocache",
            Self::Cashews => "cashews",
        }
    }

    /// As it is asked for.
    pub(crate) fn argument(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Whether its second tier is Redis; else it is this node's disk.
    pub(crate) const fn has_redis(self) -> bool {
        !matches!(self, Self::Foyer)
    }

    /// Whether a node hears of the writes of others: by Redis' messages, or by the database's change log.
    pub(crate) const fn has_messages(self) -> bool {
        !matches!(self, Self::Cachet | Self::Hitbox | Self::Foyer)
    }
}
