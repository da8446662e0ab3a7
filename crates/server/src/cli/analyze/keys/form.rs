//! The normal form by which spellings are one: the class's own, or one that is learned from the values in the log.

use std::borrow::Cow;

use compact_str::{CompactString, format_compact};
use trueup_core::key::{
    IgnoredName, KeyBodyForm, KeyForm, LetterCase, ParamForm, Parameter, UnknownParameters, ValueRule,
};

use super::parameters::Parameters;
use crate::cli::Failure;

/// Parameters with a rule of their own in a learned form; the engine takes no more.
const DECLARED_MAX: usize = trueup_core::limits::KEY_PARTS_MAX;
/// Under this name a key that is no list of parameters is read as one.
pub(super) const PLAIN: &str = "key";

/// What the user says of the parameters of classes that have no plan.
#[derive(Clone, Debug, Default)]
pub(super) struct Wishes {
    /// Parameters that say nothing about the answer; `*` at the end for all that begin so.
    pub(super) ignore: Vec<String>,
    /// Values that are the same as none.
    pub(super) defaults: Vec<(String, String)>,
}

/// Which spellings are one key.
#[derive(Debug)]
pub(super) struct Form {
    form: KeyForm,
    /// Tried where a value is not of the type that was learned.
    lenient: Option<KeyForm>,
    is_plain: bool,
}

impl Form {
    /// That of the class.
    pub(super) const fn own(form: KeyForm) -> Self {
        Self { form, lenient: None, is_plain: false }
    }

    /// One in which neither order nor letter case, white space and encoding count, nor how a truth value or a number is written,
    /// nor tracking parameters.
    pub(super) fn learned(parameters: &Parameters, is_plain: bool, wishes: &Wishes) -> Result<Self, Failure> {
        let hottest = || parameters.hottest(DECLARED_MAX);
        let rules = hottest().into_iter().map(|(name, values)| (name, values.rule()));
        let texts = hottest().into_iter().map(|(name, _)| (name, ValueRule::search_text()));
        Ok(Self {
            form: generic(rules, is_plain, wishes)?,
            lenient: Some(generic(texts, is_plain, wishes)?),
            is_plain,
        })
    }

    /// The normal form of `key`; none if it is no key of the class.
    pub(super) fn normal(&self, key: &str) -> Option<CompactString> {
        let (scope, body) = self.split(key);
        let parse = |form: &KeyForm| form.parse(&body).ok();
        let normal = parse(&self.form).or_else(|| self.lenient.as_ref().and_then(parse))?;
        let normal = normal.as_str();
        let normal =
            if self.is_plain { normal.split_once('=').map_or(normal, |(_, value)| value) } else { normal };
        Some(if scope.is_empty() { normal.into() } else { format_compact!("{scope}{normal}") })
    }

    /// What stands apart from the form, and what the form is to read. A learned form knows no scope: it is kept as it is.
    pub(super) fn split<'k>(&self, key: &'k str) -> (&'k str, Cow<'k, str>) {
        if self.lenient.is_none() {
            return ("", Cow::Borrowed(key));
        }
        let end = key.strip_prefix('@').and_then(|rest| rest.find(':')).map_or(0, |at| at + 2);
        let (scope, body) = key.split_at(end);
        let body = if self.is_plain {
            Cow::Owned(format!("{PLAIN}={}", body.replace('&', "%26")))
        } else {
            Cow::Borrowed(body)
        };
        (scope, body)
    }

    /// The form of the class's keys.
    pub(super) const fn key_form(&self) -> &KeyForm {
        &self.form
    }

    /// What is declared of the parameters; none where the class is keyed by columns, or a key is no list of parameters.
    pub(super) const fn parameters(&self) -> Option<&ParamForm> {
        match self.form.body() {
            KeyBodyForm::Parameters(form) if !self.is_plain => Some(form),
            _ => None,
        }
    }

    /// Whether it was learned from the log.
    pub(super) const fn is_learned(&self) -> bool {
        self.lenient.is_some()
    }
}

fn generic<'n>(
    rules: impl Iterator<Item = (&'n str, ValueRule)>,
    is_plain: bool,
    wishes: &Wishes,
) -> Result<KeyForm, Failure> {
    let ignored: Vec<IgnoredName> = wishes.ignore.iter().map(|name| ignored(name)).collect();
    let is_ignored = |name: &str| {
        wishes.ignore.iter().any(|pattern| {
            let (name, pattern) = (name.to_ascii_lowercase(), pattern.to_ascii_lowercase());
            pattern.strip_suffix('*').map_or(name == pattern, |prefix| name.starts_with(prefix))
        })
    };
    let default = |name: &str| wishes.defaults.iter().find(|(of, _)| of.eq_ignore_ascii_case(name));
    let mut parameters: Vec<Parameter> = rules
        .filter(|(name, _)| {
            !name.is_empty() && !is_ignored(name) && !trueup_core::key::is_tracking_parameter(name)
        })
        .map(|(name, rule)| match default(name) {
            Some((_, value)) => Parameter::new(name, rule).default_value(value),
            None => Parameter::new(name, rule),
        })
        .collect();
    if is_plain && parameters.is_empty() {
        parameters.push(Parameter::new(PLAIN, ValueRule::search_text()));
    }
    let form = ParamForm {
        parameters,
        unknown: UnknownParameters::Keep,
        ignored,
        names: LetterCase::Fold,
        // In a path it is a plus.
        plus_is_space: !is_plain,
        ..ParamForm::default()
    };
    KeyForm::parameters(form)
        .map_err(|why| Failure::Usage(format!("{why}; see what --ignore and --default-value say of it")))
}

fn ignored(name: &str) -> IgnoredName {
    match name.strip_suffix('*') {
        Some(prefix) => IgnoredName::Prefix(prefix.to_owned()),
        None => IgnoredName::Exact(name.to_owned()),
    }
}

/// Every spelling apart, but for the order and for how characters are escaped.
pub(super) fn exact(plus_is_space: bool) -> ParamForm {
    ParamForm {
        unknown: UnknownParameters::Keep,
        ignore_tracking: false,
        plus_is_space,
        ..ParamForm::default()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn learned(keys: &[&str], wishes: &Wishes) -> Form {
        let is_plain = !keys.iter().any(|key| key.contains('='));
        let mut parameters = Parameters::default();
        keys.iter().for_each(|key| parameters.note(key, is_plain, 1));
        Form::learned(&parameters, is_plain, wishes).unwrap()
    }

    #[test]
    fn what_is_learned_of_each_parameter_decides_which_values_are_one() {
        let form = learned(
            &["q=Red+Shoes&stock=true&page=1", "stock=1&page=02&q=x", "stock=no&page=3&q=1&utm_source=x"],
            &Wishes::default(),
        );
        for spelling in
            ["Q=red%20shoes&stock=1&page=1.0", "page=01&stock=True&q=+RED++shoes&utm_medium=y&GCLID=1"]
        {
            let normal = form.normal(spelling).unwrap();
            assert_eq!(normal, "page=1&q=red%20shoes&stock=true", "{spelling}");
        }
        assert_eq!(
            form.normal("q=01&page=x").unwrap(),
            "page=x&q=01",
            "page is no number here, and q a text"
        );
        assert_eq!(form.normal("q=%"), None, "no key at all");
        assert_eq!(form.normal("@t=A:q=X").unwrap(), "@t=A:q=x", "a scope is kept as it is");
    }

    #[test]
    fn what_is_said_of_a_parameter_counts() {
        let wishes = Wishes {
            ignore: vec!["sid".to_owned(), "x_*".to_owned()],
            defaults: vec![("page".to_owned(), "1".to_owned())],
        };
        let form = learned(&["q=a&page=2&sid=1&x_1=2"], &wishes);
        assert_eq!(form.normal("q=a&page=01&SID=9&x_trace=1").unwrap(), "q=a");
        assert_eq!(form.normal("q=a&page=2").unwrap(), "page=2&q=a");
    }

    #[test]
    fn keys_that_are_no_parameters_are_one_value() {
        let form = learned(&["42", "043"], &Wishes::default());
        assert_eq!(form.normal("042").unwrap(), "42");
        let form = learned(&["Prague", "a%2Cb", "a&b"], &Wishes::default());
        assert_eq!(form.normal("PRAGUE").unwrap(), "prague");
        assert_eq!(form.normal("a%2cb").unwrap(), "a%2Cb");
        assert_eq!(form.normal("a+b").unwrap(), "a%2Bb");
        assert!(form.is_learned() && form.parameters().is_none());
    }
}
