//! Different things never share a key, one thing has one key, and no text does harm.

use proptest::{collection::vec, prelude::*};
use trueup_core::{
    key::{
        Affinity, Collation, ColumnForm, Dimension, KeyBody, KeyError, KeyForm, KeyName, KeyPieces,
        ParamForm, Part, UnknownParameters,
    },
    limits::{KEY_BYTES_MAX, KEY_INPUT_BYTES_MAX},
};

const TEXT: ColumnForm = ColumnForm::Text(Collation::Binary);

/// Every column form there is.
const FORMS: [ColumnForm; 16] = [
    ColumnForm::Integer,
    ColumnForm::Numeric,
    ColumnForm::Real,
    TEXT,
    ColumnForm::Text(Collation::NoCase),
    ColumnForm::Text(Collation::CiText),
    ColumnForm::Text(Collation::RTrim),
    ColumnForm::Blob,
    ColumnForm::Boolean,
    ColumnForm::Uuid,
    ColumnForm::TimestampTz,
    ColumnForm::Sqlite { affinity: Affinity::Integer, collation: Collation::Binary },
    ColumnForm::Sqlite { affinity: Affinity::Real, collation: Collation::NoCase },
    ColumnForm::Sqlite { affinity: Affinity::Text, collation: Collation::RTrim },
    ColumnForm::Sqlite { affinity: Affinity::Blob, collation: Collation::Binary },
    ColumnForm::Opaque,
];

fn columns(forms: impl IntoIterator<Item = ColumnForm>) -> KeyForm {
    let part = |(at, form)| Part::new(format!("c{at}"), form);
    KeyForm::columns(forms.into_iter().enumerate().map(part)).unwrap()
}

fn any_parameters() -> KeyForm {
    let unknown = UnknownParameters::Keep;
    KeyForm::parameters(ParamForm { unknown, ignore_tracking: false, ..ParamForm::default() }).unwrap()
}

/// Texts made of what has a meaning in key text, so that a missing escape is found soon.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        "[,&=%@:+!a1 \\x00\\n/?#é\u{202E}]{0,6}",
        any::<String>(),
        "!(null|x[0-9a-f]{0,4}|t[a,]{0,2})"
    ]
}

proptest! {
    /// The short way of an integer names what the long way makes.
    #[test]
    fn an_integer_has_the_same_name_unwritten(int: i64, form in prop::sample::select(&FORMS[..])) {
        let form = columns([form]);
        let made = form.key(&int).map(|key| key.as_str().to_owned());
        prop_assert_eq!(form.with_name(&int, |name| name.with_text(str::to_owned)), made.clone());
        if let Ok(made) = made {
            prop_assert!(form.with_name(&int, |name| name == KeyName::of(&made)).unwrap());
        }
    }

    #[test]
    fn different_parts_have_different_keys(a in vec(hostile(), 3), b in vec(hostile(), 3)) {
        let form = columns([TEXT; 3]);
        let of = |parts: &[String]| {
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            form.assemble(&[], KeyPieces::Parts(&parts)).ok()
        };
        if let (Some(key_a), Some(key_b)) = (of(&a), of(&b)) {
            prop_assert_eq!(key_a == key_b, a == b);
        }
    }

    #[test]
    fn scope_and_key_do_not_run_into_each_other(a in vec(hostile(), 3), b in vec(hostile(), 3)) {
        let dimensions = ["role", "tenant"].map(|name| Dimension::new(name, TEXT));
        let form = columns([TEXT]).scoped_by(dimensions).unwrap();
        let of = |parts: &[String]| {
            let scope = [("tenant", parts[0].as_str()), ("role", parts[1].as_str())];
            form.assemble(&scope, KeyPieces::Parts(&[&parts[2]])).ok()
        };
        if let (Some(key_a), Some(key_b)) = (of(&a), of(&b)) {
            prop_assert_eq!(key_a == key_b, a == b);
        }
    }

    #[test]
    fn different_parameters_have_different_keys(
        a in vec(("[a&=%]{1,2}", "[a&=%+ ]{0,3}"), 0..4), b in vec(("[a&=%]{1,2}", "[a&=%+ ]{0,3}"), 0..4)
    ) {
        let form = any_parameters();
        let of = |pairs: &[(String, String)]| {
            let pairs: Vec<(&str, &str)> = pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            form.assemble(&[], KeyPieces::Parameters(&pairs)).unwrap()
        };
        let by_name = |mut pairs: Vec<(String, String)>| {
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            pairs
        };
        prop_assert_eq!(of(&a) == of(&b), by_name(a) == by_name(b));
    }

    #[test]
    fn a_canonical_text_is_its_own_key(text in hostile(), number in "[ +-]?[0-9.]{1,6}(e[0-9])?", form in 0..FORMS.len()) {
        let form = columns([FORMS[form]]);
        for text in [text, number] {
            for key in [form.parse(&text), form.assemble(&[], KeyPieces::Parts(&[&text]))].into_iter().flatten() {
                prop_assert_eq!(form.parse(key.as_str()), Ok(key.clone()));
                prop_assert!(key.len() <= KEY_BYTES_MAX);
                prop_assert!(!key.as_str().contains(|c: char| c.is_control() || c.is_whitespace()));
            }
        }
    }

    #[test]
    fn what_a_key_says_names_the_same_key(text in hostile(), form in 0..FORMS.len()) {
        let form = columns([FORMS[form]]);
        let trueup_core::key::KeyBodyForm::Columns(parts) = form.body() else { unreachable!() };
        if let Ok(key) = form.assemble(&[], KeyPieces::Parts(&[&text])) {
            let KeyBody::Columns(values) = form.values(&key).unwrap().body else { unreachable!() };
            let mut again = String::new();
            parts[0].form().canonical(values[0].as_value(), &mut again).unwrap();
            prop_assert_eq!(again, key.as_str());
        }
    }

    #[test]
    fn parameters_are_their_own_key_too(query in "[a-cA&=%+ 0-9]{0,24}") {
        let form = any_parameters();
        if let Ok(key) = form.parse(&query) {
            prop_assert_eq!(form.parse(key.as_str()), Ok(key.clone()));
        }
    }

    #[test]
    fn no_text_does_harm(text in hostile(), mark in "[@]?[a-z]{0,2}[=:]?") {
        let text = format!("{mark}{text}");
        let scoped = columns([TEXT, ColumnForm::Integer]).scoped_by([Dimension::new("a", TEXT)]).unwrap();
        for form in [columns(FORMS), columns([]), scoped, any_parameters()] {
            if let Err(error) = form.parse(&text) {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}

#[test]
fn over_long_keys_and_texts_are_refused() {
    let form = columns([TEXT]);
    assert_eq!(form.parse(&"a".repeat(KEY_BYTES_MAX)).unwrap().len(), KEY_BYTES_MAX);
    let too_long = |bytes_max| Err(KeyError::TooLong { bytes_max });
    assert_eq!(form.parse(&"a".repeat(KEY_BYTES_MAX + 1)), too_long(KEY_BYTES_MAX));
    assert_eq!(form.key("/".repeat(KEY_BYTES_MAX / 2).as_str()), too_long(KEY_BYTES_MAX));
    assert_eq!(form.parse(&"a".repeat(KEY_INPUT_BYTES_MAX + 1)), too_long(KEY_INPUT_BYTES_MAX));
    assert!(matches!(any_parameters().parse(&"a&".repeat(1000)), Err(KeyError::TooManyParameters { .. })));
}

#[test]
fn messages_never_repeat_what_was_sent() {
    let scoped = columns([ColumnForm::Integer]).scoped_by([Dimension::new("tenant", TEXT)]).unwrap();
    let strict = KeyForm::parameters(ParamForm::default()).unwrap();
    let sent = "s3cret";
    for (form, text) in [
        (&scoped, "@s3cret=1:2"),
        (&scoped, "@tenant=a&tenant=s3cret:1"),
        (&scoped, "@tenant=acme:s3cret"),
        (&scoped, "@tenant=%zzs3cret:1"),
        (&scoped, "@tenant=acme:!s3cret"),
        (&scoped, "s3cret,s3cret"),
        (&strict, "s3cret=s3cret"),
    ] {
        let error = form.parse(text).unwrap_err();
        assert!(!error.to_string().contains(sent) && !format!("{error:?}").contains(sent), "{error}");
    }
}

#[test]
fn a_part_that_cannot_be_a_row_tag_says_so() {
    assert!(columns([ColumnForm::Integer, TEXT]).has_row_tag());
    assert!(!columns([ColumnForm::Integer, ColumnForm::Opaque]).has_row_tag());
    assert!(!columns([]).has_row_tag());
    assert!(!any_parameters().has_row_tag());
}

#[test]
fn forms_that_differ_have_different_fingerprints() {
    let scoped = |form: KeyForm, name: &str| form.scoped_by([Dimension::new(name, TEXT)]).unwrap();
    let mut forms: Vec<KeyForm> = FORMS.into_iter().map(|form| columns([form])).collect();
    forms.extend([
        columns([]),
        columns([TEXT; 2]),
        scoped(columns([]), "a"),
        scoped(columns([]), "b"),
        any_parameters(),
    ]);
    forms.push(KeyForm::parameters(ParamForm::default()).unwrap());
    let mut prints: Vec<Vec<u8>> = forms
        .iter()
        .map(|form| {
            let mut bytes = Vec::new();
            form.fingerprint(&mut |piece| bytes.extend_from_slice(piece));
            bytes
        })
        .collect();
    prints.sort();
    prints.dedup();
    assert_eq!(prints.len(), forms.len());
}
