//! What values the parameters of a class have, and what that suggests for its plan.

use std::{borrow::Cow, collections::BTreeMap};

use percent_encoding::percent_decode_str;
use trueup_core::{
    key::{ColumnForm, KeyForm, ParamForm, SqlValue, UnknownParameters, ValueRule},
    policy::Distinct,
};

use super::form::{PLAIN, exact};

/// Names that are told apart: a log of something else must not fill the memory.
const NAMES_MAX: usize = 256;
/// Different values that are counted exactly; an error of 3 % beyond.
const VALUES_KEPT: usize = 1_024;
/// Requests below which values say nothing.
const REQUESTS_MIN: u64 = 20;
/// Share of requests with another value, from which on a parameter with random-looking values is one.
const RANDOM_SHARE: f64 = 0.5;
/// Most values of a list.
const LIST_VALUES_MAX: u64 = 10;
/// Fewest requests for each value of a list.
const LIST_REQUESTS_EACH: u64 = 20;
/// Shortest value that can look random, in characters.
const RANDOM_CHARS_MIN: usize = 8;
/// Names that by custom hold a session, a time or a random number.
const RANDOM_NAMES: [&str; 17] = [
    "_",
    "cb",
    "cachebuster",
    "nocache",
    "rand",
    "random",
    "rnd",
    "nonce",
    "ts",
    "timestamp",
    "sid",
    "session",
    "sessionid",
    "jsessionid",
    "phpsessid",
    "request_id",
    "requestid",
];

/// The parameters of one class.
#[derive(Debug)]
pub(super) struct Parameters {
    by_name: BTreeMap<String, Values>,
    exact: Option<KeyForm>,
    exact_plain: Option<KeyForm>,
}

/// The values of one parameter.
#[derive(Debug)]
pub(super) struct Values {
    /// Requests with the parameter.
    pub(super) requests: u64,
    values: Distinct,
    in_lower_case: Distinct,
    /// Requests whose value looks random.
    random: u64,
    all_numbers: bool,
    all_truths: bool,
    has_word: bool,
}

impl Default for Parameters {
    fn default() -> Self {
        let form = |plus_is_space| KeyForm::parameters(exact(plus_is_space)).ok();
        Self { by_name: BTreeMap::new(), exact: form(true), exact_plain: form(false) }
    }
}

impl Parameters {
    /// Counts the values of a key's body.
    pub(super) fn note(&mut self, body: &str, is_plain: bool, times: u64) {
        let plain;
        let (form, body) = if is_plain {
            plain = format!("{PLAIN}={}", body.replace('&', "%26"));
            (&self.exact_plain, plain.as_str())
        } else {
            (&self.exact, body)
        };
        let Some(key) = form.as_ref().and_then(|form| form.parse(body).ok()) else { return };
        for pair in key.as_str().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name).to_lowercase(), decoded(value));
            if let Some(values) = self.by_name.get_mut(&name) {
                values.note(&value, times);
            } else if self.by_name.len() < NAMES_MAX {
                self.by_name.entry(name).or_default().note(&value, times);
            }
        }
    }

    /// The parameters that are given most often.
    pub(super) fn hottest(&self, most: usize) -> Vec<(&str, &Values)> {
        let mut all: Vec<_> = self.by_name.iter().map(|(name, values)| (name.as_str(), values)).collect();
        all.sort_by_key(|(_, values)| std::cmp::Reverse(values.requests));
        all.truncate(most);
        all
    }
}

fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

impl Default for Values {
    fn default() -> Self {
        Self {
            requests: 0,
            values: Distinct::new(VALUES_KEPT),
            in_lower_case: Distinct::new(VALUES_KEPT),
            random: 0,
            all_numbers: true,
            all_truths: true,
            has_word: false,
        }
    }
}

impl Values {
    fn note(&mut self, value: &str, times: u64) {
        self.requests += times;
        self.random += if looks_random(value) { times } else { 0 };
        if self.values.note(value) {
            self.in_lower_case.note(&value.to_lowercase());
            let is = |form: ColumnForm| form.canonical(SqlValue::Text(value), &mut String::new()).is_ok();
            self.all_numbers &= is(ColumnForm::Numeric);
            self.all_truths &= is(ColumnForm::Boolean);
            self.has_word |= value.contains(char::is_alphabetic);
        }
    }

    /// Different values.
    pub(super) fn count(&self) -> u64 {
        self.values.count()
    }

    /// The rule that joins the most and that all values follow. What is only 0 and 1 may as well be a number.
    pub(super) fn rule(&self) -> ValueRule {
        if self.all_truths && self.has_word {
            ValueRule::Boolean
        } else if self.all_numbers {
            ValueRule::Number
        } else {
            ValueRule::search_text()
        }
    }

    fn is_random(&self, name: &str) -> bool {
        let another = self.count() as f64 / self.requests.max(1) as f64;
        let looks = self.random as f64 / self.requests.max(1) as f64;
        self.requests >= REQUESTS_MIN
            && another >= RANDOM_SHARE
            && (looks >= 0.9 || RANDOM_NAMES.contains(&name))
    }

    /// What the class's key does with the parameter, and what to write into the plan.
    pub(super) fn advice(
        &self,
        name: &str,
        form: Option<&ParamForm>,
        is_learned: bool,
    ) -> (Standing, String) {
        let standing = form.map_or(Standing::Kept, |form| standing(name, form));
        let advice = match standing {
            Standing::Ignored => String::new(),
            Standing::Declared if !is_learned => String::new(),
            _ if self.is_random(name) => format!(
                "ignore = [{name:?}]: nearly every request brings another value; if the answer depends on it, it belongs into `scope`"
            ),
            Standing::Refused => format!("declare it under `parameters`, or write ignore = [{name:?}]"),
            _ if self.count() == 1 && self.requests >= REQUESTS_MIN => {
                format!("{name} = {{ default = ... }} or ignore = [{name:?}]: it has one value only")
            }
            _ => self.declaration(name),
        };
        (standing, advice)
    }

    fn declaration(&self, name: &str) -> String {
        let few = self.count() <= LIST_VALUES_MAX && self.requests >= self.count() * LIST_REQUESTS_EACH;
        match self.rule() {
            ValueRule::Boolean => format!("{name} = {{ type = \"boolean\" }}"),
            ValueRule::Number => format!("{name} = {{ type = \"number\" }}"),
            _ if few => {
                format!("{name} = {{ type = \"enum\", values = [...] }}: it has {} values", self.count())
            }
            _ if self.in_lower_case.count() < self.count() => format!("{name} = {{ case = \"lower\" }}"),
            _ => String::new(),
        }
    }
}

/// What a class's key does with a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Standing {
    /// It has a rule.
    Declared,
    /// It is left out.
    Ignored,
    /// It has no rule and is kept exactly.
    Kept,
    /// A key with it is none of the class.
    Refused,
}

impl Standing {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Declared => "declared",
            Self::Ignored => "ignored",
            Self::Kept => "kept",
            Self::Refused => "refused",
        }
    }
}

/// The form itself is asked: nobody else knows which names it ignores.
fn standing(name: &str, form: &ParamForm) -> Standing {
    if form.parameters.iter().any(|parameter| parameter.name.to_lowercase() == name) {
        return Standing::Declared;
    }
    let alone = ParamForm { parameters: Vec::new(), unknown: UnknownParameters::Refuse, ..form.clone() };
    let piece = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string();
    let is_ignored = KeyForm::parameters(alone).is_ok_and(|alone| alone.parse(&piece).is_ok());
    match form.unknown {
        _ if is_ignored => Standing::Ignored,
        UnknownParameters::Keep => Standing::Kept,
        UnknownParameters::Refuse => Standing::Refused,
    }
}

/// Whether a value looks like a token, an identifier of a session or a time: long, one word, and with digits.
fn looks_random(value: &str) -> bool {
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    let plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~=+/".contains(&byte));
    value.len() >= RANDOM_CHARS_MIN && plain && digits * 8 >= value.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bodies: impl IntoIterator<Item = String>) -> Parameters {
        let mut parameters = Parameters::default();
        bodies.into_iter().for_each(|body| parameters.note(&body, false, 1));
        parameters
    }

    fn advice(parameters: &Parameters, name: &str, form: &ParamForm) -> (Standing, String) {
        parameters.by_name[name].advice(name, Some(form), true)
    }

    #[test]
    fn a_token_is_to_be_ignored_and_other_values_get_a_rule() {
        let parameters = of((0..400_u64).map(|n| {
            let token = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let stock = ["true", "1", "False"][n as usize % 3];
            let (sort, word) = (["price", "name"][n as usize % 2], ["shoe", "Hat", "hat"][n as usize % 3]);
            format!("t={token:016x}&q={word}{}&stock={stock}&page={}&sort={sort}&one=x&_={n}", n % 100, n % 9)
        }));
        let form = ParamForm { unknown: UnknownParameters::Keep, ..ParamForm::default() };
        let says = |name| advice(&parameters, name, &form).1;
        assert!(says("t").starts_with("ignore = [\"t\"]"), "{}", says("t"));
        assert!(says("_").starts_with("ignore = [\"_\"]"), "{}", says("_"));
        assert_eq!(says("stock"), "stock = { type = \"boolean\" }");
        assert_eq!(says("page"), "page = { type = \"number\" }");
        assert!(says("sort").starts_with("sort = { type = \"enum\""), "{}", says("sort"));
        assert!(says("one").contains("one value only"), "{}", says("one"));
        assert_eq!(says("q"), "q = { case = \"lower\" }");
        assert_eq!((parameters.by_name["t"].count(), parameters.by_name["q"].requests), (400, 400));
    }

    #[test]
    fn what_the_form_does_with_a_parameter_is_told() {
        use trueup_core::key::{IgnoredName, Parameter};
        let form = ParamForm {
            parameters: vec![Parameter::new("q", ValueRule::search_text())],
            ignored: vec![IgnoredName::Prefix("x_".to_owned())],
            ..ParamForm::default()
        };
        assert_eq!(standing("q", &form), Standing::Declared);
        assert_eq!(standing("x_trace", &form), Standing::Ignored);
        assert_eq!(standing("utm_source", &form), Standing::Ignored);
        assert_eq!(standing("other", &form), Standing::Refused);
    }

    #[test]
    fn words_and_small_numbers_are_no_tokens() {
        for token in ["0197b1f0-7c4a-7d8e-9f10-3b1c5a7e2d44", "1716900000", "9f86d081884c7d65"] {
            assert!(looks_random(token), "{token}");
        }
        for word in ["42", "red shoes 2024", "newsletter", "2024", ""] {
            assert!(!looks_random(word), "{word}");
        }
    }
}
