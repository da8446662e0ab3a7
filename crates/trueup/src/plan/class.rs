//! `[class.NAME]`: one class and its ten decisions.

use trueup_core::class::{
    Case, ClassPlan, ClassPlanBuilder, Group, Invalidation, Kind, Parameter, Pattern, PlanError, Purpose,
    Repeated, Rows, SECOND_DELETE_AFTER_DEFAULT, Tags, Unicode, Unknown,
};

use super::{
    absent,
    error::{Place, Problem},
    node::{Entry, Value},
    section::Section,
    tunables::Tunables,
};

/// Reads one class over `[defaults]`; `None` after a finding.
pub(super) fn read(
    name: &str,
    section: Section<'_>,
    defaults: &Tunables,
    defaults_section: &Section<'_>,
) -> Option<ClassPlan> {
    let purpose = section.choice("purpose", &Purpose::ALL.map(|purpose| (purpose.as_str(), purpose)));
    let mut class = ClassPlan::of(purpose.unwrap_or(Purpose::Display), name);
    class = origin(&section, class);
    class = key(&section, class);
    if let Some(scope) = section.texts("scope") {
        class = class.scope(scope);
    }
    if let Some(part) = section.text("versioned_by") {
        class = class.versioned_by(&part);
    }
    if let Some(rows) = section.choice("rows", &[Rows::One, Rows::Many].map(|rows| (rows.as_str(), rows))) {
        class = class.rows(rows);
    }
    if let Some(format) = section.count("format", 0..=u64::from(u32::MAX)) {
        class = class.format(format as u32);
    }
    class = pattern(&section, class);
    if let Some(invalidation) = invalidation(&section) {
        class = class.invalidation(invalidation);
    }
    class = class.never_columns(section.texts("never_columns").unwrap_or_default());
    class = class.allow_secret_looking(section.texts("allow_secret_looking").unwrap_or_default());
    class = absent::read(&section, class);
    let own = Tunables::read(&section);
    class = own.over(defaults, purpose.unwrap_or(Purpose::Display)).apply(class);
    let purpose_stated = section.place_of("purpose").is_some();
    let built = finish(&section, class, defaults_section).filter(|_| purpose.is_some() || !purpose_stated);
    section.finish("key");
    built
}

/// Builds the class; each error goes to the line of its field, in the class or in `[defaults]`.
fn finish(section: &Section<'_>, class: ClassPlanBuilder, defaults: &Section<'_>) -> Option<ClassPlan> {
    let errors = match class.build() {
        Ok(plan) => return Some(plan),
        Err(errors) => errors.0,
    };
    for error in errors {
        let (place, path) = place_of(&error, section, defaults);
        // A setting of the wrong type has been reported; that it is missing would only confuse.
        if path == section.path || !section.is_reported(&path) {
            section.report_at(place, path, error);
        }
    }
    None
}

fn place_of(error: &PlanError, section: &Section<'_>, defaults: &Section<'_>) -> (Place, String) {
    let Some(field) = error.field() else { return (section.place.clone(), section.path.clone()) };
    let own = section.place_of(field).map(|place| (place, section.path_of(field)));
    let general = || defaults.place_of(field).map(|place| (place, defaults.path_of(field)));
    own.or_else(general).unwrap_or_else(|| (section.place.clone(), section.path.clone()))
}

fn origin(section: &Section<'_>, class: ClassPlanBuilder) -> ClassPlanBuilder {
    let (table, query) = (section.text("table"), section.text("query"));
    let elsewhere = section.choice("origin", &[("external", true), ("loader", false)]);
    let stated = [table.is_some(), query.is_some(), elsewhere.is_some()];
    if stated.into_iter().filter(|stated| *stated).count() > 1 {
        let fix = "keep one of `table`, `query` and `origin`";
        section.conflict("table", "values of a class come from one place", fix);
    }
    match (table, query, elsewhere) {
        (Some(table), ..) => class.table(&table),
        (_, Some(query), _) => class.query(&query),
        (.., Some(true)) => class.external(),
        (.., Some(false)) => class.loader(),
        (None, None, None) => class,
    }
}

fn pattern(section: &Section<'_>, class: ClassPlanBuilder) -> ClassPlanBuilder {
    let names = ["read-through", "cache-aside", "write-through", "write-behind", "delete-update-delete"];
    let chosen = section.choice("pattern", &names.map(|name| (name, name)));
    let loss = section.text("loss");
    if loss.is_some() && chosen != Some("write-behind") {
        section.conflict("loss", "only write-behind can lose what it acknowledged", "remove `loss`");
    }
    let pause = section.duration("second_delete_after");
    if pause.is_some() && chosen != Some("delete-update-delete") {
        let fix = "remove `second_delete_after`";
        section.conflict("second_delete_after", "only delete-update-delete deletes twice", fix);
    }
    match chosen {
        Some("delete-update-delete") => {
            class.pattern(Pattern::DeleteUpdateDelete { pause: pause.unwrap_or(SECOND_DELETE_AFTER_DEFAULT) })
        }
        Some("cache-aside") => class.pattern(Pattern::CacheAside),
        Some("write-through") => class.pattern(Pattern::WriteThrough),
        Some("write-behind") => class.pattern(Pattern::WriteBehind { loss: loss.unwrap_or_default() }),
        Some(_) => class.pattern(Pattern::ReadThrough),
        None => class,
    }
}

/// `"row"`, `"any"`, a list of groups, or a table naming who answers for an age-bounded class.
fn invalidation(section: &Section<'_>) -> Option<Invalidation> {
    match &section.get("invalidation")?.value {
        Value::Text(text) | Value::Loose(text) if !text.contains(':') => {
            let tags = [("row", false), ("any", true)];
            let any = section.choice("invalidation", &tags)?;
            Some(Invalidation::Feed(if any { Tags::Any } else { Tags::Row }))
        }
        Value::Table(_) => {
            let inner = section.section("invalidation");
            let owner = inner.text("owner").unwrap_or_default();
            let reason = inner.text("reason").unwrap_or_default();
            inner.finish("key");
            Some(Invalidation::AgeBounded { owner, reason })
        }
        _ => {
            let conflict = |problem| section.conflict("invalidation", problem, "or write \"row\" or \"any\"");
            let group = |text: String| text.parse::<Group>().map_err(conflict).ok();
            let groups = section.texts("invalidation")?;
            Some(Invalidation::Feed(Tags::Groups(groups.into_iter().filter_map(group).collect())))
        }
    }
}

/// `key = ["id"]`, or a table with columns, parameters and their rules.
fn key(section: &Section<'_>, class: ClassPlanBuilder) -> ClassPlanBuilder {
    if !matches!(section.get("key"), Some(Entry { value: Value::Table(_), .. })) {
        return class.key(section.texts("key").unwrap_or_default());
    }
    let table = section.section("key");
    let mut class = class.key(table.texts("columns").unwrap_or_default());
    class = class.ignore(table.texts("ignore").unwrap_or_default());
    let unknown = table.choice("unknown", &[("refuse", Unknown::Refuse), ("keep", Unknown::Keep)]);
    class = class.unknown(unknown.unwrap_or_default());
    let unicode = table.choice("unicode", &[("nfc", Unicode::Nfc), ("nfkc", Unicode::Nfkc)]);
    class = class.unicode(unicode.unwrap_or_default());
    for (name, rules) in table.section("parameters").named() {
        class = class.parameter(parameter(name, rules));
    }
    table.finish("key");
    class
}

fn parameter(name: &str, rules: Section<'_>) -> Parameter {
    let values = rules.texts("values");
    let kinds = [("text", Kind::Text), ("boolean", Kind::Boolean), ("number", Kind::Number)];
    let names = [("text", 0), ("boolean", 1), ("number", 2), ("enum", 3)];
    let chosen = rules.choice("type", &names);
    if chosen == Some(3) && values.is_none() {
        rules.conflict("type", "an enum needs its values", "write `values = [\"new\", \"used\"]`");
    }
    if chosen != Some(3) && values.is_some() {
        rules.conflict("values", "only an enum has values", "write `type = \"enum\"`");
    }
    let kind = match chosen {
        Some(3) => Kind::Enum(values.unwrap_or_default().into_iter().map(Into::into).collect()),
        other => kinds[other.unwrap_or(0)].1.clone(),
    };
    let mut parameter = Parameter::new(name, kind);
    parameter.case =
        rules.choice("case", &[("keep", Case::Keep), ("lower", Case::Lower)]).unwrap_or(parameter.case);
    parameter.trim = rules.flag("trim").unwrap_or(parameter.trim);
    parameter.default = scalar(&rules, "default").map(Into::into);
    let repeated = [("keep", Repeated::Keep), ("set", Repeated::Set)];
    parameter.repeated = rules.choice("repeated", &repeated).unwrap_or(parameter.repeated);
    rules.finish("key");
    parameter
}

/// A value as the parameter's text: `1`, `true` and `"new"` are all written plainly.
fn scalar(section: &Section<'_>, key: &'static str) -> Option<String> {
    match &section.get(key)?.value {
        Value::Text(text) | Value::Loose(text) | Value::Float(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(value) => Some(value.to_string()),
        other => {
            let (found, example) = (other.show(), "1, true or \"new\"");
            section.report(key, Problem::Type { found, wanted: "a single value", example });
            None
        }
    }
}
