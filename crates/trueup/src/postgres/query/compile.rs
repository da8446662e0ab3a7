//! What the server says of a query before it is ever run.

use std::collections::BTreeSet;

use tokio_postgres::{Client, error::SqlState};

use crate::postgres::{
    depend::{Found, look},
    error::words,
    params::Template,
};

/// Compiles the query and looks at what it reads. The inner error says what is wrong with the query.
pub(super) async fn compile(
    client: &Client,
    template: &Template,
) -> Result<Result<(Found, Vec<String>), String>, tokio_postgres::Error> {
    let statement = match client.prepare(&template.write(|place| format!("${}", place + 1))).await {
        Ok(statement) => statement,
        Err(error) => return fault(error, "cannot be compiled"),
    };
    if statement.columns().is_empty() {
        return Ok(Err("is not a SELECT".to_owned()));
    }
    let mut names = BTreeSet::new();
    if let Some(twice) = statement.columns().iter().find(|column| !names.insert(column.name())) {
        return Ok(Err(format!("has two columns called `{}`; name one of them with AS", twice.name())));
    }
    let oids: Vec<u32> = statement.params().iter().map(tokio_postgres::types::Type::oid).collect();
    let sql =
        "SELECT format_type(t.oid, -1) FROM unnest($1::oid[]) WITH ORDINALITY t (oid, place) ORDER BY place";
    let types: Vec<String> = client.query(sql, &[&oids]).await?.iter().map(|row| row.get(0)).collect();
    let null = |place: usize| {
        types.get(place).map_or_else(|| "NULL".to_owned(), |type_name| format!("(NULL::{type_name})"))
    };
    match look(client, &template.write(null)).await {
        Ok(found) if found.locks => {
            Ok(Err("locks rows (FOR UPDATE, FOR SHARE or the like); leave that out".to_owned()))
        }
        Ok(found) => Ok(Ok((found, types))),
        Err(error) if error.code() == Some(&SqlState::SYNTAX_ERROR) => Ok(Err("is not a SELECT".to_owned())),
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            let fix = "what it reads is found by a temporary view: run `GRANT TEMPORARY ON DATABASE ...` for this role";
            Ok(Err(format!("cannot be looked at: {}; {fix}", words(&error))))
        }
        Err(error) => fault(error, "cannot be looked at"),
    }
}

/// Whether the server finds fault with the query, or something else went wrong.
fn fault<T>(error: tokio_postgres::Error, what: &str) -> Result<Result<T, String>, tokio_postgres::Error> {
    match error.code().map(SqlState::code).and_then(|code| code.get(..2)) {
        Some("42") if error.code() == Some(&SqlState::INDETERMINATE_DATATYPE) => {
            Ok(Err(format!("{what}: {}; write the parameter's type, as in `:id::int`", words(&error))))
        }
        Some("0A" | "22" | "25" | "2B" | "42") => Ok(Err(format!("{what}: {}", words(&error)))),
        _ => Err(error),
    }
}
