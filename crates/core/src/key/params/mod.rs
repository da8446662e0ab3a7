//! Free parameters, as in a search: which spellings of a query are one query.

mod rule;
mod tracking;

use std::borrow::Cow;

use compact_str::CompactString;
use unicode_normalization::{UnicodeNormalization, is_nfc, is_nfkc};

pub use self::{
    rule::{LetterCase, ValueRule, WhiteSpace},
    tracking::is_tracking_parameter,
};
use super::{FormError, KeyError, escape};
use crate::limits::{KEY_PARAMETERS_MAX, KEY_PARTS_MAX};

/// The parameters of one class, and what does not matter about them.
///
/// The order of parameters never matters. A loader is given the normal form and nothing else, so what the form
/// drops or joins cannot change an answer: it can only leave a wish of the client unheard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamForm {
    /// Declared parameters.
    pub parameters: Vec<Parameter>,
    /// What becomes of parameters that are neither declared nor ignored. Default: refused.
    pub unknown: UnknownParameters,
    /// Names that are dropped, without regard to ASCII letter case. Default: none.
    pub ignored: Vec<IgnoredName>,
    /// Whether parameters that only track visitors are dropped as well, unless declared: see
    /// [`is_tracking_parameter`]. Default: yes.
    pub ignore_tracking: bool,
    /// Letter case of names. Default: exact.
    pub names: LetterCase,
    /// Unicode form of names and values. Default: NFC.
    pub unicode: UnicodeForm,
    /// Whether `+` in a query is a space, as HTML forms write it. Default: yes.
    pub plus_is_space: bool,
}

impl Default for ParamForm {
    fn default() -> Self {
        Self {
            parameters: Vec::new(),
            unknown: UnknownParameters::Refuse,
            ignored: Vec::new(),
            ignore_tracking: true,
            names: LetterCase::Exact,
            unicode: UnicodeForm::Nfc,
            plus_is_space: true,
        }
    }
}

/// One declared parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Which spellings of its value are one value.
    pub rule: ValueRule,
    /// What several values mean. Default: a list, in order.
    pub repeated: Repeated,
    /// The value that is the same as none, and is left out.
    pub default: Option<String>,
    /// Whether it must be present. Default: no.
    pub required: bool,
}

impl Parameter {
    /// An optional parameter without default, whose repeated values are a list.
    pub fn new(name: impl Into<String>, rule: ValueRule) -> Self {
        Self { name: name.into(), rule, repeated: Repeated::List, default: None, required: false }
    }

    /// Leaves `value` out of the key: absent means the same.
    #[must_use]
    pub fn default_value(mut self, value: impl Into<String>) -> Self {
        self.default = Some(value.into());
        self
    }

    /// Refuses a key without this parameter.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Sets what several values mean.
    #[must_use]
    pub fn repeated(mut self, repeated: Repeated) -> Self {
        self.repeated = repeated;
        self
    }
}

/// What several values of one parameter mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repeated {
    /// A list: the order counts.
    #[default]
    List,
    /// A set: neither order nor repetition counts.
    Set,
    /// A mistake: refused.
    Refuse,
}

/// What becomes of a parameter that is neither declared nor ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownParameters {
    /// The key is refused: nobody can fill the cache with parameters that mean nothing.
    #[default]
    Refuse,
    /// Kept exactly, as a list.
    Keep,
}

/// A name that is dropped, without regard to ASCII letter case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IgnoredName {
    /// This name.
    Exact(String),
    /// Every name that begins so.
    Prefix(String),
}

impl IgnoredName {
    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(ignored) => name.eq_ignore_ascii_case(ignored),
            Self::Prefix(prefix) => begins_without_case(name, prefix),
        }
    }
}

pub(super) fn begins_without_case(name: &str, prefix: &str) -> bool {
    name.as_bytes().get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
}

/// Which Unicode spellings of a text are one text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnicodeForm {
    /// Composed and decomposed letters are one (canonical equivalence).
    #[default]
    Nfc,
    /// Also full-width letters, ligatures and the like are the plain ones (compatibility).
    Nfkc,
}

impl UnicodeForm {
    pub(super) fn apply(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::Nfc if is_nfc(text) => Cow::Borrowed(text),
            Self::Nfkc if is_nfkc(text) => Cow::Borrowed(text),
            Self::Nfc => Cow::Owned(text.nfc().collect()),
            Self::Nfkc => Cow::Owned(text.nfkc().collect()),
        }
    }
}

/// Decoded names and values, in the order given.
type Pairs<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

impl ParamForm {
    /// Brings declared names and values to their own normal form and looks for contradictions.
    pub(super) fn validate(mut self) -> Result<Self, FormError> {
        if self.parameters.len() > KEY_PARTS_MAX {
            return Err(FormError::TooMany { max: KEY_PARTS_MAX });
        }
        let mut parameters = std::mem::take(&mut self.parameters);
        for parameter in &mut parameters {
            if parameter.name.is_empty() {
                return Err(FormError::BadName { name: CompactString::default() });
            }
            parameter.name = self.normal_name(&parameter.name);
            let name = parameter.name.as_str().into();
            if parameter.required && parameter.default.is_some() {
                return Err(FormError::RequiredWithDefault { parameter: name });
            }
            if self.ignored.iter().any(|ignored| ignored.matches(&parameter.name)) {
                return Err(FormError::DeclaredAndIgnored { parameter: name });
            }
            parameter.rule.normalise(self.unicode);
            if let Some(default) = &parameter.default {
                let value = parameter.rule.apply(&parameter.name, default, self.unicode);
                parameter.default =
                    Some(value.map_err(|source| FormError::BadDeclaredValue { parameter: name, source })?);
            }
        }
        parameters.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(pair) = parameters.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(FormError::DuplicateName { name: pair[0].name.as_str().into() });
        }
        self.parameters = parameters;
        Ok(self)
    }

    fn normal_name(&self, name: &str) -> String {
        self.names.apply(name, self.unicode)
    }

    fn declared(&self, name: &str) -> Option<&Parameter> {
        let at = self.parameters.binary_search_by(|parameter| parameter.name.as_str().cmp(name)).ok()?;
        self.parameters.get(at)
    }

    fn is_ignored(&self, name: &str) -> bool {
        self.ignored.iter().any(|ignored| ignored.matches(name))
            || (self.ignore_tracking && is_tracking_parameter(name))
    }

    /// Splits a query into decoded pairs; a name without `=` has an empty value, empty pieces are nothing.
    pub(super) fn decode_query<'a>(&self, query: &'a str) -> Result<Pairs<'a>, KeyError> {
        let decode = |text: &'a str| match (self.plus_is_space && text.contains('+'))
            .then(|| text.replace('+', " "))
        {
            Some(text) => Ok(Cow::Owned(escape::decode(&text)?.into_owned())),
            None => escape::decode(text),
        };
        let pieces = query.split('&').filter(|piece| !piece.is_empty());
        let mut pairs = Vec::new();
        for piece in pieces {
            if pairs.len() == KEY_PARAMETERS_MAX {
                return Err(KeyError::TooManyParameters { max: KEY_PARAMETERS_MAX });
            }
            let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
            pairs.push((decode(name)?, decode(value)?));
        }
        Ok(pairs)
    }

    /// The canonical pairs of decoded ones: sorted by name, each value by its rule, defaults left out.
    pub(super) fn canonical<'a>(
        &self,
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Vec<(String, String)>, KeyError> {
        let mut kept = Vec::new();
        for (at, (given, value)) in pairs.into_iter().enumerate() {
            if at == KEY_PARAMETERS_MAX {
                return Err(KeyError::TooManyParameters { max: KEY_PARAMETERS_MAX });
            }
            let name = self.normal_name(given);
            let value = match self.declared(&name) {
                Some(parameter) => parameter.rule.apply(&name, value, self.unicode)?,
                None if self.is_ignored(&name) => continue,
                None if self.unknown == UnknownParameters::Keep => self.unicode.apply(value).into_owned(),
                None => return Err(self.unknown_parameter(at + 1)),
            };
            kept.push((name, value));
        }
        kept.sort_by(|a, b| a.0.cmp(&b.0));
        self.reduce(kept)
    }

    /// Applies what is declared of all values of one parameter together. `pairs` are sorted by name.
    fn reduce(&self, pairs: Vec<(String, String)>) -> Result<Vec<(String, String)>, KeyError> {
        let mut reduced = Vec::with_capacity(pairs.len());
        let present = |parameter: &Parameter| pairs.iter().any(|(name, _)| *name == parameter.name);
        if let Some(missing) =
            self.parameters.iter().find(|parameter| parameter.required && !present(parameter))
        {
            return Err(KeyError::MissingParameter { parameter: missing.name.as_str().into() });
        }
        for group in pairs.chunk_by(|a, b| a.0 == b.0) {
            let mut values: Vec<&(String, String)> = group.iter().collect();
            if let Some(parameter) = self.declared(&group[0].0) {
                match parameter.repeated {
                    Repeated::List => {}
                    Repeated::Set => {
                        values.sort();
                        values.dedup();
                    }
                    Repeated::Refuse if values.len() > 1 => {
                        return Err(KeyError::RepeatedParameter {
                            parameter: parameter.name.as_str().into(),
                        });
                    }
                    Repeated::Refuse => {}
                }
                if values.len() == 1 && parameter.default.as_ref() == Some(&values[0].1) {
                    continue;
                }
            }
            reduced.extend(values.into_iter().cloned());
        }
        Ok(reduced)
    }

    /// Adds the defaults that [`Self::canonical`] leaves out: what a loader is given.
    pub(super) fn with_defaults(&self, mut pairs: Vec<(String, String)>) -> Vec<(String, String)> {
        for parameter in &self.parameters {
            if let Some(default) = &parameter.default
                && !pairs.iter().any(|(name, _)| *name == parameter.name)
            {
                pairs.push((parameter.name.clone(), default.clone()));
            }
        }
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        pairs
    }

    fn unknown_parameter(&self, position: usize) -> KeyError {
        let declared =
            super::form::names_or_none(self.parameters.iter().map(|parameter| parameter.name.as_str()));
        KeyError::UnknownParameter { position, declared }
    }

    /// Writes every choice, for the class digest.
    pub(super) fn describe(&self, line: &mut impl FnMut(&[&str])) {
        let unknown = if self.unknown == UnknownParameters::Keep { "keep" } else { "refuse" };
        let unicode = if self.unicode == UnicodeForm::Nfc { "nfc" } else { "nfkc" };
        let yes_no = |choice| if choice { "yes" } else { "no" };
        line(&["parameters", unknown, self.names.name(), unicode, yes_no(self.plus_is_space)]);
        line(&["ignore-tracking", yes_no(self.ignore_tracking), tracking::LIST_VERSION]);
        for ignored in &self.ignored {
            match ignored {
                IgnoredName::Exact(name) => line(&["ignore", name]),
                IgnoredName::Prefix(prefix) => line(&["ignore-prefix", prefix]),
            }
        }
        for parameter in &self.parameters {
            let repeated = match parameter.repeated {
                Repeated::List => "list",
                Repeated::Set => "set",
                Repeated::Refuse => "refuse",
            };
            line(&["parameter", &parameter.name, repeated, yes_no(parameter.required)]);
            if let Some(default) = &parameter.default {
                line(&["default", default]);
            }
            parameter.rule.describe(line);
        }
    }
}
