//! What stands in the way of following a database, before it is followed: each finding says what to run.

use std::collections::BTreeMap;

use tokio_postgres::Client;

use super::{
    discover::{Identity, TableInfo, TableKind},
    error::PostgresError,
    handle::Postgres,
    names::{PUBLICATION, identifier, qualified},
    registry::Registry,
};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It works, until something else happens.
    Warning,
    /// Changes would go unseen, or writers would suffer: nothing may be served before it is put right.
    Problem,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What it is about: a setting, the role, the publication, or a table.
    pub subject: String,
    /// What is wrong.
    pub problem: String,
    /// The SQL or command to run.
    pub fix: String,
}

impl Finding {
    fn problem(subject: &str, problem: impl Into<String>, fix: impl Into<String>) -> Self {
        let (problem, fix) = (problem.into(), fix.into());
        Self { severity: Severity::Problem, subject: subject.to_owned(), problem, fix }
    }

    fn warning(subject: &str, problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::problem(subject, problem, fix) }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}; {}", self.subject, self.problem, self.fix)
    }
}

const INSTALL: &str = "run `trueup init --apply`";

impl Postgres {
    /// Looks at server, role and publication, and at `tables` (`schema.table`, or names that `search_path` finds); without any,
    /// at what is published. Problems come first.
    ///
    /// # Errors
    /// [`PostgresError`] when the server does not answer.
    pub async fn preflight(&self, tables: &[String]) -> Result<Vec<Finding>, PostgresError> {
        let shared = &self.shared;
        shared.reread().await?;
        let registry = shared.registry.load_full();
        let at = shared.at("looking for what stands in the way");
        let client = shared.asker(at).await?;
        let look = async {
            let mut findings = settings(&client, &shared.options.application_name).await?;
            findings.extend(role(&client).await?);
            findings.extend(publication(&registry));
            let known = super::discover::read_tables(&client, None).await?;
            for name in tables {
                match super::discover::find(&known, name) {
                    None => findings.push(Finding::problem(name, "there is no such table", "check the name")),
                    Some(table) => findings.extend(of_table(table, &registry)),
                }
            }
            let published = registry.published.keys().filter_map(|oid| registry.tables.get(oid));
            for table in published.clone() {
                findings.extend(of_published(table));
                if tables.is_empty() {
                    findings.extend(of_table(table, &registry));
                }
            }
            let read: Vec<&TableInfo> = if tables.is_empty() {
                published.collect()
            } else {
                tables.iter().filter_map(|name| super::discover::find(&known, name)).collect()
            };
            findings.extend(privileges(&client, &read).await?);
            Ok(findings)
        };
        let mut findings: Vec<Finding> =
            look.await.map_err(|error: tokio_postgres::Error| at.error(&error))?;
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        findings.dedup();
        Ok(findings)
    }
}

async fn settings(client: &Client, application_name: &str) -> Result<Vec<Finding>, tokio_postgres::Error> {
    const SETTINGS: &str = "SELECT name, setting FROM pg_settings WHERE name IN ('wal_level', 'max_replication_slots', \
        'max_wal_senders', 'max_slot_wal_keep_size', 'synchronous_standby_names')";
    const IN_USE: &str = "SELECT (SELECT count(*) FROM pg_replication_slots), \
        (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender'), \
        EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1)";
    let rows = client.query(SETTINGS, &[]).await?;
    let settings: BTreeMap<String, String> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let setting = |name: &str| settings.get(name).map(String::as_str).unwrap_or_default();
    let number = |name: &str| setting(name).parse::<i64>().unwrap_or_default();
    let in_use = client.query_one(IN_USE, &[&PUBLICATION]).await?;
    let (slots, senders, has_slot): (i64, i64, bool) = (in_use.get(0), in_use.get(1), in_use.get(2));
    let mut findings = Vec::new();
    if setting("wal_level") != "logical" {
        findings.push(Finding::problem(
            "wal_level",
            format!("it is `{}`, so that the log does not hold what a feed needs", setting("wal_level")),
            "run `ALTER SYSTEM SET wal_level = 'logical'` and restart the server",
        ));
    }
    for (name, used, spare) in
        [("max_replication_slots", slots - i64::from(has_slot), 1), ("max_wal_senders", senders, 1)]
    {
        if number(name) - used < spare {
            findings.push(Finding::problem(
                name,
                format!("{used} of {} are in use, and the feed needs one", number(name)),
                format!("run `ALTER SYSTEM SET {name} = {}` and restart the server", used + 5),
            ));
        }
    }
    if number("max_slot_wal_keep_size") < 0 {
        findings.push(Finding::warning(
            "max_slot_wal_keep_size",
            "it is not set, so that the slot of a node that stays away fills the disk of the server with its log",
            "run `ALTER SYSTEM SET max_slot_wal_keep_size = '10GB'` and `SELECT pg_reload_conf()`",
        ));
    }
    if matches_standby(setting("synchronous_standby_names"), application_name) {
        findings.push(Finding::problem(
            "synchronous_standby_names",
            format!(
                "it matches our own connection (`{application_name}`), so that every commit would wait for this cache"
            ),
            "name the standbys one by one instead of `*`, or give the source another `application_name`",
        ));
    }
    Ok(findings)
}

/// Whether a connection of this name could be taken for a synchronous standby.
fn matches_standby(names: &str, application_name: &str) -> bool {
    let list = names.split_once('(').map_or(names, |(_, list)| list.trim_end().trim_end_matches(')'));
    list.split(',')
        .map(|name| name.trim().trim_matches('"'))
        .any(|name| name == "*" || name.eq_ignore_ascii_case(application_name))
}

async fn role(client: &Client) -> Result<Vec<Finding>, tokio_postgres::Error> {
    const ROLE: &str = "SELECT current_user::text, rolsuper OR rolreplication OR EXISTS (SELECT FROM pg_roles r \
        WHERE r.rolname = 'rds_replication' AND pg_has_role(current_user, r.oid, 'member')), \
        has_database_privilege(current_database(), 'TEMPORARY'), current_database()::text \
        FROM pg_roles WHERE rolname = current_user";
    let row = client.query_one(ROLE, &[]).await?;
    let user: String = row.get(0);
    let mut findings = Vec::new();
    if !row.get::<_, bool>(1) {
        findings.push(Finding::problem(
            &format!("role {user}"),
            "it may not follow the change log",
            format!("run `ALTER ROLE {} REPLICATION` as a superuser", identifier(&user)),
        ));
    }
    if !row.get::<_, bool>(2) {
        let database: String = row.get(3);
        findings.push(Finding::warning(
            &format!("role {user}"),
            "it may not make temporary views, by which is found what a declared query reads",
            format!("run `GRANT TEMPORARY ON DATABASE {} TO {}`", identifier(&database), identifier(&user)),
        ));
    }
    Ok(findings)
}

fn publication(registry: &Registry) -> Vec<Finding> {
    let subject = format!("publication {PUBLICATION}");
    let Some(publication) = &registry.publication else {
        return vec![Finding::problem(&subject, "there is none, so that changes cannot be seen", INSTALL)];
    };
    let mut findings = Vec::new();
    if !publication.complete {
        findings.push(Finding::problem(
            &subject,
            "it leaves out some kinds of changes",
            format!(
                "run `ALTER PUBLICATION {PUBLICATION} SET (publish = 'insert, update, delete, truncate')`"
            ),
        ));
    }
    if publication.via_root {
        findings.push(Finding::problem(
            &subject,
            "it tells changes of partitions under the name of their root",
            format!("run `ALTER PUBLICATION {PUBLICATION} SET (publish_via_partition_root = false)`"),
        ));
    }
    if publication.all_tables {
        findings.push(Finding::warning(
            &subject,
            "it is FOR ALL TABLES, so that UPDATE and DELETE fail on every table without a key, new ones too",
            format!("run `DROP PUBLICATION {PUBLICATION}`, then {INSTALL}"),
        ));
    }
    findings
}

/// Whether changes of a table that is to be served are told.
fn of_table(table: &TableInfo, registry: &Registry) -> Vec<Finding> {
    let mut findings = Vec::new();
    // A view is followed by what it is made of.
    if table.kind != TableKind::View
        && let Some(reason) = registry.untold(table)
    {
        // The reason ends with what to do.
        let (problem, fix) = reason.rsplit_once("; ").unwrap_or((&reason, INSTALL));
        findings.push(Finding::problem(&table.name, problem, fix));
    }
    for group in registry.groups_of(table) {
        if let Some(reason) = registry.untold_group(table, group) {
            let (problem, fix) = reason.rsplit_once("; ").unwrap_or((&reason, INSTALL));
            findings.push(Finding::problem(
                &table.name,
                format!("group `{}`: the table {problem}", group.name),
                fix,
            ));
        }
    }
    if table.row_security {
        findings.push(Finding::warning(
            &table.name,
            "row security decides who sees which of its rows, and changes answers without a change of a row",
            "give its class a life and declare it age-bounded",
        ));
    }
    findings
}

/// Whether being published hurts those who write to a table.
fn of_published(table: &TableInfo) -> Option<Finding> {
    let nameless = match table.identity {
        Identity::Default => table.key.is_empty(),
        Identity::Nothing => true,
        Identity::Index => table.identity_columns.is_empty(),
        Identity::Full => false,
    };
    (nameless && table.kind == TableKind::Plain).then(|| {
        let name = qualified(&table.schema, &table.table);
        Finding::problem(
            &table.name,
            "UPDATE and DELETE fail on it while it is published, because nothing names its old rows",
            format!(
                "run `ALTER TABLE {name} REPLICA IDENTITY FULL`, or `ALTER PUBLICATION {PUBLICATION} DROP TABLE {name}`"
            ),
        )
    })
}

async fn privileges(client: &Client, tables: &[&TableInfo]) -> Result<Vec<Finding>, tokio_postgres::Error> {
    const MISSING: &str = "SELECT c.oid, current_user::text, has_schema_privilege(c.relnamespace, 'USAGE') FROM pg_class c \
        WHERE c.oid = ANY ($1) AND NOT (has_table_privilege(c.oid, 'SELECT') AND has_schema_privilege(c.relnamespace, 'USAGE'))";
    let oids: Vec<u32> = tables.iter().map(|table| table.oid).collect();
    let missing = client.query(MISSING, &[&oids]).await?;
    let finding = |row: &tokio_postgres::Row| {
        let table = tables.iter().find(|table| table.oid == row.get::<_, u32>(0))?;
        let user = identifier(row.get(1));
        let mut fix = format!("run `GRANT SELECT ON {} TO {user}`", qualified(&table.schema, &table.table));
        if !row.get::<_, bool>(2) {
            fix.push_str(&format!(" and `GRANT USAGE ON SCHEMA {} TO {user}`", identifier(&table.schema)));
        }
        Some(Finding::problem(&table.name, "this role may not read it", fix))
    };
    Ok(missing.iter().filter_map(finding).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standby_is_matched_by_name_or_star_in_every_notation() {
        for names in ["*", "trueup", "a, TrueUp", "FIRST 1 (a, *)", "ANY 2 (\"trueup\", b)", "2 (trueup)"] {
            assert!(matches_standby(names, "trueup"), "{names}");
        }
        for names in ["", "ghost", "FIRST 1 (a, b)", "trueup2", "ANY 1 (\"a\")"] {
            assert!(!matches_standby(names, "trueup"), "{names}");
        }
    }
}
