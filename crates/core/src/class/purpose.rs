//! What the values of a class are for, with the lives that go with each kind of data.

use std::{fmt, time::Duration};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// What values of the class are for. Decides whether the class may be cached at all, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Shown to people; nobody acts on it without asking the source again.
    Display,
    /// A login session: 30 minutes at most, however it is kept true.
    Session,
    /// Fees, tariffs, rates of exchange tables: 1 hour unless stated.
    FeeTable,
    /// Know-your-customer status for display: 6 hours unless stated.
    KycStatus,
    /// A balance that is shown and never spent from: 10 seconds at most.
    DisplayBalance,
    /// Legal and contractual texts whose version is part of the key, so that an entry can never become wrong.
    VersionedText,
    /// Anything on which an authorisation or a movement of money rests.
    Decision,
    /// One-time passwords and codes.
    Otp,
    /// A balance used for a decision.
    DecisionBalance,
    /// The status of a payment that has not come to its end.
    UnfinishedPayment,
    /// Legal and contractual texts that are not versioned in their key.
    LegalText,
}

/// What a purpose says about the life of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifeBound {
    /// The class says.
    Free,
    /// The life unless the class states another.
    Default(Duration),
    /// No answer of the class may be older, and no setting may allow it.
    AtMost(Duration),
}

impl Purpose {
    /// Every purpose, in the order of the guide.
    pub const ALL: [Self; 11] = [
        Self::Display,
        Self::Session,
        Self::FeeTable,
        Self::KycStatus,
        Self::DisplayBalance,
        Self::VersionedText,
        Self::Decision,
        Self::Otp,
        Self::DecisionBalance,
        Self::UnfinishedPayment,
        Self::LegalText,
    ];

    /// The purpose as `trueup.toml` spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Display => "display",
            Self::Session => "session",
            Self::FeeTable => "fee-table",
            Self::KycStatus => "kyc-status",
            Self::DisplayBalance => "display-balance",
            Self::VersionedText => "versioned-text",
            Self::Decision => "decision",
            Self::Otp => "otp",
            Self::DecisionBalance => "decision-balance",
            Self::UnfinishedPayment => "unfinished-payment",
            Self::LegalText => "legal-text",
        }
    }

    /// Why values of this purpose are never cached; `None` where they may be.
    #[must_use]
    pub const fn never_reason(self) -> Option<&'static str> {
        match self {
            Self::Display
            | Self::Session
            | Self::FeeTable
            | Self::KycStatus
            | Self::DisplayBalance
            | Self::VersionedText => None,
            Self::Decision => Some("a decision taken on a copy can be taken twice"),
            Self::Otp => Some("a one-time code that lives in two places can be used twice"),
            Self::DecisionBalance => Some("two readers of one cached balance can both spend it"),
            Self::UnfinishedPayment => {
                Some("a status that may move at any moment is only true at the source")
            }
            Self::LegalText => Some(
                "a text that binds must be the one in force; put its version into the key (versioned-text)",
            ),
        }
    }

    /// What the purpose says about the age of an answer.
    #[must_use]
    pub const fn life_bound(self) -> LifeBound {
        match self {
            Self::Session => LifeBound::AtMost(Duration::from_secs(30 * MINUTE.as_secs())),
            Self::DisplayBalance => LifeBound::AtMost(Duration::from_secs(10)),
            Self::FeeTable => LifeBound::Default(HOUR),
            Self::KycStatus => LifeBound::Default(Duration::from_secs(6 * HOUR.as_secs())),
            _ => LifeBound::Free,
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
