//! `POST /v1/{class}/batch`: several keys of one class.

use std::borrow::Cow;

use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
    http::{HeaderMap, StatusCode, Uri},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use trueup::catalog::{Answer, CatalogClass};
use trueup_core::{key::Key, proof::Token, receipt::ServedBy};

use super::{App, headers, problem::Problem, read::class_of};
use crate::node::{AskError, check_count, fold_scope, parse_token};

/// What is asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Batch {
    /// Keys as text, or as numbers where a key is one number.
    keys: Vec<KeyText>,
    /// All answers from one state of the database.
    #[serde(default)]
    consistent: bool,
    /// As the header `Trueup-Token`, before which it goes.
    token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum KeyText {
    Text(String),
    Number(i64),
}

/// What is answered.
#[derive(Serialize)]
pub(super) struct Answers<'a> {
    answers: Vec<One<'a>>,
    token: Option<String>,
}

#[derive(Serialize)]
struct One<'a> {
    value: Option<&'a RawValue>,
    version: String,
    /// None where nothing is known of it.
    age_ms: Option<f64>,
    served_by: &'static str,
    proven: bool,
}

pub(super) async fn batch(
    State(app): State<App>,
    uri: Uri,
    asked: HeaderMap,
    body: Result<Json<Batch>, JsonRejection>,
) -> Result<Json<Box<RawValue>>, Problem> {
    let class = class_of(&app.node, &uri)?;
    let Json(batch) = body.map_err(|error| bad_body(&error))?;
    check_count(batch.keys.len())?;
    let scope = headers::scope(&asked)?;
    let keys = batch.keys.iter().map(|text| key(class, scope, text)).collect::<Result<Vec<_>, _>>()?;
    let mut demand = headers::demand(&asked)?;
    if let Some(token) = &batch.token {
        demand.token = Some(parse_token(token.as_bytes()).map_err(AskError::from)?);
    }
    let answers = class.read_many(&keys, demand, batch.consistent).await?;
    // Borrowed from the answers, hence written here.
    let shown = show(class, &answers, demand.token)?;
    serde_json::value::to_raw_value(&shown).map(Json).map_err(|_| not_json())
}

impl KeyText {
    pub(super) fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => text.into(),
            Self::Number(number) => number.to_string().into(),
        }
    }
}

fn key(class: &CatalogClass, scope: Option<&str>, text: &KeyText) -> Result<Key, AskError> {
    let text = fold_scope(scope, &text.text());
    class.form().parse(&text).map_err(|why| AskError::key(class, why))
}

fn show<'a>(
    class: &CatalogClass,
    answers: &'a [Answer],
    session: Option<Token>,
) -> Result<Answers<'a>, Problem> {
    let one = |answer: &'a Answer| {
        let value = answer.value().map(|value| serde_json::from_slice(value)).transpose();
        Ok(One {
            value: value.map_err(|_| not_json())?,
            version: format!("{:016x}", answer.version()),
            age_ms: (answer.served_by() != ServedBy::Fallback).then(|| answer.age().as_secs_f64() * 1_000.0),
            served_by: answer.served_by().as_str(),
            proven: answer.is_proven(),
        })
    };
    let token = headers::seen(class, answers, session);
    let answers = answers.iter().map(one).collect::<Result<_, Problem>>()?;
    Ok(Answers { answers, token: token.map(|token| token.to_string()) })
}

fn not_json() -> Problem {
    let detail = "a value of this class is no JSON and cannot stand in a list; read it by itself";
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "not-json", detail)
}

/// What is wrong with a body, without a word of it.
pub(super) fn bad_body(error: &JsonRejection) -> Problem {
    let (kind, detail) = match error {
        JsonRejection::JsonDataError(_) => ("bad-body", "the JSON does not have the shape of this request"),
        JsonRejection::JsonSyntaxError(_) => ("bad-body", "the body is not well-formed JSON"),
        JsonRejection::MissingJsonContentType(_) => {
            ("bad-content-type", "send `Content-Type: application/json`")
        }
        _ if error.status() == StatusCode::PAYLOAD_TOO_LARGE => ("body-too-large", "the body is too large"),
        _ => ("bad-body", "the body could not be read"),
    };
    Problem::new(error.status(), kind, detail)
}
