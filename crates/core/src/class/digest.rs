//! Fingerprint of whatever changes the meaning of stored bytes.

use sha2::{Digest as _, Sha256};

use super::{
    Invalidation, KeyPlan, Kind, Origin, PlanDigest, Rows, Settings, Tags, secret::SECRET_RULES_VERSION,
};

/// Raised when the fields below change: all stored entries are then misses.
const DIGEST_FORM: &[u8] = b"trueup class plan 1";

/// Length-prefixed fields, so that no two plans write the same bytes.
struct Fields(Sha256);

impl Fields {
    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.update(text.as_bytes());
    }

    fn number(&mut self, number: u64) {
        self.0.update(number.to_le_bytes());
    }

    fn texts<T: AsRef<str>>(&mut self, texts: &[T]) {
        self.number(texts.len() as u64);
        texts.iter().for_each(|text| self.text(text.as_ref()));
    }

    /// A list whose order has no meaning.
    fn set<T: AsRef<str>>(&mut self, texts: &[T]) {
        let mut sorted: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
        sorted.sort_unstable();
        self.texts(&sorted);
    }
}

pub(super) fn digest(plan: &Settings) -> PlanDigest {
    let mut fields = Fields(Sha256::new());
    fields.0.update(DIGEST_FORM);
    fields.text(&plan.name);
    origin(&mut fields, &plan.origin, plan.rows);
    key(&mut fields, &plan.key);
    tags(&mut fields, &plan.invalidation);
    fields.number(u64::from(SECRET_RULES_VERSION));
    fields.set(&plan.never_cache.columns);
    fields.set(&plan.never_cache.allowed);
    fields.number(u64::from(plan.format));
    let sum = fields.0.finalize();
    std::array::from_fn(|i| sum[i])
}

fn origin(fields: &mut Fields, origin: &Origin, rows: Rows) {
    match origin {
        Origin::Table(table) => {
            fields.number(0);
            fields.text(table);
        }
        Origin::Query(sql) => {
            fields.number(if rows == Rows::Many { 4 } else { 1 });
            fields.text(sql);
        }
        Origin::Loader => fields.number(2),
        Origin::External => fields.number(3),
    }
}

fn key(fields: &mut Fields, key: &KeyPlan) {
    fields.texts(&key.scope);
    fields.texts(&key.columns);
    let mut parameters: Vec<_> = key.parameters.iter().collect();
    parameters.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    fields.number(parameters.len() as u64);
    for parameter in parameters {
        fields.text(&parameter.name);
        match &parameter.kind {
            Kind::Text => fields.number(0),
            Kind::Boolean => fields.number(1),
            Kind::Number => fields.number(2),
            Kind::Enum(values) => {
                fields.number(3);
                fields.set(values);
            }
        }
        fields.number(parameter.case as u64);
        fields.number(u64::from(parameter.trim));
        fields.texts(parameter.default.as_slice());
        fields.number(parameter.repeated as u64);
    }
    fields.set(&key.ignore);
    fields.number(key.unknown as u64);
    fields.number(key.unicode as u64);
}

fn tags(fields: &mut Fields, invalidation: &Invalidation) {
    match invalidation {
        Invalidation::AgeBounded { .. } => fields.number(0),
        Invalidation::Feed(Tags::Row) => fields.number(1),
        Invalidation::Feed(Tags::Any) => fields.number(2),
        Invalidation::Feed(Tags::Groups(groups)) => {
            fields.number(3);
            fields.number(groups.len() as u64);
            for group in groups {
                fields.text(&group.table);
                fields.texts(&group.columns);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::class::{
        AtRest, Case, ClassPlan, ClassPlanBuilder, Kind, Parameter, PlanDigest, Repeated, Rows, Tags,
        Unicode, Unknown,
    };

    fn shelf() -> ClassPlanBuilder {
        let sort = Kind::Enum(vec!["price".into(), "name".into()]);
        ClassPlan::display("shelf")
            .query("SELECT * FROM p WHERE category = :category AND q = :q ORDER BY :sort")
            .key(["category"])
            .parameter(Parameter { case: Case::Lower, ..Parameter::new("q", Kind::Text) })
            .parameter(Parameter { default: Some("name".into()), ..Parameter::new("sort", sort) })
            .ignore(["utm_*", "gclid"])
            .scope(["tenant"])
            .tags(Tags::Groups(vec!["p:category".parse().unwrap()]))
            .never_columns(["cost"])
    }

    fn digest(class: ClassPlanBuilder) -> PlanDigest {
        class.build().unwrap().cacheable().unwrap().digest()
    }

    fn hex(digest: PlanDigest) -> String {
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Fixed for ever: when this moves, every entry in every remote tier is lost. Raise `DIGEST_FORM` knowingly.
    #[test]
    fn the_digest_of_an_example_never_moves() {
        assert_eq!(hex(digest(shelf())), "4bf96039bfb5b6e966533b0340f51c59");
        assert_eq!(
            hex(digest(ClassPlan::display("user").table("user").key(["id"]))),
            "845597003da28793641eaaeb6acb0d0c"
        );
    }

    #[test]
    fn lives_sizes_and_policies_do_not_move_it() {
        let tuned = shelf()
            .life(Duration::from_secs(30))
            .max_staleness(Duration::from_millis(100))
            .value_bytes_max(1000)
            .l2()
            .at_rest(AtRest::Encrypted)
            .jitter(0.5)
            .no_negative()
            .serve_stale(Duration::from_secs(9));
        assert_eq!(digest(tuned), digest(shelf()));
    }

    #[test]
    fn order_without_meaning_does_not_move_it() {
        assert_eq!(digest(shelf().ignore(["gclid", "utm_*"])), digest(shelf()));
    }

    #[test]
    fn whatever_changes_the_meaning_of_bytes_moves_it() {
        let sql = "SELECT id FROM p WHERE category = :category AND q = :q ORDER BY :sort";
        let set = Parameter { repeated: Repeated::Set, ..Parameter::new("x", Kind::Text) };
        let changed = [
            shelf().query(sql),
            shelf().query(sql).rows(Rows::Many),
            shelf().scope(["role"]),
            shelf().same_for_everyone(),
            shelf().ignore(["utm_*"]),
            shelf().unknown(Unknown::Keep),
            shelf().unicode(Unicode::Nfkc),
            shelf().tags(Tags::Any),
            shelf().age_bounded("me", "why").life(Duration::from_secs(9)),
            shelf().never_columns([""; 0]),
            shelf().allow_secret_looking(["pin"]),
            shelf().format(1),
            shelf().query(&format!("{sql}, :x")).parameter(set.clone()),
            shelf().query(&format!("{sql}, :x")).parameter(Parameter { repeated: Repeated::Keep, ..set }),
        ];
        let mut digests: Vec<PlanDigest> = changed.map(digest).into_iter().chain([digest(shelf())]).collect();
        let count = digests.len();
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), count);
    }
}
