//! Key text of any kind must be refused or come to a canonical text that reads as itself, under every form.
//!
//! The first byte of the input chooses the form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trueup_core::{
    key::{
        Affinity, Collation, ColumnForm, Dimension, KeyForm, ParamForm, Part, UnknownParameters, split_class,
    },
    limits::KEY_BYTES_MAX,
};

const FORMS: [ColumnForm; 8] = [
    ColumnForm::Integer,
    ColumnForm::Numeric,
    ColumnForm::Text(Collation::CiText),
    ColumnForm::Blob,
    ColumnForm::Uuid,
    ColumnForm::TimestampTz,
    ColumnForm::Sqlite { affinity: Affinity::Numeric, collation: Collation::NoCase },
    ColumnForm::Sqlite { affinity: Affinity::Blob, collation: Collation::RTrim },
];

fn form(choice: u8) -> KeyForm {
    let column = FORMS[usize::from(choice) % FORMS.len()];
    let made = match choice >> 6 {
        0 => KeyForm::columns([Part::new("a", column)]),
        1 => KeyForm::columns([Part::new("a", column), Part::new("b", ColumnForm::Text(Collation::Binary))]),
        2 => KeyForm::columns([Part::new("a", column)])
            .and_then(|form| form.scoped_by([Dimension::new("tenant", column)])),
        _ => KeyForm::parameters(ParamForm { unknown: UnknownParameters::Keep, ..ParamForm::default() }),
    };
    made.expect("the form is sound")
}

fuzz_target!(|input: &[u8]| {
    let Some((choice, text)) = input.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let form = form(*choice);
    let _ = split_class(text);
    let Ok(key) = form.parse(text) else { return };
    assert!(key.len() <= KEY_BYTES_MAX);
    assert_eq!(form.parse(key.as_str()), Ok(key.clone()), "canonical text reads as itself");
    assert!(form.values(&key).is_ok(), "what was accepted can be bound");
});
