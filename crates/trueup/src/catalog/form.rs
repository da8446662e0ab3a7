//! From a plan's key, as declared, to the normal form of its keys.

use trueup_core::{
    class::{self, Case, ClassName, ClassPlan, KeyPlan, Kind, Origin},
    key::{
        Collation, ColumnForm, Dimension, FormError, IgnoredName, KeyForm, LetterCase, ParamForm, Parameter,
        Part, Repeated, UnicodeForm, UnknownParameters, ValueRule, WhiteSpace,
    },
};

use super::CatalogError;

/// The normal form of the keys of `plan`. `type_of` tells how values of a column are compared: asked for each part and
/// each dimension of the scope.
///
/// A dimension without a type is text. A part without one is an error for a class that is a table.
///
/// # Errors
/// [`CatalogError`] naming the part that does not fit.
pub fn key_form(
    plan: &ClassPlan,
    type_of: impl Fn(&str) -> Option<ColumnForm>,
) -> Result<KeyForm, CatalogError> {
    let key = plan.key();
    let wrong = |why| CatalogError::Form { class: plan.name().clone(), why };
    let body = match (key.columns.is_empty(), key.parameters.is_empty()) {
        (false, false) => return Err(CatalogError::MixedKey { class: plan.name().clone() }),
        (true, false) => parameters(key),
        _ => KeyForm::columns(parts(plan.name(), plan.origin(), key, &type_of)?),
    };
    let text = ColumnForm::Text(Collation::Binary);
    let scope = key.scope.iter().map(|name| Dimension::new(name.clone(), type_of(name).unwrap_or(text)));
    body.and_then(|form| form.scoped_by(scope)).map_err(wrong)
}

fn parts(
    class: &ClassName,
    origin: &Origin,
    key: &KeyPlan,
    type_of: &impl Fn(&str) -> Option<ColumnForm>,
) -> Result<Vec<Part>, CatalogError> {
    let part = |name: &compact_str::CompactString| {
        let form = match (type_of(name), origin) {
            (Some(form), _) => form,
            (None, Origin::Table(table)) => {
                return Err(CatalogError::NoSuchColumn {
                    class: class.clone(),
                    origin: format!("table `{table}`"),
                    column: name.to_string(),
                });
            }
            (None, _) => ColumnForm::Opaque,
        };
        Ok(Part::new(name.clone(), form))
    };
    key.columns.iter().map(part).collect()
}

fn parameters(key: &KeyPlan) -> Result<KeyForm, FormError> {
    KeyForm::parameters(ParamForm {
        parameters: key.parameters.iter().map(parameter).collect(),
        unknown: match key.unknown {
            class::Unknown::Refuse => UnknownParameters::Refuse,
            class::Unknown::Keep => UnknownParameters::Keep,
        },
        ignored: key.ignore.iter().map(|name| ignored(name)).collect(),
        unicode: match key.unicode {
            class::Unicode::Nfc => UnicodeForm::Nfc,
            class::Unicode::Nfkc => UnicodeForm::Nfkc,
        },
        ..ParamForm::default()
    })
}

fn ignored(name: &str) -> IgnoredName {
    match name.strip_suffix('*') {
        Some(prefix) => IgnoredName::Prefix(prefix.to_owned()),
        None => IgnoredName::Exact(name.to_owned()),
    }
}

fn parameter(declared: &class::Parameter) -> Parameter {
    let case = match declared.case {
        Case::Keep => LetterCase::Exact,
        Case::Lower => LetterCase::Fold,
    };
    let rule = match &declared.kind {
        Kind::Text => {
            let space = if declared.trim { WhiteSpace::Collapse } else { WhiteSpace::Exact };
            ValueRule::Text { case, space }
        }
        Kind::Boolean => ValueRule::Boolean,
        Kind::Number => ValueRule::Number,
        Kind::Enum(values) => {
            ValueRule::OneOf { values: values.iter().map(ToString::to_string).collect(), case }
        }
    };
    let repeated = match declared.repeated {
        class::Repeated::Keep => Repeated::List,
        class::Repeated::Set => Repeated::Set,
    };
    let parameter = Parameter::new(declared.name.as_str(), rule).repeated(repeated);
    match &declared.default {
        Some(value) => parameter.default_value(value.as_str()),
        None => parameter,
    }
}

#[cfg(test)]
mod tests {
    use trueup_core::class::Parameter as Declared;

    use super::*;

    const NO_TYPES: fn(&str) -> Option<ColumnForm> = |_| None;

    #[test]
    fn columns_take_the_types_of_the_table() {
        let plan = ClassPlan::display("user").table("user").key(["id"]).scope(["tenant"]).build().unwrap();
        let form = key_form(&plan, |name| (name == "id").then_some(ColumnForm::Integer)).unwrap();
        assert_eq!(form.parse("@tenant=a:042").unwrap().as_str(), "@tenant=a:42");
        let error = key_form(&plan, NO_TYPES).unwrap_err().to_string();
        assert_eq!(error, "class `user`: table `user` has no column `id`; correct `key`");
    }

    #[test]
    fn parameters_keep_their_rules() {
        let mut case = Declared::new("q", Kind::Text);
        case.case = Case::Lower;
        let mut page = Declared::new("page", Kind::Number);
        page.default = Some("1".into());
        let plan = ClassPlan::display("search")
            .query("SELECT :q, :page")
            .parameter(case)
            .parameter(page)
            .ignore(["ref*"])
            .same_for_everyone()
            .build()
            .unwrap();
        let form = key_form(&plan, NO_TYPES).unwrap();
        assert_eq!(form.parse("page=01&q=Red++Shoes&ref_x=9").unwrap(), form.parse("q=red+shoes").unwrap());
        assert!(form.parse("q=a&unknown=1").is_err());
    }

    #[test]
    fn a_key_of_both_kinds_is_refused() {
        let plan = ClassPlan::display("both")
            .query("SELECT :id, :q")
            .key(["id"])
            .parameter(Declared::new("q", Kind::Text))
            .same_for_everyone()
            .build()
            .unwrap();
        assert!(matches!(key_form(&plan, NO_TYPES), Err(CatalogError::MixedKey { .. })));
    }
}
