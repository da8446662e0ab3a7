//! What a column holds equal is one text, whatever type or spelling it arrives in; what it tells apart is several; what is none
//! of its values is refused.

use trueup_core::key::{
    Affinity, Collation, ColumnForm, KeyBody, KeyError, KeyForm, MalformedValue, OwnedSqlValue, Part,
    SqlValue,
};

const SQLITE: fn(Affinity) -> ColumnForm =
    |affinity| ColumnForm::Sqlite { affinity, collation: Collation::Binary };
const NUMERIC_AFFINITIES: [Affinity; 3] = [Affinity::Integer, Affinity::Numeric, Affinity::Real];

fn canonical(form: ColumnForm, value: SqlValue<'_>) -> Result<String, MalformedValue> {
    let mut out = String::new();
    form.canonical(value, &mut out).map(|()| out)
}

#[track_caller]
fn is(form: ColumnForm, value: SqlValue<'_>, text: &str) {
    assert_eq!(canonical(form, value).as_deref(), Ok(text), "{form:?}");
}

#[track_caller]
fn are(form: ColumnForm, pairs: &[(&str, &str)]) {
    pairs.iter().for_each(|(spelled, text)| is(form, SqlValue::Text(spelled), text));
}

#[track_caller]
fn refused(form: ColumnForm, values: &[SqlValue<'_>]) {
    for value in values {
        let refused = canonical(form, *value);
        assert!(matches!(refused, Err(MalformedValue::WrongType { .. })), "{form:?}: {refused:?}");
    }
}

#[track_caller]
fn texts_refused(form: ColumnForm, texts: &[&str]) {
    for text in texts {
        assert!(canonical(form, SqlValue::Text(text)).is_err(), "{form:?}: {text}");
    }
}

/// The typed value that a client's text names, as the loader's query binds it.
fn bound(form: ColumnForm, text: &str) -> Result<OwnedSqlValue, KeyError> {
    let form = KeyForm::columns([Part::new("part", form)]).unwrap();
    let values = form.values(&form.parse(text)?)?;
    let KeyBody::Columns(values) = values.body else { panic!("parameters of a class of columns") };
    Ok(values.into_iter().next().unwrap())
}

fn text(text: &str) -> OwnedSqlValue {
    OwnedSqlValue::Text(text.into())
}

#[test]
fn null_is_one_text_in_every_column() {
    for form in [
        ColumnForm::Integer,
        ColumnForm::Numeric,
        ColumnForm::Real,
        ColumnForm::Text(Collation::Binary),
        ColumnForm::Blob,
        ColumnForm::Boolean,
        ColumnForm::Uuid,
        ColumnForm::TimestampTz,
        ColumnForm::Opaque,
        SQLITE(Affinity::Text),
    ] {
        is(form, SqlValue::Null, "!null");
        assert_eq!(bound(form, "!null"), Ok(OwnedSqlValue::Null));
        assert_eq!(form.has_row_tag(), form != ColumnForm::Opaque);
    }
}

#[test]
fn integers() {
    let form = ColumnForm::Integer;
    for value in [
        SqlValue::Int(-7),
        SqlValue::Real(-7.0),
        SqlValue::Text("-7"),
        SqlValue::Text(" -007.00 "),
        SqlValue::Text("-70e-1"),
    ] {
        is(form, value, "-7");
    }
    is(form, SqlValue::Uint(7), "7");
    is(form, SqlValue::Real(-9_223_372_036_854_775_808.0), "-9223372036854775808");
    are(
        form,
        &[
            ("0", "0"),
            ("-0", "0"),
            ("0e99999999999999999999", "0"),
            ("42e1", "420"),
            ("12e17", "1200000000000000000"),
            ("+0000000000000000000000000000042", "42"),
            ("9223372036854775807", "9223372036854775807"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("9.223372036854775807e18", "9223372036854775807"),
        ],
    );
    texts_refused(
        form,
        &[
            "",
            "-",
            "+",
            ".",
            "e1",
            "42.5",
            "4e-1",
            "9223372036854775808",
            "-9223372036854775809",
            "1e19",
            "1e60",
            "1e99999999999999999999",
            "0x2a",
            "4_2",
            "4 2",
            "inf",
            "nan",
            "4e",
            "4e+",
            "4e1x",
            "4..2",
            "٤٢",
        ],
    );
    refused(
        form,
        &[
            SqlValue::Uint(1 << 63),
            SqlValue::Real(0.5),
            SqlValue::Real(9_223_372_036_854_775_808.0),
            SqlValue::Real(-9_223_372_036_854_777_856.0),
            SqlValue::Real(f64::NAN),
            SqlValue::Real(f64::INFINITY),
            SqlValue::Bool(true),
            SqlValue::Blob(b"7"),
        ],
    );
    assert_eq!(bound(form, "%2B042.0"), Ok(OwnedSqlValue::Int(42)));
}

#[test]
fn numerics_of_any_length() {
    let form = ColumnForm::Numeric;
    is(form, SqlValue::Int(-42), "-42");
    is(form, SqlValue::Uint(u64::MAX), "18446744073709551615");
    is(form, SqlValue::Real(42.0), "42");
    is(form, SqlValue::Real(0.25), "0.25");
    is(form, SqlValue::Real(1e300), "1e300");
    is(form, SqlValue::Real(f64::NAN), "nan");
    is(form, SqlValue::Real(f64::INFINITY), "inf");
    is(form, SqlValue::Real(f64::NEG_INFINITY), "-inf");
    let forty_places = format!("0.{}1", "0".repeat(39));
    let forty_digits = format!("1{}", "0".repeat(39));
    are(
        form,
        &[
            ("042.10", "42.1"),
            ("12.34", "12.34"),
            ("-.05", "-0.05"),
            ("1234.5", "1234.5"),
            ("100", "100"),
            ("1e39", &forty_digits),
            ("1e40", "1e40"),
            ("1234e40", "1234e40"),
            ("-12e-41", "-12e-41"),
            ("1e-40", &forty_places),
            ("1e-41", "1e-41"),
            ("1e5", "100000"),
            ("0.00e7", "0"),
            ("1e200000", "1e200000"),
            ("1e-200000", "1e-200000"),
            ("NaN", "nan"),
            ("inf", "inf"),
            ("+Infinity", "inf"),
            (" -infinity ", "-inf"),
            ("-INF", "-inf"),
        ],
    );
    texts_refused(
        form,
        &["1e200001", "1e-200001", "1e99999999999999999999", "-nan", "+nan", "infin", "", "-", "."],
    );
    refused(form, &[SqlValue::Bool(true), SqlValue::Blob(b"1")]);
    assert_eq!(bound(form, "042.10"), Ok(text("42.1")));
}

#[test]
fn floats() {
    let form = ColumnForm::Real;
    for value in [SqlValue::Int(3), SqlValue::Uint(3), SqlValue::Real(3.0), SqlValue::Text(" 3.00 ")] {
        is(form, value, "3");
    }
    is(form, SqlValue::Real(-0.0), "0");
    is(form, SqlValue::Real(1e-7), "0.0000001");
    is(form, SqlValue::Int(i64::MAX), "9223372036854776000");
    is(form, SqlValue::Uint(u64::MAX), "18446744073709552000");
    is(form, SqlValue::Real(f64::NAN), "nan");
    is(form, SqlValue::Real(f64::NEG_INFINITY), "-inf");
    are(
        form,
        &[
            ("-2.5e0", "-2.5"),
            ("inf", "inf"),
            ("-Infinity", "-inf"),
            ("nan", "nan"),
            ("1", "1"),
            ("-1", "-1"),
        ],
    );
    texts_refused(form, &["1e999", "-1e999", "1_0", "", "one"]);
    refused(form, &[SqlValue::Bool(false), SqlValue::Blob(b"3")]);
    assert_eq!(bound(form, "2.50"), Ok(OwnedSqlValue::Real(2.5)));
    assert_eq!(bound(form, "-inf"), Ok(OwnedSqlValue::Real(f64::NEG_INFINITY)));
}

#[test]
fn booleans() {
    let form = ColumnForm::Boolean;
    for truth in [SqlValue::Bool(true), SqlValue::Int(1), SqlValue::Uint(1), SqlValue::Text(" Yes ")] {
        is(form, truth, "true");
    }
    for lie in [SqlValue::Bool(false), SqlValue::Int(0), SqlValue::Uint(0), SqlValue::Text("OFF")] {
        is(form, lie, "false");
    }
    texts_refused(form, &["", "o", "2", "truex"]);
    refused(form, &[SqlValue::Int(2), SqlValue::Uint(2), SqlValue::Real(1.0), SqlValue::Blob(b"1")]);
    assert_eq!(bound(form, "on"), Ok(OwnedSqlValue::Bool(true)));
    assert_eq!(bound(form, "n"), Ok(OwnedSqlValue::Bool(false)));
}

#[test]
fn uuids() {
    const BYTES: [u8; 16] =
        [0xa0, 0xee, 0xbc, 0x99, 0x9c, 0x0b, 0x4e, 0xf8, 0xbb, 0x6d, 0x6b, 0xb9, 0xbd, 0x38, 0x0a, 0x11];
    const TEXT: &str = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
    let form = ColumnForm::Uuid;
    is(form, SqlValue::Blob(&BYTES), TEXT);
    are(
        form,
        &[
            (TEXT, TEXT),
            ("{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}", TEXT),
            ("a0eebc999c0b4ef8bb6d6bb9bd380a11", TEXT),
            ("a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11", TEXT),
        ],
    );
    texts_refused(
        form,
        &[
            "",
            "{}",
            "{a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11}",
            "a0eebc999c0b4ef8bb6d6bb9bd380a1",
            "a0eebc999c0b4ef8bb6d6bb9bd380a111",
            "-a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11-",
            "a0eebc99--9c0b4ef8bb6d6bb9bd380a11",
            "a0-eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0eebc999c0b4ef8bb6d6bb9bd380a1g",
        ],
    );
    refused(form, &[SqlValue::Blob(&BYTES[1..]), SqlValue::Int(1)]);
    assert_eq!(bound(form, "A0EEBC999C0B4EF8BB6D6BB9BD380A11"), Ok(text(TEXT)));
}

#[test]
fn bytes() {
    let form = ColumnForm::Blob;
    is(form, SqlValue::Blob(&[0, 0x0a, 0xf9, 0xff]), "000af9ff");
    are(form, &[("000AF9ff", "000af9ff"), ("\\x0af9", "0af9"), ("", "")]);
    texts_refused(form, &["0", "0af", "0g", "g0", "x0", "é", "\\x0"]);
    refused(form, &[SqlValue::Int(10), SqlValue::Bool(true), SqlValue::Real(1.0)]);
    assert_eq!(bound(form, "0AF9"), Ok(OwnedSqlValue::Blob(vec![0x0a, 0xf9])));
    assert_eq!(bound(form, "!x1f"), Ok(OwnedSqlValue::Blob(vec![0x1f])));
}

#[test]
fn texts_by_their_collation() {
    let binary = ColumnForm::Text(Collation::Binary);
    is(binary, SqlValue::Text("a,B%"), "a%2CB%25");
    is(binary, SqlValue::Int(-7), "-7");
    is(binary, SqlValue::Uint(u64::MAX), "18446744073709551615");
    refused(binary, &[SqlValue::Real(1.0), SqlValue::Bool(true), SqlValue::Blob(b"a")]);
    is(ColumnForm::Text(Collation::NoCase), SqlValue::Text("AbÉ"), "abÉ");
    is(ColumnForm::Text(Collation::CiText), SqlValue::Text("AbÉ"), "abé");
    is(ColumnForm::Text(Collation::RTrim), SqlValue::Text(" a "), "%20a");
    assert_eq!(bound(binary, "a%2CB%25"), Ok(text("a,B%")));
}

#[test]
fn what_has_no_known_form_keeps_its_type() {
    let form = ColumnForm::Opaque;
    is(form, SqlValue::Int(-7), "-7");
    is(form, SqlValue::Uint(u64::MAX), "18446744073709551615");
    is(form, SqlValue::Real(0.5), "0.5");
    is(form, SqlValue::Text("a,b"), "a%2Cb");
    is(form, SqlValue::Blob(&[1, 0xfe]), "!x01fe");
    is(form, SqlValue::Bool(true), "true");
    is(form, SqlValue::Bool(false), "false");
}

#[test]
fn sqlite_converts_by_affinity() {
    for affinity in NUMERIC_AFFINITIES {
        let form = SQLITE(affinity);
        are(form, &[("042", "42"), (" 4.5 ", "4.5"), ("abc", "abc"), ("0x2A", "0x2A"), ("1e999", "9e999")]);
        is(form, SqlValue::Bool(true), "1");
        is(form, SqlValue::Uint(7), "7");
        is(form, SqlValue::Real(f64::NAN), "!null");
        is(form, SqlValue::Real(0.5), "0.5");
        is(form, SqlValue::Real(f64::INFINITY), "9e999");
        is(form, SqlValue::Real(f64::NEG_INFINITY), "-9e999");
        is(form, SqlValue::Blob(b"42"), "!x3432");
        refused(form, &[SqlValue::Uint(u64::MAX)]);
        assert_eq!(bound(form, "042"), Ok(OwnedSqlValue::Int(42)));
        assert_eq!(bound(form, "4.50"), Ok(OwnedSqlValue::Real(4.5)));
        assert_eq!(bound(form, "-1e999"), Ok(OwnedSqlValue::Real(f64::NEG_INFINITY)));
        assert_eq!(bound(form, "abc"), Ok(text("abc")));
    }
    // Beyond 53 bits it shows whether an integer has been through a float.
    is(SQLITE(Affinity::Integer), SqlValue::Text("9007199254740993"), "9007199254740993");
    is(SQLITE(Affinity::Integer), SqlValue::Text("9007199254740993.0"), "9007199254740992");
    is(SQLITE(Affinity::Integer), SqlValue::Text("9007199254740993\0"), "9007199254740992");
    is(SQLITE(Affinity::Integer), SqlValue::Text("9007199254740993e0"), "9007199254740992");
    is(SQLITE(Affinity::Real), SqlValue::Int(9_007_199_254_740_993), "9007199254740992");
    is(SQLITE(Affinity::Integer), SqlValue::Int(9_007_199_254_740_993), "9007199254740993");

    let form = SQLITE(Affinity::Text);
    are(form, &[("042", "042"), ("a,b", "a%2Cb")]);
    is(form, SqlValue::Int(42), "42");
    is(form, SqlValue::Bool(false), "0");
    is(form, SqlValue::Real(f64::NAN), "!null");
    refused(form, &[SqlValue::Real(0.5)]);
    assert_eq!(bound(form, "042"), Ok(text("042")));
}

#[test]
fn without_an_affinity_the_spelling_chooses_the_type() {
    let form = SQLITE(Affinity::Blob);
    is(form, SqlValue::Text("42"), "!t42");
    is(form, SqlValue::Text("a42"), "a42");
    is(form, SqlValue::Int(42), "42");
    is(form, SqlValue::Real(42.0), "42");
    is(form, SqlValue::Blob(b"42"), "!x3432");
    assert_eq!(bound(form, "042"), Ok(OwnedSqlValue::Int(42)));
    assert_eq!(bound(form, "4.5"), Ok(OwnedSqlValue::Real(4.5)));
    assert_eq!(bound(form, "a42"), Ok(text("a42")));
    assert_eq!(bound(form, "!t42"), Ok(text("42")));
    assert_eq!(bound(form, "!x3432"), Ok(OwnedSqlValue::Blob(b"42".to_vec())));
    for text in ["!", "!nul", "!x3", "!xg0", "!y"] {
        assert!(
            matches!(bound(form, text), Err(KeyError::BadMark { .. })),
            "{text}: {:?}",
            bound(form, text)
        );
    }
    for text in ["%", "%4", "%4g", "a%", "%41%", "%ff", "!t%"] {
        assert_eq!(bound(form, text), Err(KeyError::BadEncoding), "{text}");
    }
    assert_eq!(bound(form, "%41%42c"), Ok(OwnedSqlValue::Text("ABc".into())));
}

#[test]
fn affinities_follow_the_declared_type() {
    for (declared, affinity) in [
        ("INT", Affinity::Integer),
        ("bigint unsigned", Affinity::Integer),
        ("CHARINT", Affinity::Integer),
        ("varchar(20)", Affinity::Text),
        ("Clob", Affinity::Text),
        ("TEXTBLOB", Affinity::Text),
        ("", Affinity::Blob),
        ("BLOB", Affinity::Blob),
        ("BLOBREAL", Affinity::Blob),
        ("real", Affinity::Real),
        ("FLOAT", Affinity::Real),
        ("double precision", Affinity::Real),
        ("decimal(10, 2)", Affinity::Numeric),
        ("STRING", Affinity::Numeric),
    ] {
        assert_eq!(Affinity::of_declared_type(Some(declared)), affinity, "{declared}");
    }
    assert_eq!(Affinity::of_declared_type(None), Affinity::Blob);
}

#[test]
fn a_value_shows_its_type_and_not_itself() {
    for (value, shown) in [
        (SqlValue::Null, "Null"),
        (SqlValue::Int(7), "Int(..)"),
        (SqlValue::Uint(7), "Uint(..)"),
        (SqlValue::Real(7.0), "Real(..)"),
        (SqlValue::Text("7"), "Text(..)"),
        (SqlValue::Blob(b"7"), "Blob(..)"),
        (SqlValue::Bool(true), "Bool(..)"),
    ] {
        assert_eq!(format!("{value:?}"), shown);
    }
}
