//! One product, cached once, however its query is spelled.

use std::collections::HashSet;

use trueup_core::key::{
    IgnoredName, Key, KeyError, KeyForm, LetterCase, ParamForm, Parameter, Repeated, UnicodeForm,
    UnknownParameters, ValueRule,
};

fn product_form() -> KeyForm {
    let tags = Parameter::new("tag", ValueRule::search_text()).repeated(Repeated::Set);
    KeyForm::parameters(ParamForm {
        parameters: vec![
            Parameter::new("q", ValueRule::search_text()).required(),
            Parameter::new("in_stock", ValueRule::Boolean),
            Parameter::new("page", ValueRule::Number).default_value("1"),
            Parameter::new("max_price", ValueRule::Number),
            Parameter::new("sort", ValueRule::one_of(["price", "rating"])).default_value("rating"),
            tags,
        ],
        ignored: vec![IgnoredName::Exact("session".into()), IgnoredName::Prefix("x_".into())],
        names: LetterCase::Fold,
        unicode: UnicodeForm::Nfkc,
        ..ParamForm::default()
    })
    .unwrap()
}

/// Each line spells `red café shoes, in stock, at most 50, tagged sale and new` in its own way.
const SPELLINGS: [&str; 56] = [
    "q=red+caf%C3%A9+shoes&in_stock=true&max_price=50&tag=new&tag=sale",
    "in_stock=true&q=red+caf%C3%A9+shoes&max_price=50&tag=new&tag=sale",
    "max_price=50&in_stock=true&q=red+caf%C3%A9+shoes&tag=new&tag=sale",
    "tag=new&max_price=50&in_stock=true&q=red+caf%C3%A9+shoes&tag=sale",
    "tag=sale&tag=new&q=red+caf%C3%A9+shoes&in_stock=true&max_price=50",
    "tag=sale&tag=new&tag=sale&q=red+caf%C3%A9+shoes&in_stock=true&max_price=50",
    "q=red%20caf%C3%A9%20shoes&in_stock=true&max_price=50&tag=new&tag=sale",
    "q=red%20caf%c3%a9%20shoes&in_stock=true&max_price=50&tag=new&tag=sale",
    "q=red café shoes&in_stock=true&max_price=50&tag=new&tag=sale",
    "q=red cafe\u{301} shoes&in_stock=true&max_price=50&tag=new&tag=sale",
    "q=red+cafe%CC%81+shoes&in_stock=true&max_price=50&tag=new&tag=sale",
    "q=Red+Caf%C3%A9+Shoes&in_stock=true&max_price=50&tag=new&tag=sale",
    "q=RED+CAF%C3%89+SHOES&in_stock=true&max_price=50&tag=new&tag=sale",
    "q=red+CAFE%CC%81+shoes&in_stock=true&max_price=50&tag=new&tag=sale",
    "q=++red+caf%C3%A9+shoes&in_stock=true&max_price=50&tag=new&tag=sale",
    "q=red+caf%C3%A9+shoes++&in_stock=true&max_price=50&tag=new&tag=sale",
    "q=red++caf%C3%A9++shoes&in_stock=true&max_price=50&tag=new&tag=sale",
    "q=red%09caf%C3%A9%0Ashoes&in_stock=true&max_price=50&tag=new&tag=sale",
    "q=red%C2%A0caf%C3%A9+shoes&in_stock=true&max_price=50&tag=new&tag=sale",
    "q=%EF%BD%92ed+caf%C3%A9+shoes&in_stock=true&max_price=50&tag=new&tag=sale",
    "q=%72%65%64+caf%C3%A9+shoes&in_stock=true&max_price=50&tag=new&tag=sale",
    "q=red+caf%C3%A9+shoes&in_stock=True&max_price=50&tag=new&tag=sale",
    "q=red+caf%C3%A9+shoes&in_stock=TRUE&max_price=50&tag=new&tag=sale",
    "q=red+caf%C3%A9+shoes&in_stock=1&max_price=50&tag=new&tag=sale",
    "q=red+caf%C3%A9+shoes&in_stock=yes&max_price=50&tag=new&tag=sale",
    "q=red+caf%C3%A9+shoes&in_stock=on&max_price=50&tag=new&tag=sale",
    "q=red+caf%C3%A9+shoes&in_stock=t&max_price=50&tag=new&tag=sale",
    "q=red+caf%C3%A9+shoes&in_stock=+true+&max_price=50&tag=new&tag=sale",
    "q=red+caf%C3%A9+shoes&in_stock=true&max_price=50.0&tag=new&tag=sale",
    "q=red+caf%C3%A9+shoes&in_stock=true&max_price=50.00&tag=new&tag=sale",
    "q=red+caf%C3%A9+shoes&in_stock=true&max_price=050&tag=new&tag=sale",
    "q=red+caf%C3%A9+shoes&in_stock=true&max_price=%2B50&tag=new&tag=sale",
    "q=red+caf%C3%A9+shoes&in_stock=true&max_price=+50&tag=new&tag=sale",
    "q=red+caf%C3%A9+shoes&in_stock=true&max_price=5e1&tag=new&tag=sale",
    "q=red+caf%C3%A9+shoes&in_stock=true&max_price=50&tag=New&tag=SALE",
    "q=red+caf%C3%A9+shoes&in_stock=true&max_price=50&tag=+new&tag=sale+",
    "q=red+caf%C3%A9+shoes&in_stock=true&max_price=50&tag=new&tag=sale&page=1",
    "q=red+caf%C3%A9+shoes&in_stock=true&max_price=50&tag=new&tag=sale&page=01",
    "q=red+caf%C3%A9+shoes&in_stock=true&max_price=50&tag=new&tag=sale&page=1.0",
    "q=red+caf%C3%A9+shoes&in_stock=true&max_price=50&tag=new&tag=sale&sort=rating",
    "q=red+caf%C3%A9+shoes&in_stock=true&max_price=50&tag=new&tag=sale&sort=Rating",
    "sort=rating&page=1&q=red+caf%C3%A9+shoes&in_stock=true&max_price=50&tag=new&tag=sale",
    "Q=red+caf%C3%A9+shoes&in_stock=true&max_price=50&tag=new&tag=sale",
    "q=red+caf%C3%A9+shoes&In_Stock=true&MAX_PRICE=50&Tag=new&TAG=sale",
    "%71=red+caf%C3%A9+shoes&in%5Fstock=true&max_price=50&tag=new&tag=sale",
    "q=red+caf%C3%A9+shoes&in_stock=true&max_price=50&tag=new&tag=sale&utm_source=mail",
    "utm_source=mail&utm_medium=x&q=red+caf%C3%A9+shoes&in_stock=true&max_price=50&tag=new&tag=sale",
    "q=red+caf%C3%A9+shoes&gclid=abc&in_stock=true&max_price=50&tag=new&tag=sale",
    "q=red+caf%C3%A9+shoes&in_stock=true&max_price=50&tag=new&tag=sale&fbclid=1&ScCid=2",
    "q=red+caf%C3%A9+shoes&in_stock=true&max_price=50&tag=new&tag=sale&UTM_CAMPAIGN=may",
    "q=red+caf%C3%A9+shoes&in_stock=true&max_price=50&tag=new&tag=sale&session=42",
    "q=red+caf%C3%A9+shoes&in_stock=true&max_price=50&tag=new&tag=sale&x_debug=1&X_trace=2",
    "&q=red+caf%C3%A9+shoes&in_stock=true&max_price=50&tag=new&tag=sale",
    "q=red+caf%C3%A9+shoes&&in_stock=true&max_price=50&tag=new&tag=sale&",
    "Tag=SALE&q=+RED%0Acafe%CC%81++Shoes&page=01&MAX_price=050.00&gclid=z&in_stock=Y&tag=new&tag=New&sort=RATING",
    "q=red%20caf%C3%A9%20shoes&in_stock=%74rue&max_price=5%30&tag=%6Eew&tag=sale",
];

#[test]
fn one_product_is_cached_once_however_it_is_spelled() {
    let form = product_form();
    let texts: HashSet<&str> = SPELLINGS.into_iter().collect();
    assert!(texts.len() >= 47 && texts.len() == SPELLINGS.len());
    let keys: HashSet<Key> = SPELLINGS.into_iter().map(|text| form.parse(text).unwrap()).collect();
    let keys: Vec<&str> = keys.iter().map(Key::as_str).collect();
    assert_eq!(keys, ["in_stock=true&max_price=50&q=red%20café%20shoes&tag=new&tag=sale"]);
}

#[test]
fn what_differs_stays_apart() {
    let form = product_form();
    let queries = [
        "q=shoes",
        "q=shoe",
        "q=shoes&page=2",
        "q=shoes&in_stock=1",
        "q=shoes&in_stock=0",
        "q=shoes&max_price=50",
        "q=shoes&max_price=50.01",
        "q=shoes&sort=price",
        "q=shoes&tag=new",
        "q=shoes&tag=new&tag=sale",
        "q=red+shoes",
        "q=redshoes",
        "q=shoes&q=red",
        "q=red&q=shoes",
    ];
    let keys: HashSet<Key> = queries.into_iter().map(|text| form.parse(text).unwrap()).collect();
    assert_eq!(keys.len(), queries.len());
}

#[test]
fn every_choice_of_the_form_counts() {
    let pages = |form: ParamForm, text: &str| KeyForm::parameters(form).unwrap().parse(text);
    let keep = || ParamForm { unknown: UnknownParameters::Keep, ..ParamForm::default() };
    let text = |result: Result<Key, KeyError>| result.unwrap().as_str().to_owned();
    let unknown = pages(ParamForm::default(), "utm_source=x&b=1");
    assert_eq!(unknown, Err(KeyError::UnknownParameter { position: 2, declared: "none".into() }));
    assert_eq!(text(pages(keep(), "b=2&a&b=1&utm_source=x")), "a=&b=2&b=1");
    assert_eq!(text(pages(ParamForm { ignore_tracking: false, ..keep() }, "gclid=x")), "gclid=x");
    assert_eq!(text(pages(ParamForm { plus_is_space: false, ..keep() }, "a=1+2")), "a=1%2B2");
    assert_eq!(text(pages(keep(), "a=1+2&A=%EF%BC%91")), "A=１&a=1%202");
    assert_eq!(text(pages(ParamForm { unicode: UnicodeForm::Nfkc, ..keep() }, "a=%EF%BC%91")), "a=1");

    let once = Parameter::new("a", ValueRule::exact_text()).repeated(Repeated::Refuse);
    let once = ParamForm { parameters: vec![once], ..ParamForm::default() };
    assert_eq!(pages(once, "a=1&a=1"), Err(KeyError::RepeatedParameter { parameter: "a".into() }));
    // A declared parameter is kept even where the tracking list knows its name.
    let declared = ParamForm {
        parameters: vec![Parameter::new("epik", ValueRule::exact_text())],
        ..ParamForm::default()
    };
    assert_eq!(text(pages(declared, "epik=1")), "epik=1");
}
