//! What a class declares of its keys: limits, rules, and that each choice is part of the class's fingerprint.

use std::borrow::Borrow as _;

use sha2::{Digest as _, Sha256};
use trueup_core::{
    key::{
        Affinity, CacheKey, Collation, ColumnForm, Dimension, FormError, IgnoredName, Key, KeyError, KeyForm,
        KeyPart, KeyShape, LetterCase, ParamForm, Parameter, Part, Repeated, ScopeDimension, Scoped,
        SqlValue, UnicodeForm, UnknownParameters, ValueRule, WhiteSpace,
    },
    limits::{KEY_INPUT_BYTES_MAX, KEY_PARTS_MAX},
};

struct Tenant(&'static str);

impl KeyPart for Tenant {
    fn value(&self) -> SqlValue<'_> {
        SqlValue::Text(self.0)
    }
}

impl ScopeDimension for Tenant {
    const NAME: &'static str = "tenant";
}

/// A search by words, as a typed key.
struct Search(&'static str);

impl CacheKey for Search {
    const SHAPE: KeyShape = KeyShape::Parameters;

    fn part(&self, _: usize) -> Option<SqlValue<'_>> {
        None
    }

    fn parameters(&self, visit: &mut dyn FnMut(&str, SqlValue<'_>)) {
        visit("q", SqlValue::Text(self.0));
        visit("page", SqlValue::Null);
    }
}

fn parameters(parameters: Vec<Parameter>) -> ParamForm {
    ParamForm { parameters, ..ParamForm::default() }
}

fn key_of(form: &ParamForm, query: &str) -> Result<String, KeyError> {
    KeyForm::parameters(form.clone()).unwrap().parse(query).map(|key| key.as_str().to_owned())
}

fn fingerprint(form: &KeyForm) -> Vec<u8> {
    let mut bytes = Vec::new();
    form.fingerprint(&mut |part| bytes.extend_from_slice(part));
    bytes
}

fn fingerprint_of(form: &ParamForm) -> Vec<u8> {
    fingerprint(&KeyForm::parameters(form.clone()).unwrap())
}

#[test]
fn a_key_has_so_many_parts_dimensions_and_parameters_and_no_more() {
    let too_many = FormError::TooMany { max: KEY_PARTS_MAX };
    let part = |at| Part::new(format!("p{at}"), ColumnForm::Integer);
    assert!(KeyForm::columns((0..KEY_PARTS_MAX).map(part)).is_ok());
    assert_eq!(KeyForm::columns((0..=KEY_PARTS_MAX).map(part)).unwrap_err(), too_many);
    let dimension = |at| Dimension::new(format!("d{at}"), ColumnForm::Integer);
    let scoped = |count| KeyForm::columns([]).unwrap().scoped_by((0..count).map(dimension));
    assert!(scoped(KEY_PARTS_MAX).is_ok());
    assert_eq!(scoped(KEY_PARTS_MAX + 1).unwrap_err(), too_many);
    assert_eq!(scoped(KEY_PARTS_MAX + 2).unwrap_err(), too_many);
    let named = |count: usize| {
        let one = |at| Parameter::new(format!("p{at}"), ValueRule::Number);
        KeyForm::parameters(parameters((0..count).map(one).collect()))
    };
    assert!(named(KEY_PARTS_MAX).is_ok());
    assert_eq!(named(KEY_PARTS_MAX + 1).unwrap_err(), too_many);
    assert_eq!(named(KEY_PARTS_MAX + 2).unwrap_err(), too_many);
}

#[test]
fn a_text_of_so_many_bytes_is_read_and_no_longer_one() {
    let integer = KeyForm::columns([Part::new("id", ColumnForm::Integer)]).unwrap();
    let zeros = |bytes: usize| format!("{}7", "0".repeat(bytes - 1));
    assert_eq!(integer.parse(&zeros(KEY_INPUT_BYTES_MAX)).unwrap().as_str(), "7");
    let too_long = KeyError::TooLong { bytes_max: KEY_INPUT_BYTES_MAX };
    assert_eq!(integer.parse(&zeros(KEY_INPUT_BYTES_MAX + 1)).unwrap_err(), too_long);
}

#[test]
fn a_scope_can_be_asked_for_and_one_dimension_is_enough() {
    let form = KeyForm::columns([Part::new("id", ColumnForm::Integer)]).unwrap();
    assert!(form.scope().is_empty());
    let form = form.scoped_by([Dimension::new("tenant", ColumnForm::Text(Collation::Binary))]).unwrap();
    assert_eq!(form.scope().iter().map(Dimension::name).collect::<Vec<_>>(), ["tenant"]);
    assert_eq!(form.key(&Scoped::new(Tenant("acme"), 42)).unwrap().as_str(), "@tenant=acme:42");
    assert_eq!(Scoped::new(Tenant("acme"), 42).dimension("role"), None);
}

#[test]
fn a_key_of_parameters_may_stand_in_a_scope() {
    let declared = vec![
        Parameter::new("q", ValueRule::search_text()).required(),
        Parameter::new("page", ValueRule::Number).default_value("1"),
    ];
    let form = KeyForm::parameters(parameters(declared)).unwrap();
    assert_eq!(form.key(&Search("Red Shoes")).unwrap(), form.parse("q=red+shoes").unwrap());
    let scoped = form.scoped_by([Dimension::new("tenant", ColumnForm::Text(Collation::Binary))]).unwrap();
    let key = scoped.key(&Scoped::new(Tenant("acme"), Search(" red  SHOES"))).unwrap();
    assert_eq!(key, scoped.parse("@tenant=acme:q=red+shoes").unwrap());
}

#[test]
fn a_parameter_that_may_not_be_repeated_may_be_given_once() {
    let form = parameters(vec![Parameter::new("a", ValueRule::Number).repeated(Repeated::Refuse)]);
    assert_eq!(key_of(&form, "a=01").as_deref(), Ok("a=1"));
    let refused = KeyError::RepeatedParameter { parameter: "a".into() };
    assert_eq!(key_of(&form, "a=1&a=1").unwrap_err(), refused);
    assert_eq!(key_of(&form, "a=1&a=2&a=3").unwrap_err(), refused);
}

#[test]
fn letters_are_one_by_the_unicode_form_that_is_declared() {
    let text = || vec![Parameter::new("q", ValueRule::exact_text())];
    let nfc = parameters(text());
    let nfkc = ParamForm { unicode: UnicodeForm::Nfkc, ..parameters(text()) };
    let composed = "q=caf%C3%A9";
    for form in [&nfc, &nfkc] {
        assert_eq!(key_of(form, "q=cafe%CC%81"), key_of(form, composed));
        assert_eq!(key_of(form, composed).unwrap(), "q=café");
    }
    let full_width = "q=%EF%BD%83af%C3%A9";
    assert_eq!(key_of(&nfkc, full_width), key_of(&nfkc, composed));
    assert_ne!(key_of(&nfc, full_width), key_of(&nfc, composed));
}

#[test]
fn one_of_several_values_is_found_however_they_were_declared() {
    let rule = ValueRule::one_of([" Rating", "price", "RATING", "Name"]);
    let form = parameters(vec![Parameter::new("sort", rule)]);
    for (query, key) in
        [("sort=PRICE", "sort=price"), ("sort=+rating", "sort=rating"), ("sort=name", "sort=name")]
    {
        assert_eq!(key_of(&form, query).as_deref(), Ok(key), "{query}");
    }
    let allowed = KeyError::NotOneOf { parameter: "sort".into(), allowed: "name, price, rating".into() };
    assert_eq!(key_of(&form, "sort=age").unwrap_err(), allowed);
}

#[test]
fn a_value_of_another_type_is_refused_by_the_name_of_its_parameter() {
    let form = parameters(vec![
        Parameter::new("page", ValueRule::Number),
        Parameter::new("in_stock", ValueRule::Boolean),
    ]);
    for (query, name, expected) in [
        ("page=two", "page", "a decimal number"),
        ("in_stock=maybe", "in_stock", "a boolean, such as `true` or `false`"),
    ] {
        assert_eq!(key_of(&form, query).unwrap_err(), KeyError::WrongType { part: name.into(), expected });
    }
}

/// Two nodes whose plans differ in any of these must not find each other's entries.
#[test]
fn every_choice_of_parameters_is_in_the_fingerprint() {
    let text = |case, space| ValueRule::Text { case, space };
    let q = |rule| Parameter::new("q", rule);
    let plain = parameters(vec![q(text(LetterCase::Exact, WhiteSpace::Exact))]);
    let with = |rule| parameters(vec![q(rule)]);
    let one_of = |values: &[&str], case| ValueRule::OneOf {
        values: values.iter().map(|v| (*v).into()).collect(),
        case,
    };
    let forms = [
        plain.clone(),
        ParamForm { unknown: UnknownParameters::Keep, ..plain.clone() },
        ParamForm { unicode: UnicodeForm::Nfkc, ..plain.clone() },
        ParamForm { names: LetterCase::Fold, ..plain.clone() },
        ParamForm { plus_is_space: false, ..plain.clone() },
        ParamForm { ignore_tracking: false, ..plain.clone() },
        ParamForm { ignored: vec![IgnoredName::Exact("x".into())], ..plain.clone() },
        ParamForm { ignored: vec![IgnoredName::Prefix("x".into())], ..plain.clone() },
        with(text(LetterCase::Fold, WhiteSpace::Exact)),
        with(text(LetterCase::Exact, WhiteSpace::Collapse)),
        with(text(LetterCase::Fold, WhiteSpace::Collapse)),
        with(ValueRule::Number),
        with(ValueRule::Boolean),
        with(one_of(&["a"], LetterCase::Exact)),
        with(one_of(&["a"], LetterCase::Fold)),
        with(one_of(&["b"], LetterCase::Fold)),
        with(one_of(&["a", "b"], LetterCase::Fold)),
        parameters(vec![q(ValueRule::Number).required()]),
        parameters(vec![q(ValueRule::Number).default_value("1")]),
        parameters(vec![q(ValueRule::Number).default_value("2")]),
        parameters(vec![q(ValueRule::Number).repeated(Repeated::Set)]),
        parameters(vec![q(ValueRule::Number).repeated(Repeated::Refuse)]),
        parameters(vec![Parameter::new("p", ValueRule::Number)]),
    ];
    let all: Vec<_> = forms.iter().map(fingerprint_of).collect();
    for (at, one) in all.iter().enumerate() {
        assert_eq!(all.iter().position(|other| other == one), Some(at), "{:?}", forms[at]);
    }
}

/// The names stand in what other nodes have stored: they are never changed.
#[test]
fn a_fingerprint_spells_the_choices_out() {
    let words = |form: &KeyForm| {
        let mut words = Vec::new();
        form.fingerprint(&mut |part| words.extend(std::str::from_utf8(part).ok().map(str::to_owned)));
        words.retain(|word| word.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '));
        words.join("/")
    };
    let sqlite = |affinity| ColumnForm::Sqlite { affinity, collation: Collation::NoCase };
    for (form, name) in [
        (ColumnForm::Integer, "integer"),
        (ColumnForm::Numeric, "numeric"),
        (ColumnForm::Real, "real"),
        (ColumnForm::Text(Collation::Binary), "text binary"),
        (ColumnForm::Text(Collation::NoCase), "text nocase"),
        (ColumnForm::Text(Collation::CiText), "text citext"),
        (ColumnForm::Text(Collation::RTrim), "text rtrim"),
        (ColumnForm::Blob, "blob"),
        (ColumnForm::Boolean, "boolean"),
        (ColumnForm::Uuid, "uuid"),
        (ColumnForm::TimestampTz, "timestamptz"),
        (sqlite(Affinity::Integer), "sqlite integer nocase"),
        (sqlite(Affinity::Numeric), "sqlite numeric nocase"),
        (sqlite(Affinity::Real), "sqlite real nocase"),
        (sqlite(Affinity::Text), "sqlite text nocase"),
        (sqlite(Affinity::Blob), "sqlite blob nocase"),
        (ColumnForm::Opaque, "opaque"),
    ] {
        let form = KeyForm::columns([Part::new("id", form)]).unwrap();
        assert_eq!(words(&form), format!("key-form/1/column/id/{name}"));
    }
    let form = parameters(vec![Parameter::new("q", ValueRule::search_text())]);
    let spelled = words(&KeyForm::parameters(form).unwrap());
    assert!(
        spelled.starts_with("key-form/1/parameters/refuse/exact/nfc/yes/ignore-tracking/yes/"),
        "{spelled}"
    );
    assert!(spelled.ends_with("/parameter/q/list/no/text/fold/collapse"), "{spelled}");
}

#[test]
fn a_key_is_its_text() {
    let form = KeyForm::columns([Part::new("name", ColumnForm::Text(Collation::Binary))]).unwrap();
    let key: Key = form.parse("Ann%20Lee").unwrap();
    let borrowed: &str = key.borrow();
    let as_ref: &str = key.as_ref();
    assert_eq!((borrowed, as_ref, key.as_str()), ("Ann%20Lee", "Ann%20Lee", "Ann%20Lee"));
    assert_eq!((key.len(), key.is_empty()), (9, false));
    let none = form.parse("").unwrap();
    assert_eq!((none.len(), none.is_empty()), (0, true));
}

/// The name under which the remote tier holds an entry: of class, its length before it, and key.
#[test]
fn a_digest_is_of_class_and_key() {
    let form = KeyForm::columns([Part::new("id", ColumnForm::Integer)]).unwrap();
    let key = form.parse("42").unwrap();
    let by_hand = Sha256::digest(b"trueup key digest 1\0\x04\0\0\0\0\0\0\0user42");
    assert_eq!(key.digest("user")[..], by_hand[..]);
    assert_ne!(key.digest("user"), key.digest("users"));
    assert_ne!(key.digest("user4"), form.parse("2").unwrap().digest("user"));
}
