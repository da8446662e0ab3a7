//! The preflight finds what would go unseen, and says what to run.

use trueup::postgres::{Finding, Postgres, PostgresOptions, Severity};
use trueup_testbed::PostgresOptions as ServerOptions;

const TABLES: &str = "CREATE ROLE app LOGIN; CREATE TABLE good (id int PRIMARY KEY); CREATE TABLE keyless (id int); \
    CREATE UNLOGGED TABLE fast (id int PRIMARY KEY); CREATE TABLE lonely (id int PRIMARY KEY); \
    CREATE TABLE blind (id int PRIMARY KEY, u int NOT NULL UNIQUE); ALTER TABLE blind REPLICA IDENTITY USING INDEX blind_u_key; \
    CREATE TABLE partly (id int PRIMARY KEY, n int); CREATE TABLE narrow (id int PRIMARY KEY, n int); \
    CREATE TABLE guarded (id int PRIMARY KEY); ALTER TABLE guarded ENABLE ROW LEVEL SECURITY; \
    CREATE MATERIALIZED VIEW made AS SELECT * FROM good; \
    CREATE PUBLICATION trueup FOR TABLE good, keyless, blind, guarded, partly WHERE (id > 5), narrow (id)";

async fn findings(server: &trueup_testbed::Postgres, role: &str, tables: &[&str]) -> Vec<Finding> {
    let postgres = Postgres::connect(&server.url_as(role), PostgresOptions::default()).await.unwrap();
    let tables: Vec<String> = tables.iter().map(|name| (*name).to_owned()).collect();
    postgres.preflight(&tables).await.unwrap()
}

fn has(findings: &[Finding], severity: Severity, subject: &str, problem: &str, fix: &str) {
    let found = findings.iter().any(|finding| {
        finding.severity == severity
            && finding.subject == subject
            && finding.problem.contains(problem)
            && finding.fix.contains(fix)
    });
    assert!(found, "{subject}: {problem} -> {fix}\nwas not among {findings:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_in_which_changes_go_unseen_is_found() {
    use Severity::{Problem, Warning};
    let options =
        ServerOptions::default().set("wal_level", "replica").set("synchronous_standby_names", "FIRST 1 (*)");
    let server = trueup_testbed::Postgres::start(&options).unwrap();
    server.query(&format!("SET synchronous_commit = local; {TABLES}")).unwrap();
    let names =
        ["good", "keyless", "fast", "lonely", "blind", "partly", "narrow", "guarded", "made", "nowhere"];
    let found = findings(&server, "app", &names).await;
    has(&found, Problem, "wal_level", "it is `replica`", "ALTER SYSTEM SET wal_level = 'logical'");
    has(&found, Problem, "synchronous_standby_names", "every commit would wait", "`application_name`");
    has(
        &found,
        Warning,
        "max_slot_wal_keep_size",
        "fills the disk",
        "ALTER SYSTEM SET max_slot_wal_keep_size",
    );
    has(&found, Problem, "role app", "may not follow", "ALTER ROLE \"app\" REPLICATION");
    has(&found, Problem, "public.good", "may not read", "GRANT SELECT ON \"public\".\"good\" TO \"app\"");
    has(&found, Problem, "public.keyless", "UPDATE and DELETE fail", "REPLICA IDENTITY FULL");
    has(&found, Problem, "public.fast", "unlogged", "SET LOGGED");
    has(&found, Problem, "public.lonely", "not published", "trueup init --apply");
    has(
        &found,
        Problem,
        "public.blind",
        "leaves out the key",
        "ALTER TABLE \"public\".\"blind\" REPLICA IDENTITY DEFAULT",
    );
    has(&found, Problem, "public.partly", "row filter", "DROP TABLE \"public\".\"partly\"");
    has(&found, Problem, "public.narrow", "column list", "DROP TABLE \"public\".\"narrow\"");
    has(&found, Warning, "public.guarded", "row security", "age-bounded");
    has(&found, Problem, "public.made", "materialized", "declare a query");
    has(&found, Problem, "nowhere", "no such table", "check the name");
    assert!(found.is_sorted_by_key(|finding| std::cmp::Reverse(finding.severity)), "problems come first");
    server
        .query("SET synchronous_commit = local; ALTER PUBLICATION trueup SET (publish = 'insert', publish_via_partition_root = true)")
        .unwrap();
    let found = findings(&server, "postgres", &[]).await;
    has(
        &found,
        Problem,
        "publication trueup",
        "leaves out some kinds",
        "publish = 'insert, update, delete, truncate'",
    );
    has(&found, Problem, "publication trueup", "name of their root", "publish_via_partition_root = false");
    server.query("SET synchronous_commit = local; DROP PUBLICATION trueup").unwrap();
    has(
        &findings(&server, "postgres", &[]).await,
        Problem,
        "publication trueup",
        "there is none",
        "trueup init --apply",
    );
    server.query("SET synchronous_commit = local; CREATE PUBLICATION trueup FOR ALL TABLES").unwrap();
    has(
        &findings(&server, "postgres", &[]).await,
        Warning,
        "publication trueup",
        "FOR ALL TABLES",
        "DROP PUBLICATION",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_in_order_has_no_findings_for_a_plain_role() {
    let options = ServerOptions::default().set("max_slot_wal_keep_size", "1GB");
    let server = trueup_testbed::Postgres::start(&options).unwrap();
    server
        .query(
            "CREATE ROLE app LOGIN REPLICATION; CREATE TABLE good (id int PRIMARY KEY); GRANT SELECT ON good TO app; \
             CREATE VIEW shown AS SELECT * FROM good; GRANT SELECT ON shown TO app; CREATE PUBLICATION trueup FOR TABLE good",
        )
        .unwrap();
    assert_eq!(findings(&server, "app", &["good", "public.shown"]).await, []);
    assert_eq!(findings(&server, "app", &[]).await, []);
    for _ in 0..20 {
        server
            .query("SELECT pg_create_physical_replication_slot('s' || gen_random_uuid()::text::varchar(8))")
            .unwrap();
    }
    let found = findings(&server, "app", &[]).await;
    has(
        &found,
        Severity::Problem,
        "max_replication_slots",
        "20 of 20",
        "ALTER SYSTEM SET max_replication_slots",
    );
}
