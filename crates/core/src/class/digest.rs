//! Fingerprint of whatever changes the meaning of stored bytes.

use sha2::{Digest as _, Sha256};

use super::{Invalidation, KeyPlan, Kind, Origin, PlanDigest, Settings, Tags, secret::SECRET_RULES_VERSION};

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
    origin(&mut fields, &plan.origin);
    key(&mut fields, &plan.key);
    tags(&mut fields, &plan.invalidation);
    fields.number(u64::from(SECRET_RULES_VERSION));
    fields.set(&plan.never_cache.columns);
    fields.set(&plan.never_cache.allowed);
    fields.number(u64::from(plan.format));
    let sum = fields.0.finalize();
    std::array::from_fn(|i| sum[i])
}

fn origin(fields: &mut Fields, origin: &Origin) {
    match origin {
        Origin::Table(table) => {
            fields.number(0);
            fields.text(table);
        }
        Origin::Query(sql) => {
            fields.number(1);
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
