//! A class that declares a scope cannot be read without it, and every way in gives one key.

use trueup_core::key::{
    CacheKey, Collation, ColumnForm, Dimension, FormError, KeyBody, KeyError, KeyForm, KeyPart, KeyPieces,
    KeyShape, OwnedSqlValue, ParamForm, Parameter, Part, ScopeDimension, Scoped, SqlValue, ValueRule,
    split_class,
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

struct Role(i16);
impl KeyPart for Role {
    fn value(&self) -> SqlValue<'_> {
        SqlValue::Int(self.0.into())
    }
}
impl ScopeDimension for Role {
    const NAME: &'static str = "role";
}

fn user_form() -> KeyForm {
    let tenant = Dimension::new("tenant", ColumnForm::Text(Collation::NoCase));
    let role = Dimension::new("role", ColumnForm::Integer);
    KeyForm::columns([Part::new("id", ColumnForm::Integer)]).unwrap().scoped_by([tenant, role]).unwrap()
}

#[test]
fn every_way_in_gives_one_key() {
    let form = user_form();
    let key = form.key(&Scoped::new((Tenant("Acme"), Role(3)), 42_u32)).unwrap();
    assert_eq!(key.as_str(), "@role=3&tenant=acme:42");
    assert_eq!(form.key(&Scoped::new((Role(3), Tenant("acme")), 42_i64)).as_ref(), Ok(&key));
    assert_eq!(form.parse("@tenant=ACME&role=03:+42.0").as_ref(), Ok(&key));
    assert_eq!(form.parse("@role=%33&tenant=acm%65:0042").as_ref(), Ok(&key));
    let scope = [("tenant", "aCme"), ("role", " 3 ")];
    assert_eq!(form.assemble(&scope, KeyPieces::Parts(&["42"])).as_ref(), Ok(&key));
}

#[test]
fn a_key_that_forgets_or_invents_a_dimension_is_refused() {
    let form = user_form();
    let missing = |dimension: &str| KeyError::MissingScope { dimension: dimension.into() };
    assert_eq!(form.parse("42"), Err(missing("role")));
    assert_eq!(form.parse("@role=3:42"), Err(missing("tenant")));
    assert_eq!(form.key(&42), Err(missing("role")));
    assert_eq!(form.with_name(&42, |_| ()), Err(missing("role")), "nor is it named by its integer alone");
    assert_eq!(form.key(&Scoped::new(Role(3), 42)), Err(missing("tenant")));
    assert_eq!(form.assemble(&[("role", "3")], KeyPieces::Parts(&["42"])), Err(missing("tenant")));
    assert_eq!(form.accepts::<Scoped<Role, i64>>(), Err(missing("tenant")));
    assert_eq!(form.accepts::<Scoped<(Role, Tenant), i64>>(), Ok(()));

    let unknown = form.parse("@role=3&tenant=acme&flag=1:42");
    assert_eq!(unknown, Err(KeyError::UnknownScope { position: 3, declared: "role, tenant".into() }));
    assert_eq!(
        form.parse("@role=3&tenant=acme&role=3:42"),
        Err(KeyError::RepeatedScope { dimension: "role".into() })
    );
    assert_eq!(form.parse("@role=3&tenant=acme"), Err(KeyError::UnclosedScope));
    let plain = KeyForm::columns([Part::new("id", ColumnForm::Integer)]).unwrap();
    let invented = Err(KeyError::UnknownScope { position: 1, declared: "none".into() });
    assert_eq!(plain.key(&Scoped::new(Tenant("acme"), 42)), invented);
    assert_eq!(plain.parse("@tenant=acme:42"), invented);
}

#[test]
fn shape_arity_and_type_are_checked() {
    let pair =
        KeyForm::columns([Part::new("a", ColumnForm::Integer), Part::new("b", ColumnForm::Boolean)]).unwrap();
    let arity = |given| KeyError::WrongArity { given, expected: 2 };
    assert_eq!(pair.key(&(1, true)).unwrap().as_str(), "1,true");
    assert_eq!(pair.parse("01,T").unwrap().as_str(), "1,true");
    assert_eq!(pair.key(&1), Err(arity(1)));
    assert_eq!(pair.accepts::<(i64, bool, i64)>(), Err(arity(3)));
    assert_eq!(pair.parse("1"), Err(arity(1)));
    assert_eq!(pair.parse("1,t,2"), Err(arity(3)));
    let wrong = |part: &str, expected| KeyError::WrongType { part: part.into(), expected };
    assert_eq!(pair.parse("x,t"), Err(wrong("a", "a 64-bit integer, such as 42")));
    assert_eq!(pair.key(&(u64::MAX, true)), Err(wrong("a", "a 64-bit integer, such as 42")));
    assert_eq!(pair.parse("1,t%"), Err(KeyError::BadEncoding));
    assert_eq!(pair.parse("!what,t"), Err(KeyError::BadMark { part: "a".into() }));
    let parameters = KeyPieces::Parameters(&[("a", "1")]);
    assert!(matches!(pair.assemble(&[], parameters), Err(KeyError::WrongShape { .. })));
}

#[test]
fn short_typed_keys_stay_inline() {
    let form = KeyForm::columns([Part::new("id", ColumnForm::Integer)]).unwrap();
    assert_eq!(form.key(&i64::MIN).unwrap().heap_bytes(), 0);
    assert_eq!(user_form().key(&Scoped::new((Tenant("acme"), Role(3)), 7)).unwrap().as_str().len(), 21);
    let text = KeyForm::columns([Part::new("id", ColumnForm::Text(Collation::Binary))]).unwrap();
    assert_eq!(text.key("exactly-24-bytes-of-text").unwrap().heap_bytes(), 0);
    assert!(text.key("one byte more than there is room").unwrap().heap_bytes() > 0);
}

/// A typed key of parameters.
struct Search {
    text: String,
    page: Option<u32>,
}

impl CacheKey for Search {
    const SHAPE: KeyShape = KeyShape::Parameters;

    fn part(&self, _index: usize) -> Option<SqlValue<'_>> {
        None
    }

    fn parameters(&self, visit: &mut dyn FnMut(&str, SqlValue<'_>)) {
        visit("q", SqlValue::Text(&self.text));
        visit("page", self.page.map_or(SqlValue::Null, |page| SqlValue::Int(page.into())));
    }
}

#[test]
fn typed_parameters_and_their_defaults() {
    let q = Parameter::new("q", ValueRule::search_text()).required();
    let page = Parameter::new("page", ValueRule::Number).default_value("01");
    let form = ParamForm { parameters: vec![q, page], ..ParamForm::default() };
    let form = KeyForm::parameters(form).unwrap();
    let key = form.key(&Search { text: " Trail  Shoes".into(), page: Some(1) }).unwrap();
    assert_eq!(key.as_str(), "q=trail%20shoes");
    assert_eq!(form.key(&Search { text: "trail shoes".into(), page: None }).as_ref(), Ok(&key));
    let KeyBody::Parameters(pairs) = form.values(&key).unwrap().body else { unreachable!() };
    assert_eq!(pairs, [("page".to_owned(), "1".to_owned()), ("q".to_owned(), "trail shoes".to_owned())]);
    assert_eq!(form.parse("page=2"), Err(KeyError::MissingParameter { parameter: "q".into() }));
    assert_eq!(form.accepts::<Search>(), Ok(()));
}

#[test]
fn a_key_is_taken_apart_with_types() {
    let form = user_form();
    let values = form.values(&form.parse("@role=3&tenant=Acme:042").unwrap()).unwrap();
    let scope =
        [("role".into(), OwnedSqlValue::Int(3)), ("tenant".into(), OwnedSqlValue::Text("acme".into()))];
    assert!(values.scope == scope && values.body == KeyBody::Columns(vec![OwnedSqlValue::Int(42)]));
    let other = KeyForm::columns([]).unwrap();
    assert!(other.values(&form.parse("@role=3&tenant=Acme:042").unwrap()).is_err());
}

#[test]
fn a_class_may_have_one_value_for_each_scope() {
    let form = KeyForm::columns([]).unwrap();
    assert!(form.parse("").unwrap().is_empty());
    assert_eq!(form.parse("1"), Err(KeyError::WrongArity { given: 1, expected: 0 }));
    let scoped = form.scoped_by([Dimension::new("tenant", ColumnForm::Integer)]).unwrap();
    assert_eq!(scoped.parse("@tenant=07:").unwrap().as_str(), "@tenant=7:");
}

#[test]
fn class_and_key_are_split_where_clients_join_them() {
    assert_eq!(split_class("user:42"), Some(("user", "42")));
    assert_eq!(split_class("user@tenant=acme:42"), Some(("user", "@tenant=acme:42")));
    assert_eq!(split_class("user:@tenant=acme:42"), Some(("user", "@tenant=acme:42")));
    assert_eq!(split_class("file:a:b"), Some(("file", "a:b")));
    assert_eq!(split_class("user"), None);
    assert_eq!(split_class(":42"), None);
}

#[test]
fn a_form_that_contradicts_itself_is_refused() {
    let part = || Part::new("id", ColumnForm::Integer);
    assert_eq!(KeyForm::columns([part(), part()]), Err(FormError::DuplicateName { name: "id".into() }));
    let scoped = |name: &str| {
        KeyForm::columns([part()]).unwrap().scoped_by([Dimension::new(name, ColumnForm::Integer)])
    };
    assert_eq!(scoped("a=b"), Err(FormError::BadName { name: "a=b".into() }));
    let with = |parameters| KeyForm::parameters(ParamForm { parameters, ..ParamForm::default() });
    let page = || Parameter::new("page", ValueRule::Number);
    assert!(matches!(with(vec![page(), page()]), Err(FormError::DuplicateName { .. })));
    assert!(matches!(with(vec![page().default_value("one")]), Err(FormError::BadDeclaredValue { .. })));
    assert!(matches!(
        with(vec![page().required().default_value("1")]),
        Err(FormError::RequiredWithDefault { .. })
    ));
}
