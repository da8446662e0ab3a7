//! The rights that nodes need, and which of them a role lacks.

use tokio_postgres::{Client, Error};

use super::{
    discover::TableInfo,
    names::{GROUPS, SCHEMA, identifier, qualified},
};

/// Statements that grant `role` (none: the one that is connected) what it lacks to serve `tables`, exactly.
pub(super) async fn missing(
    client: &Client,
    role: Option<&str>,
    tables: &[&TableInfo],
) -> Result<Vec<String>, Error> {
    let sql = "SELECT r.rolname::text, r.rolsuper, r.rolreplication FROM pg_roles r \
               WHERE r.rolname = coalesce($1::text, current_user::text)";
    let Some(row) = client.query_opt(sql, &[&role]).await? else {
        let role = identifier(role.unwrap_or_default());
        // With all that follows from its being new.
        let rest = all(&role, tables).into_iter().map(|(_, statement)| statement);
        return Ok(std::iter::once(format!("CREATE ROLE {role} LOGIN REPLICATION")).chain(rest).collect());
    };
    let (name, is_super, replicates): (String, bool, bool) = (row.get(0), row.get(1), row.get(2));
    if is_super {
        return Ok(Vec::new());
    }
    let role = identifier(&name);
    let mut statements = Vec::new();
    if !replicates {
        statements.push(format!("ALTER ROLE {role} REPLICATION"));
    }
    for (right, statement) in all(&role, tables) {
        let held = match right {
            Right::Schema(schema) => {
                let sql = "SELECT coalesce(has_schema_privilege($1::name, to_regnamespace($2)::oid, 'USAGE'), false)";
                client.query_one(sql, &[&name, &identifier(&schema)]).await?
            }
            Right::Table(table, rights) => {
                let sql = "SELECT coalesce(bool_and(has_table_privilege($1::name, to_regclass($2)::oid, r)), false) \
                           FROM unnest($3::text[]) r";
                client.query_one(sql, &[&name, &table, &rights]).await?
            }
        };
        if !held.get::<_, bool>(0) {
            statements.push(statement);
        }
    }
    Ok(statements)
}

enum Right {
    Schema(String),
    Table(String, &'static [&'static str]),
}

/// Every right with the statement that grants it.
fn all(role: &str, tables: &[&TableInfo]) -> Vec<(Right, String)> {
    let mut schemas: Vec<&str> =
        std::iter::once(SCHEMA).chain(tables.iter().map(|t| t.schema.as_str())).collect();
    schemas.sort_unstable();
    schemas.dedup();
    let usage = schemas.into_iter().map(|schema| {
        let statement = format!("GRANT USAGE ON SCHEMA {} TO {role}", identifier(schema));
        (Right::Schema(schema.to_owned()), statement)
    });
    let own = [
        // For heartbeats, the generation, and the address of whoever holds the slot.
        (format!("{SCHEMA}.feed"), &["SELECT", "UPDATE"][..]),
        (GROUPS.to_owned(), &["SELECT"][..]),
    ];
    let theirs = tables.iter().map(|table| (qualified(&table.schema, &table.table), &["SELECT"][..]));
    let tables = own.into_iter().chain(theirs).map(|(table, rights)| {
        let statement = format!("GRANT {} ON {table} TO {role}", rights.join(", "));
        (Right::Table(table, rights), statement)
    });
    usage.chain(tables).collect()
}
