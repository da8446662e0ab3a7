//! Installing the feed: first a plan that can be read, then its execution in one transaction.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio_postgres::Client;

use super::{
    discover::{Identity, TableInfo, TableKind, find, read_tables},
    error::PostgresError,
    grants,
    handle::Postgres,
    names::{GROUPS, PUBLICATION, SCHEMA, identifier, literal, qualified},
};
use crate::group::GroupSpec;

/// How long the installer waits for a lock that another transaction holds.
pub const INSTALL_LOCK_WAIT: Duration = Duration::from_secs(5);
/// Version of what is installed.
pub(super) const FEED_VERSION: i32 = 1;

/// Which tables are to be followed, by what they are grouped, and who serves them.
#[derive(Clone, Debug)]
pub struct InstallOptions {
    /// Tables by name (`schema.table`, or bare where `search_path` finds it); none stands for every table that can be
    /// followed.
    pub tables: Option<Vec<String>>,
    /// Groups by table.
    pub groups: BTreeMap<String, Vec<GroupSpec>>,
    /// The role that nodes connect as; none stands for the one that installs.
    pub role: Option<String>,
    /// How long to wait for a lock that another transaction holds.
    pub lock_wait: Duration,
}

impl Default for InstallOptions {
    fn default() -> Self {
        Self { tables: None, groups: BTreeMap::new(), role: None, lock_wait: INSTALL_LOCK_WAIT }
    }
}

/// What installing would do, statement by statement.
#[derive(Clone, Debug)]
pub struct FeedPlan {
    postgres: Postgres,
    statements: Vec<String>,
    grants: Vec<String>,
    warnings: Vec<String>,
    refused: Vec<(String, String)>,
    tables: Vec<String>,
    lock_wait: Duration,
}

impl FeedPlan {
    /// Plans the feed for a database: everything that is missing of it. The database is only read.
    ///
    /// # Errors
    /// [`PostgresError`] where the catalogue cannot be read, a newer feed is installed, or a table asked for by name cannot
    /// be followed.
    pub async fn new(postgres: &Postgres, options: &InstallOptions) -> Result<Self, PostgresError> {
        let at = postgres.shared.at("planning the feed");
        let client = postgres.shared.writer(at).await?;
        let there = Installed::read(&client).await.map_err(|e| at.error(&e))?;
        if there.version.is_some_and(|version| version > FEED_VERSION) {
            let reason = "the feed was installed by a newer release; use that one".to_owned();
            return Err(PostgresError::Table { table: format!("{SCHEMA}.feed"), reason });
        }
        let all = read_tables(&client, None).await.map_err(|e| at.error(&e))?;
        let mut planner = Planner { all: &all, options, there: &there, warnings: Vec::new() };
        let (chosen, refused) = planner.choose()?;
        let mut statements = planner.own();
        statements.extend(planner.publication(&chosen));
        statements.extend(planner.groups(&chosen)?);
        let warnings = std::mem::take(&mut planner.warnings);
        let tables: Vec<String> = chosen.iter().map(|table| table.name.clone()).collect();
        let grants = grants::missing(&client, options.role.as_deref(), &chosen).await;
        let grants = grants.map_err(|e| at.error(&e))?;
        let (postgres, lock_wait) = (postgres.clone(), options.lock_wait);
        Ok(Self { postgres, statements, grants, warnings, refused, tables, lock_wait })
    }

    /// Every statement that would be executed, in order; empty where nothing is missing.
    #[must_use]
    pub fn statements(&self) -> &[String] {
        &self.statements
    }

    /// What must be granted to the role that nodes connect as, to be run by whoever may; empty where it has all rights.
    #[must_use]
    pub fn grants(&self) -> &[String] {
        &self.grants
    }

    /// What the person who installs should know.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Tables that will not be followed, each with the reason.
    #[must_use]
    pub fn refused(&self) -> &[(String, String)] {
        &self.refused
    }

    /// Tables that will be followed, with all their parts.
    #[must_use]
    pub fn tables(&self) -> &[String] {
        &self.tables
    }

    /// Executes the plan and the grants: all of it, or nothing.
    ///
    /// # Errors
    /// [`PostgresError::TimedOut`] when another transaction holds a lock for longer than [`InstallOptions::lock_wait`];
    /// [`PostgresError::Permission`] when the role may not do this.
    pub async fn apply(&self) -> Result<(), PostgresError> {
        let all: Vec<&String> = self.statements.iter().chain(&self.grants).collect();
        execute(&self.postgres, &all, self.lock_wait, "installing the feed").await
    }
}

/// Executes statements in one transaction, each waiting no longer than `lock_wait` for a lock.
pub(super) async fn execute(
    postgres: &Postgres,
    statements: &[&String],
    lock_wait: Duration,
    doing: &'static str,
) -> Result<(), PostgresError> {
    if statements.is_empty() {
        return Ok(());
    }
    let at = super::error::At { patience: lock_wait, ..postgres.shared.at(doing) };
    let mut client = postgres.shared.writer(at).await?;
    let run = async {
        let tx = client.transaction().await?;
        tx.batch_execute(&format!("SET LOCAL lock_timeout = {}", lock_wait.as_millis().max(1))).await?;
        for statement in statements {
            tx.batch_execute(statement).await?;
        }
        tx.commit().await
    };
    run.await.map_err(|e| at.error(&e))?;
    postgres.shared.reread().await
}

/// What is there already.
struct Installed {
    version: Option<i32>,
    has_schema: bool,
    has_publication: bool,
    /// Tables that the publication names, by `schema.table`.
    published: BTreeSet<String>,
    groups: BTreeMap<String, Vec<GroupSpec>>,
}

impl Installed {
    async fn read(client: &Client) -> Result<Self, tokio_postgres::Error> {
        let sql = "SELECT to_regnamespace('trueup') IS NOT NULL, to_regclass('trueup.feed') IS NOT NULL, \
                   to_regclass('trueup.groups') IS NOT NULL";
        let row = client.query_one(sql, &[]).await?;
        let (has_schema, has_feed, has_groups): (bool, bool, bool) = (row.get(0), row.get(1), row.get(2));
        let version = if has_feed {
            client.query_opt("SELECT version FROM trueup.feed", &[]).await?.map(|row| row.get(0))
        } else {
            None
        };
        let sql = "SELECT true FROM pg_publication WHERE pubname = $1";
        let has_publication = client.query_opt(sql, &[&PUBLICATION]).await?.is_some();
        let sql = "SELECT n.nspname::text || '.' || c.relname::text FROM pg_publication p \
                   JOIN pg_publication_rel r ON r.prpubid = p.oid JOIN pg_class c ON c.oid = r.prrelid \
                   JOIN pg_namespace n ON n.oid = c.relnamespace WHERE p.pubname = $1";
        let published = client.query(sql, &[&PUBLICATION]).await?.iter().map(|row| row.get(0)).collect();
        let mut groups: BTreeMap<String, Vec<GroupSpec>> = BTreeMap::new();
        if has_groups {
            let sql = format!("SELECT relation, name, columns FROM {GROUPS} ORDER BY relation, name");
            for row in client.query(&sql, &[]).await? {
                let group = GroupSpec { name: row.get(1), columns: row.get(2) };
                groups.entry(row.get(0)).or_default().push(group);
            }
        }
        Ok(Self { version, has_schema, has_publication, published, groups })
    }
}

struct Planner<'a> {
    all: &'a [TableInfo],
    options: &'a InstallOptions,
    there: &'a Installed,
    warnings: Vec<String>,
}

impl<'a> Planner<'a> {
    /// Splits the tables into those to follow and those that cannot be. Partitions and child tables go with the table at
    /// the top of their family.
    #[expect(clippy::type_complexity, reason = "two lists")]
    fn choose(&self) -> Result<(Vec<&'a TableInfo>, Vec<(String, String)>), PostgresError> {
        let (mut chosen, mut refused) = (Vec::new(), Vec::new());
        let missing = |name: &String| find(self.all, name).is_none();
        let named = self.options.tables.iter().flatten().chain(self.options.groups.keys());
        if let Some(table) = named.into_iter().find(|name| missing(name)) {
            let reason = "there is no such table that this role can see; check the name".to_owned();
            return Err(PostgresError::Table { table: table.clone(), reason });
        }
        let top = |table: &'a TableInfo| {
            self.all.iter().find(|above| table.ancestors.contains(&above.oid) && above.ancestors.is_empty())
        };
        let wanted: Option<BTreeSet<u32>> = self.options.tables.as_ref().map(|names| {
            let tables = names.iter().filter_map(|name| find(self.all, name));
            tables.map(|table| top(table).unwrap_or(table).oid).collect()
        });
        for table in self.all.iter().filter(|table| table.ancestors.is_empty()) {
            let is_wanted = wanted.as_ref().map(|wanted| wanted.contains(&table.oid));
            match (is_wanted, self.obstacle(table)) {
                (Some(false), _) => {}
                (Some(true), Some(reason)) => {
                    return Err(PostgresError::Table { table: table.name.clone(), reason });
                }
                (None, Some(reason)) => refused.push((table.name.clone(), reason)),
                (_, None) => chosen.push(table),
            }
        }
        Ok((chosen, refused))
    }

    /// Why a table cannot be followed, or must not be as it is; with what to do.
    fn obstacle(&self, table: &TableInfo) -> Option<String> {
        if let Some(reason) = table.unfollowable {
            return Some(reason.to_owned());
        }
        for part in self.parts(table) {
            if let Some(reason) = part.unfollowable {
                return Some(format!("its part `{}`: {reason}", part.name));
            }
            let name = qualified(&part.schema, &part.table);
            let will_be_full = !self.declared(table).is_empty();
            let keyless = part.identity == Identity::Nothing
                || (part.identity == Identity::Default && part.key.is_empty());
            if keyless && !will_be_full {
                return Some(format!(
                    "without a primary key its UPDATE and DELETE would fail once it is published; add a key, or run \
                     `ALTER TABLE {name} REPLICA IDENTITY FULL`"
                ));
            }
            let keys =
                [&part.key, &table.key].map(|key| key.iter().map(|c| c.name.clone()).collect::<Vec<_>>());
            if !will_be_full && keys.iter().any(|key| !part.tells_old(key)) {
                return Some(format!(
                    "its replica identity leaves out the primary key, so nobody would learn which row was changed; run \
                     `ALTER TABLE {name} REPLICA IDENTITY FULL`"
                ));
            }
        }
        None
    }

    /// The tables that hold the rows of `table`.
    fn parts(&self, table: &'a TableInfo) -> impl Iterator<Item = &'a TableInfo> + use<'a> {
        let below = self.all.iter().filter(|below| below.ancestors.contains(&table.oid));
        std::iter::once(table).chain(below).filter(|part| part.kind != TableKind::Partitioned)
    }

    fn declared(&self, table: &TableInfo) -> &'a [GroupSpec] {
        let mut declared = self.options.groups.iter();
        let declared =
            declared.find(|(name, _)| find(self.all, name).is_some_and(|found| found.oid == table.oid));
        declared.map_or(&[][..], |(_, groups)| groups)
    }

    /// Trueup's own tables.
    fn own(&self) -> Vec<String> {
        let mut statements = Vec::new();
        if !self.there.has_schema {
            statements.push(format!("CREATE SCHEMA {SCHEMA}"));
        }
        if self.there.version.is_none() {
            let random = "uuid_send(gen_random_uuid())";
            statements.extend([
                format!(
                    "CREATE TABLE IF NOT EXISTS {SCHEMA}.feed (id integer PRIMARY KEY CHECK (id = 1), \
                     version integer NOT NULL, nonce bytea NOT NULL, generation bigint NOT NULL, beat bigint NOT NULL, \
                     holder text, secret bytea NOT NULL) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, \
                     autovacuum_vacuum_threshold = 1000)"
                ),
                format!(
                    "INSERT INTO {SCHEMA}.feed VALUES (1, {FEED_VERSION}, {random}, 1, 0, NULL, \
                     sha256({random} || {random} || {random}))"
                ),
                format!(
                    "CREATE TABLE IF NOT EXISTS {GROUPS} (relation text NOT NULL, name text NOT NULL, \
                     columns text[] NOT NULL, PRIMARY KEY (relation, name))"
                ),
                format!(
                    "CREATE TABLE IF NOT EXISTS {SCHEMA}.altered (relation text PRIMARY KEY, undo text NOT NULL)"
                ),
            ]);
        }
        statements
    }

    /// The publication of just the tables chosen. Those that it has beyond them stay: another node may use them.
    fn publication(&self, chosen: &[&TableInfo]) -> Vec<String> {
        let missing = chosen.iter().filter(|table| !self.there.published.contains(&table.name));
        let names: Vec<String> = missing.map(|table| qualified(&table.schema, &table.table)).collect();
        let publication = identifier(PUBLICATION);
        match (self.there.has_publication, names.is_empty()) {
            (true, true) => Vec::new(),
            (true, false) => vec![format!("ALTER PUBLICATION {publication} ADD TABLE {}", names.join(", "))],
            (false, true) => vec![format!("CREATE PUBLICATION {publication}")],
            (false, false) => {
                vec![format!("CREATE PUBLICATION {publication} FOR TABLE {}", names.join(", "))]
            }
        }
    }

    /// Groups as they are declared, and the old values that they need.
    fn groups(&mut self, chosen: &[&'a TableInfo]) -> Result<Vec<String>, PostgresError> {
        let mut statements = Vec::new();
        for table in chosen {
            let declared = self.declared(table);
            let there = self.there.groups.get(&table.name).map(Vec::as_slice).unwrap_or_default();
            for group in declared {
                if let Some(column) = group.columns.iter().find(|name| table.column(name).is_none()) {
                    let reason =
                        format!("group `{}` names column `{column}`, which it does not have", group.name);
                    return Err(PostgresError::Table { table: table.name.clone(), reason });
                }
                if !there.contains(group) {
                    let columns: Vec<_> = group.columns.iter().map(|name| literal(name)).collect();
                    statements.push(format!(
                        "INSERT INTO {GROUPS} VALUES ({}, {}, ARRAY[{}]) ON CONFLICT (relation, name) DO UPDATE SET \
                         columns = excluded.columns",
                        literal(&table.name),
                        literal(&group.name),
                        columns.join(", ")
                    ));
                }
            }
            let columns: Vec<String> =
                declared.iter().flat_map(|group| group.columns.iter().cloned()).collect();
            for part in self.parts(table).filter(|part| !columns.is_empty() && !part.tells_old(&columns)) {
                let name = qualified(&part.schema, &part.table);
                let undo = match part.identity {
                    Identity::Nothing => format!("ALTER TABLE {name} REPLICA IDENTITY NOTHING"),
                    _ => format!("ALTER TABLE {name} REPLICA IDENTITY DEFAULT"),
                };
                statements.push(format!(
                    "INSERT INTO {SCHEMA}.altered VALUES ({}, {}) ON CONFLICT DO NOTHING",
                    literal(&part.name),
                    literal(&undo)
                ));
                statements.push(format!("ALTER TABLE {name} REPLICA IDENTITY FULL"));
                self.warnings.push(format!(
                    "the log will hold whole old rows of `{}`, which its groups need: updates and deletes of it write more",
                    part.name
                ));
            }
        }
        Ok(statements)
    }
}
