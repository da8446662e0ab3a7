//! In what two spellings of one key differ.
//!
//! The key code itself is asked: a form that is like the class's in all but one choice (letter case counts, say) makes two keys of two
//! spellings exactly if they differ in that.

use std::{borrow::Cow, collections::HashSet};

use percent_encoding::percent_decode_str;
use serde::Serialize;
use trueup_core::key::{
    Affinity, Collation, ColumnForm, KeyBodyForm, KeyForm, LetterCase, ParamForm, Repeated, UnicodeForm,
    UnknownParameters, ValueRule, WhiteSpace,
};

use super::form::{Form, exact};

/// One way in which spellings differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Difference {
    /// The order of parameters or of scope dimensions.
    Order,
    /// Letter case of names or values.
    Case,
    /// White space.
    Space,
    /// How a truth value is written.
    Boolean,
    /// How a number is written.
    Number,
    /// A default that is given or left out.
    Default,
    /// A parameter that is ignored, such as one that tracks visitors.
    Ignored,
    /// How characters are escaped, `+` for a space, `a` for `a=`.
    Encoding,
    /// Composed and decomposed letters, full-width letters and the like.
    Unicode,
    /// Order or number of repeated values of one parameter.
    Repeated,
    /// How another value is written: a time, a UUID.
    Format,
}

impl Difference {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Case => "letter case",
            Self::Space => "white space",
            Self::Boolean => "boolean",
            Self::Number => "number",
            Self::Default => "default",
            Self::Ignored => "ignored parameter",
            Self::Encoding => "encoding",
            Self::Unicode => "unicode form",
            Self::Repeated => "repeated value",
            Self::Format => "format",
        }
    }
}

/// Tells spellings of the keys of one class apart.
#[derive(Debug)]
pub(super) struct Explainer {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Columns(Vec<ColumnForm>),
    Parameters(Box<OfParameters>),
}

#[derive(Debug)]
struct OfParameters {
    /// The class's form in all but one choice.
    without: Vec<(Difference, KeyForm)>,
    /// The class's form for one parameter alone.
    piece: Option<KeyForm>,
    /// Every spelling apart but for escapes.
    exact: Option<KeyForm>,
    plus_is_space: bool,
}

impl Explainer {
    pub(super) fn new(form: &Form) -> Self {
        let kind = match form.key_form().body() {
            KeyBodyForm::Columns(parts) => {
                Kind::Columns(parts.iter().map(trueup_core::key::Part::form).collect())
            }
            KeyBodyForm::Parameters(form) => Kind::Parameters(Box::new(OfParameters::new(form))),
        };
        Self { kind }
    }

    /// In what `a` and `b`, two spellings of one key of `form`, differ; nothing where it is none of what is known.
    pub(super) fn differences(&self, form: &Form, a: &str, b: &str) -> Vec<Difference> {
        let mut found = Vec::new();
        let (a, b) = (form.split(a).1, form.split(b).1);
        let ((scope_a, a), (scope_b, b)) = (split_scope(&a), split_scope(&b));
        if scope_a != scope_b {
            found.push(of_scopes(scope_a, scope_b));
        }
        match &self.kind {
            Kind::Columns(forms) => {
                let values = a.split(',').zip(b.split(',')).zip(forms);
                found.extend(values.filter_map(|((a, b), form)| of_values(*form, a, b)));
            }
            Kind::Parameters(known) => found.extend(known.differences(a, b)),
        }
        found.sort();
        found.dedup();
        found
    }
}

fn split_scope(text: &str) -> (&str, &str) {
    let end = text.strip_prefix('@').and_then(|rest| rest.find(':')).map_or(0, |at| at + 2);
    text.split_at(end)
}

fn of_scopes(a: &str, b: &str) -> Difference {
    let sorted = |scope: &str| {
        let mut parts: Vec<String> = scope.trim_matches(['@', ':']).split('&').map(str::to_owned).collect();
        parts.sort();
        parts
    };
    if sorted(a) == sorted(b) { Difference::Order } else { of_texts(a, b) }
}

/// In what two spellings of one value differ, whatever its type.
fn of_texts(a: &str, b: &str) -> Difference {
    let (a, b) = (decoded(a), decoded(b));
    if a == b {
        Difference::Encoding
    } else if a.trim() == b.trim() {
        Difference::Space
    } else if a.to_lowercase() == b.to_lowercase() {
        Difference::Case
    } else {
        Difference::Format
    }
}

fn of_values(form: ColumnForm, a: &str, b: &str) -> Option<Difference> {
    if a == b {
        return None;
    }
    let of_type = match form {
        ColumnForm::Boolean => Some(Difference::Boolean),
        ColumnForm::Integer | ColumnForm::Numeric | ColumnForm::Real => Some(Difference::Number),
        ColumnForm::Sqlite { affinity: Affinity::Integer | Affinity::Numeric | Affinity::Real, .. } => {
            Some(Difference::Number)
        }
        ColumnForm::Text(Collation::RTrim) => Some(Difference::Space),
        _ => None,
    };
    Some(match (of_texts(a, b), of_type) {
        (of_text @ (Difference::Encoding | Difference::Space), _) => of_text,
        (_, Some(of_type)) => of_type,
        (of_text, None) => of_text,
    })
}

fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

impl OfParameters {
    fn new(form: &ParamForm) -> Self {
        // What the class refuses, and what it demands, says nothing about spellings that it took.
        let mut lenient = ParamForm { unknown: UnknownParameters::Keep, ..form.clone() };
        lenient.parameters.iter_mut().for_each(|parameter| parameter.required = false);
        let but = |change: fn(&mut ParamForm)| {
            let mut form = lenient.clone();
            change(&mut form);
            KeyForm::parameters(form).ok()
        };
        let without = [
            (
                Difference::Case,
                but(|form| each_rule(form, |rule| text_but(rule, |_| LetterCase::Exact, |s| s))),
            ),
            (
                Difference::Space,
                but(|form| each_rule(form, |rule| text_but(rule, |c| c, |_| WhiteSpace::Exact))),
            ),
            (Difference::Boolean, but(|form| exactly(form, |rule| matches!(rule, ValueRule::Boolean)))),
            (Difference::Number, but(|form| exactly(form, |rule| matches!(rule, ValueRule::Number)))),
            (Difference::Default, but(|form| form.parameters.iter_mut().for_each(|one| one.default = None))),
            (
                Difference::Ignored,
                but(|form| {
                    form.ignored.clear();
                    form.ignore_tracking = false;
                }),
            ),
            (Difference::Unicode, but(|form| form.unicode = UnicodeForm::Nfc)),
            (
                Difference::Repeated,
                but(|form| form.parameters.iter_mut().for_each(|one| one.repeated = Repeated::List)),
            ),
        ];
        Self {
            without: without.into_iter().filter_map(|(what, form)| Some((what, form?))).collect(),
            exact: KeyForm::parameters(exact(form.plus_is_space)).ok(),
            plus_is_space: form.plus_is_space,
            piece: KeyForm::parameters(lenient).ok(),
        }
    }

    fn differences(&self, a: &str, b: &str) -> Vec<Difference> {
        let apart = |form: &KeyForm| match (form.parse(a), form.parse(b)) {
            (Ok(a), Ok(b)) => a != b,
            _ => false,
        };
        let mut found: Vec<Difference> =
            self.without.iter().filter(|(_, form)| apart(form)).map(|(what, _)| *what).collect();
        let (a, b) = (self.pieces(a), self.pieces(b));
        if order(&a, &b) {
            found.push(Difference::Order);
        }
        if names_differ(&a, &b) {
            found.push(Difference::Case);
        }
        let empty = |pieces: &[Piece<'_>]| pieces.iter().filter(|piece| piece.raw.is_empty()).count();
        if empty(&a) != empty(&b) {
            found.push(Difference::Encoding);
        }
        for piece in a.iter().filter(|piece| !piece.raw.is_empty()) {
            let same: Vec<&Piece<'_>> = b.iter().filter(|other| other.exact == piece.exact).collect();
            if !same.is_empty() && same.iter().all(|other| other.raw != piece.raw) {
                let is_encoding = same.iter().any(|other| self.text(other.raw) == self.text(piece.raw));
                found.push(if is_encoding { Difference::Encoding } else { Difference::Unicode });
            }
        }
        found
    }

    fn pieces<'t>(&self, text: &'t str) -> Vec<Piece<'t>> {
        let written = |form: &Option<KeyForm>, raw: &str| {
            let key = form.as_ref().and_then(|form| form.parse(raw).ok());
            key.map(|key| key.as_str().to_owned()).unwrap_or_default()
        };
        let piece = |raw| Piece { raw, normal: written(&self.piece, raw), exact: written(&self.exact, raw) };
        text.split('&').map(piece).collect()
    }

    /// What a piece says, without a Unicode form.
    fn text(&self, raw: &str) -> String {
        let raw = if raw.contains('=') { raw.to_owned() } else { format!("{raw}=") };
        let raw = if self.plus_is_space { raw.replace('+', " ") } else { raw };
        decoded(&raw).into_owned()
    }
}

/// One parameter of a spelling.
struct Piece<'t> {
    raw: &'t str,
    /// As the class writes it; nothing where it leaves it out.
    normal: String,
    /// With escapes written one way.
    exact: String,
}

fn name(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(name, _)| name)
}

/// Whether the names that both have come in another order.
fn order(a: &[Piece<'_>], b: &[Piece<'_>]) -> bool {
    fn names<'p>(pieces: &'p [Piece<'_>]) -> Vec<&'p str> {
        let mut seen = HashSet::new();
        let all = pieces.iter().map(|piece| name(&piece.normal));
        all.filter(|name| !name.is_empty() && seen.insert(*name)).collect()
    }
    let (mut a, mut b) = (names(a), names(b));
    let common: HashSet<String> =
        a.iter().filter(|name| b.contains(name)).map(|name| (*name).to_owned()).collect();
    a.retain(|name| common.contains(*name));
    b.retain(|name| common.contains(*name));
    a != b
}

/// Whether a name is written in another letter case.
fn names_differ(a: &[Piece<'_>], b: &[Piece<'_>]) -> bool {
    let names = |pieces: &[Piece<'_>]| -> HashSet<String> {
        pieces
            .iter()
            .filter(|piece| !piece.normal.is_empty())
            .map(|piece| name(&piece.exact).to_owned())
            .collect()
    };
    let (a, b) = (names(a), names(b));
    let only_case = |name: &String| {
        !b.contains(name) && b.iter().any(|other| other.to_lowercase() == name.to_lowercase())
    };
    a.iter().any(only_case)
}

fn each_rule(form: &mut ParamForm, change: impl Fn(&ValueRule) -> Option<ValueRule>) {
    for parameter in &mut form.parameters {
        if let Some(rule) = change(&parameter.rule) {
            parameter.rule = rule;
        }
    }
}

/// The same rule of a text with another letter case or white space.
fn text_but(
    rule: &ValueRule,
    case_of: fn(LetterCase) -> LetterCase,
    space_of: fn(WhiteSpace) -> WhiteSpace,
) -> Option<ValueRule> {
    let (case, space) = match rule {
        ValueRule::Text { case, space } => (*case, *space),
        // A value of a list that is spelled otherwise would be none of it.
        ValueRule::OneOf { case, .. } => (*case, WhiteSpace::Collapse),
        _ => return None,
    };
    Some(ValueRule::Text { case: case_of(case), space: space_of(space) })
}

fn exactly(form: &mut ParamForm, is_meant: fn(&ValueRule) -> bool) {
    each_rule(form, |rule| is_meant(rule).then(ValueRule::exact_text));
}

#[cfg(test)]
mod tests {
    use trueup_core::key::{IgnoredName, Parameter, Part};

    use super::*;
    use Difference::{Boolean, Case, Default, Encoding, Ignored, Number, Order, Repeated, Space, Unicode};

    fn shop() -> Form {
        Form::own(
            KeyForm::parameters(ParamForm {
                parameters: vec![
                    Parameter::new("q", ValueRule::search_text()).required(),
                    Parameter::new("stock", ValueRule::Boolean),
                    Parameter::new("page", ValueRule::Number).default_value("1"),
                    Parameter::new("sort", ValueRule::one_of(["price", "name"])),
                    Parameter::new("tag", ValueRule::search_text()).repeated(trueup_core::key::Repeated::Set),
                ],
                ignored: vec![IgnoredName::Exact("sid".into())],
                names: LetterCase::Fold,
                unicode: UnicodeForm::Nfkc,
                ..ParamForm::default()
            })
            .unwrap(),
        )
    }

    #[test]
    fn each_difference_is_named_and_no_other() {
        let form = shop();
        let explainer = Explainer::new(&form);
        let first = "q=red+caf%C3%A9&stock=true&page=2&sort=price&tag=new&tag=sale";
        for (spelling, expected) in [
            (first, vec![]),
            ("stock=true&q=red+caf%C3%A9&page=2&sort=price&tag=new&tag=sale", vec![Order]),
            ("q=Red+caf%C3%A9&stock=true&page=2&sort=price&tag=new&tag=sale", vec![Case]),
            ("Q=red+caf%C3%A9&stock=true&page=2&sort=price&tag=new&tag=sale", vec![Case]),
            ("q=red+caf%C3%A9&stock=true&page=2&sort=Price&tag=new&tag=sale", vec![Case]),
            ("q=+red++caf%C3%A9&stock=true&page=2&sort=price&tag=new&tag=sale", vec![Space]),
            ("q=red+caf%C3%A9&stock=1&page=2&sort=price&tag=new&tag=sale", vec![Boolean]),
            ("q=red+caf%C3%A9&stock=true&page=02&sort=price&tag=new&tag=sale", vec![Number]),
            ("q=red+caf%C3%A9&stock=true&page=2&sort=price&tag=new&tag=sale&sid=7&utm_x=1", vec![Ignored]),
            ("q=red%20caf%c3%a9&stock=true&page=2&sort=price&tag=new&tag=sale", vec![Encoding]),
            ("q=red+caf%C3%A9&&stock=true&page=2&sort=price&tag=new&tag=sale", vec![Encoding]),
            ("q=red+cafe%CC%81&stock=true&page=2&sort=price&tag=new&tag=sale", vec![Unicode]),
            ("q=red+caf%C3%A9&stock=true&page=%EF%BC%92&sort=price&tag=new&tag=sale", vec![]),
            ("q=red+caf%C3%A9&stock=true&page=2&sort=price&tag=sale&tag=new&tag=new", vec![Repeated]),
            (
                "page=2.0&q=RED+caf%C3%A9&stock=yes&sort=price&tag=new&tag=sale",
                vec![Order, Case, Boolean, Number],
            ),
        ] {
            if form.normal(spelling).is_some() {
                assert_eq!(form.normal(spelling), form.normal(first), "{spelling}");
                assert_eq!(explainer.differences(&form, first, spelling), expected, "{spelling}");
            }
        }
        let given = "q=a&page=1";
        assert_eq!(explainer.differences(&form, "q=a", given), [Default]);
        assert_eq!(explainer.differences(&form, "q=a", "q=%EF%BD%81"), [Unicode], "a full-width letter");
        assert_eq!(explainer.differences(&form, "q=a&tag", "q=a&tag="), [Encoding]);
    }

    #[test]
    fn columns_are_told_apart_by_their_types() {
        let nocase = ColumnForm::Text(Collation::NoCase);
        let parts = [("id", ColumnForm::Integer), ("on", ColumnForm::Boolean), ("name", nocase)];
        let form = KeyForm::columns(parts.map(|(name, form)| Part::new(name, form))).unwrap();
        let form = Form::own(form);
        let explainer = Explainer::new(&form);
        for (spelling, expected) in [
            ("7,true,prague", vec![]),
            ("07,true,prague", vec![Number]),
            ("7,t,PRAGUE", vec![Case, Boolean]),
            ("%37,true,prague", vec![Encoding]),
            ("+7, 1,pr%61gue", vec![Boolean, Number, Encoding]),
        ] {
            assert_eq!(form.normal(spelling), form.normal("7,true,prague"), "{spelling}");
            assert_eq!(explainer.differences(&form, "7,true,prague", spelling), expected, "{spelling}");
        }
    }

    #[test]
    fn keys_without_parameters_are_told_apart_by_what_was_learned() {
        let form = super::super::form::tests::learned(&["42", "7"], &super::super::form::Wishes::default());
        assert_eq!(Explainer::new(&form).differences(&form, "42", "042"), [Number]);
        assert_eq!(Explainer::new(&form).differences(&form, "42", "%342"), [Encoding]);
    }
}
