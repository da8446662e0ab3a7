//! How keys of a class are named, as declared. The normal form itself is made by [`crate::key`].

use compact_str::CompactString;

/// What a key of the class consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPlan {
    /// Dimensions that every reader must state besides the key (`tenant`, `role`, `locale`), in order.
    pub scope: Vec<CompactString>,
    /// Parts that are columns (or named parameters of the query typed by a column), by name and in order.
    pub columns: Vec<CompactString>,
    /// Free parameters with their rules. Sorted by name in the normal form, so their order has no meaning.
    pub parameters: Vec<Parameter>,
    /// Parameters that are left out of the key (`utm_source`; a trailing `*` stands for any rest).
    pub ignore: Vec<CompactString>,
    /// What a parameter without a rule does.
    pub unknown: Unknown,
    /// The Unicode normal form of text parts.
    pub unicode: Unicode,
}

/// One free parameter and how its values are made equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: CompactString,
    /// Its type.
    pub kind: Kind,
    /// Letter case; texts and enums only.
    pub case: Case,
    /// Whether white space at both ends is removed and inner runs become one space.
    pub trim: bool,
    /// The value that leaving the parameter out stands for; giving it is the same as leaving it out.
    pub default: Option<CompactString>,
    /// What a repeated parameter means.
    pub repeated: Repeated,
}

impl Parameter {
    /// A parameter of that type: case kept, ends trimmed, no default, repetitions in order.
    #[must_use]
    pub fn new(name: impl Into<CompactString>, kind: Kind) -> Self {
        let (case, trim, default, repeated) = (Case::Keep, true, None, Repeated::Keep);
        Self { name: name.into(), kind, case, trim, default, repeated }
    }
}

/// The type of a free parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// `true`, `True`, `1`, `yes` are one value; `false`, `0`, `no` the other.
    Boolean,
    /// `1`, `1.0` and `01` are one value.
    Number,
    /// One of the listed texts; anything else is refused.
    Enum(Vec<CompactString>),
}

/// Letter case of a text parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Case {
    /// `Shoes` and `shoes` are two values.
    #[default]
    Keep,
    /// They are one.
    Lower,
}

/// What a parameter given several times means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repeated {
    /// A list: order and number of values matter.
    #[default]
    Keep,
    /// A set: sorted, each value once.
    Set,
}

/// What a parameter without a rule does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unknown {
    /// It is an error: a key never holds what nobody declared, and nobody can multiply keys at will.
    #[default]
    Refuse,
    /// It is part of the key, byte for byte.
    Keep,
}

/// The Unicode normal form of text parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unicode {
    /// Canonical composition: `e` + combining acute is `é`.
    #[default]
    Nfc,
    /// Compatibility composition: full-width letters and ligatures become plain ones, too.
    Nfkc,
}
