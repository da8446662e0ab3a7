//! From an answer's bytes to what it says.

use std::time::Duration;

use redis::Value;
use serde::Deserialize;

use crate::{
    history::{Seen, ServedBy},
    world::schema::{Row, body},
};

/// A row as JSON; what else stands in it is of no interest.
#[derive(Debug, Deserialize)]
struct Json {
    id: u32,
    version: u64,
    balance: Option<i64>,
    body: Option<String>,
}

/// What a row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) seen: Seen,
    pub(super) balance: Option<i64>,
}

impl Said {
    pub(super) const ABSENT: Self = Self { seen: Seen::Absent, balance: None };
    const FOREIGN: Self = Self { seen: Seen::Foreign, balance: None };

    /// What the JSON of `row` says; a row of another key, or what is no row at all, is foreign.
    pub(super) fn of_json(row: Row, json: &[u8]) -> Self {
        let Ok(json) = serde_json::from_slice::<Json>(json) else { return Self::FOREIGN };
        let belongs = json.id == row.id
            && match row.class {
                "account" => json.balance.is_some(),
                _ => json.body.is_some_and(|text| text == body(row)),
            };
        if belongs {
            Self { seen: Seen::Version(json.version), balance: json.balance }
        } else {
            Self::FOREIGN
        }
    }
}

/// What `TRUEUP.GET` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Evidence {
    pub(super) said: Said,
    /// The answer claims to reflect everything acknowledged longer ago than this.
    pub(super) age: Duration,
    pub(super) served_by: ServedBy,
}

impl Evidence {
    /// The answer about `row`; none where it is an error.
    pub(super) fn of_resp(row: Row, answer: &Value) -> Option<Self> {
        let Value::Array(parts) = answer else { return None };
        let [value, _, Value::Int(age_ms), Value::BulkString(served_by)] = parts.as_slice() else {
            return None;
        };
        let said = match value {
            Value::Nil => Said::ABSENT,
            Value::BulkString(json) => Said::of_json(row, json),
            _ => return None,
        };
        let served_by = ServedBy::parse(std::str::from_utf8(served_by).ok()?)?;
        let age = Duration::from_millis(u64::try_from(*age_ms).ok()?);
        Some(Self { said, age, served_by })
    }

    /// How old the answer may be: as old as it says (the millisecond is cut off, not rounded), and never older than
    /// `promised`. None where it calls itself unproven.
    pub(super) fn bound(&self, promised: Duration) -> Option<Duration> {
        let claimed = self.age + Duration::from_millis(1);
        (self.served_by != ServedBy::Stale).then(|| promised.min(claimed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ITEM: Row = Row { class: "item", id: 7, object: 3 };

    fn answer(json: &str, served_by: &str) -> Value {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        Value::Array(vec![text(json), text("00"), Value::Int(12), text(served_by)])
    }

    #[test]
    fn an_answer_says_what_when_and_whence() {
        let json = r#"{"id":7,"body":"item 7","slot":7,"version":3,"writer":"w","later":null}"#;
        let evidence = Evidence::of_resp(ITEM, &answer(json, "l1")).unwrap();
        assert_eq!(evidence.said, Said { seen: Seen::Version(3), balance: None });
        assert_eq!(evidence.bound(Duration::from_secs(1)), Some(Duration::from_millis(13)));
        assert_eq!(evidence.bound(Duration::from_millis(5)), Some(Duration::from_millis(5)));
        let stale = Evidence::of_resp(ITEM, &answer(json, "stale")).unwrap();
        assert_eq!(stale.bound(Duration::from_secs(1)), None);
    }

    #[test]
    fn another_row_is_foreign_and_an_error_is_no_answer() {
        let other =
            Evidence::of_resp(ITEM, &answer(r#"{"id":7,"body":"item 8","version":3}"#, "l2")).unwrap();
        assert_eq!(other.said.seen, Seen::Foreign);
        assert_eq!(Evidence::of_resp(ITEM, &Value::Okay), None);
        assert_eq!(Evidence::of_resp(ITEM, &answer("{}", "moon")), None);
    }
}
