//! What a query depends on, found by PostgreSQL itself: in the stored form of a view over it.
//!
//! `pg_depend` leaves out what PostgreSQL brings along, its functions and catalogues; the stored form names everything. It is
//! followed through views, policies, inheritance and partitions.

use std::collections::BTreeSet;

use tokio_postgres::{Client, Error};

use super::{digest::Uses, names::tag_name};

/// The first oid of what is not PostgreSQL's own.
const FIRST_OWN_OID: u32 = 16_384;
/// Views within views, and policies, that are followed.
const RELATIONS_MAX: usize = 10_000;
/// The view over the query, for a moment.
const VIEW: &str = "pg_temp._trueup_look";

/// What a class's query depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dependencies {
    /// Every table it reads, through views too, each followed by the feed: `schema.table`.
    pub tables: Vec<String>,
    /// Why its answer can change without a change of those tables: such a class is bounded by age, never proven.
    pub nondeterministic: Option<String>,
}

/// What was found before it is judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) uses: Uses,
    /// Tables that are named, in the query or in what it names; what belongs to them is in `uses`.
    pub(super) tables: BTreeSet<u32>,
    /// Why the answer may change by itself.
    pub(super) moody: Option<String>,
    /// Whether it calls a function that is VOLATILE: such a one sees more than the statement's own snapshot.
    pub(super) is_volatile: bool,
    /// Whether it locks rows.
    pub(super) locks: bool,
    /// A relation of PostgreSQL's own, or one that is no table.
    pub(super) unfit: Option<String>,
}

/// What one stored form names.
#[derive(Debug, Default)]
struct Named {
    relations: BTreeSet<u32>,
    functions: BTreeSet<u32>,
    operators: BTreeSet<u32>,
    /// Types that something is converted to by their text.
    read_types: BTreeSet<u32>,
    clock_or_session: bool,
    samples: bool,
    locks: bool,
}

impl Named {
    /// Reads a `pg_node_tree`.
    fn read(tree: &str) -> Self {
        let mut named = Self::default();
        let mut words =
            tree.split([' ', '\n', '(', ')', '{', '}']).filter(|word| !word.is_empty()).peekable();
        let mut converts = false;
        while let Some(word) = words.next() {
            let number =
                || words.clone().next().and_then(|word| word.parse::<u32>().ok()).filter(|oid| *oid != 0);
            match word {
                ":relid" => named.relations.extend(number()),
                ":funcid" | ":opfuncid" | ":aggfnoid" | ":winfnoid" | ":tsmhandler" => {
                    named.functions.extend(number());
                    named.samples |= word == ":tsmhandler";
                }
                ":opno" => named.operators.extend(number()),
                "COERCEVIAIO" | "ARRAYCOERCEEXPR" => converts = true,
                // Other conversions have a type too; counting them in errs on the safe side.
                ":resulttype" if converts => named.read_types.extend(number()),
                "SQLVALUEFUNCTION" => named.clock_or_session = true,
                "ROWMARKCLAUSE" => named.locks = true,
                _ => {}
            }
        }
        named
    }
}

/// Looks at `query`, whose parameters are typed NULLs. Runs in a transaction of its own, which is rolled back: `client` needs
/// one that may write.
pub(super) async fn look(client: &Client, query: &str) -> Result<Found, Error> {
    client.batch_execute("BEGIN").await?;
    let found = look_on(client, query).await;
    let ended = client.batch_execute("ROLLBACK").await;
    let found = found?;
    ended?;
    Ok(found)
}

async fn look_on(client: &Client, query: &str) -> Result<Found, Error> {
    client.batch_execute(&format!("CREATE TEMPORARY VIEW _trueup_look AS {query}\n")).await?;
    let sql = format!("SELECT ev_action::text FROM pg_rewrite WHERE ev_class = '{VIEW}'::regclass");
    let tree: String = client.query_one(&sql, &[]).await?.get(0);
    let mut found = Found::default();
    let mut named = Named::read(&tree);
    let mut seen = BTreeSet::new();
    loop {
        absorb(client, &mut found, &named).await?;
        let new: Vec<u32> = named.relations.difference(&seen).copied().collect();
        if new.is_empty() || seen.len() > RELATIONS_MAX {
            break;
        }
        seen.extend(&new);
        named = follow(client, &mut found, &new).await?;
    }
    // The view stands among the relations of its own stored form.
    let view: u32 = client.query_one(&format!("SELECT '{VIEW}'::regclass::oid"), &[]).await?.get(0);
    found.uses.relations.remove(&view);
    Ok(found)
}

/// What the relations are, and what their own stored forms name.
async fn follow(client: &Client, found: &mut Found, new: &[u32]) -> Result<Named, Error> {
    const RELATIONS: &str = "SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, c.relrowsecurity, \
        c.relpersistence::text, c.oid = to_regclass('pg_temp._trueup_look') \
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY ($1)";
    const TREES: &str = "SELECT r.ev_action::text FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class \
        WHERE c.oid = ANY ($1) AND c.relkind = 'v' AND r.rulename = '_RETURN' \
        UNION ALL SELECT polqual::text FROM pg_policy WHERE polrelid = ANY ($1) AND polqual IS NOT NULL";
    const FAMILY: &str = "WITH RECURSIVE down (oid) AS (SELECT unnest($1::oid[]) \
        UNION SELECT h.inhrelid FROM pg_inherits h JOIN down d ON d.oid = h.inhparent), \
        up (oid) AS (SELECT oid FROM down UNION SELECT h.inhparent FROM pg_inherits h JOIN up u ON u.oid = h.inhrelid) \
        SELECT oid FROM up";
    let new = new.to_vec();
    for row in client.query(RELATIONS, &[&new]).await? {
        let (oid, kind): (u32, &str) = (row.get(0), row.get(3));
        if row.get::<_, Option<bool>>(6) == Some(true) {
            continue;
        }
        let name = tag_name(row.get(1), row.get(2));
        found.uses.relations.insert(oid);
        if oid < FIRST_OWN_OID {
            found.unfit =
                Some(format!("reads `{name}`, PostgreSQL's own, whose changes cannot be seen; leave it out"));
        } else if matches!(kind, "r" | "p" | "m" | "f") {
            found.tables.insert(oid);
        } else if kind != "v" {
            found.unfit = Some(format!("reads `{name}`, which is no table; leave it out"));
        }
        if row.get::<_, bool>(4) {
            let reason = format!("row security is on for `{name}`, so that the answer depends on who asks");
            found.moody.get_or_insert(reason);
        }
    }
    found.uses.relations.extend(client.query(FAMILY, &[&new]).await?.iter().map(|row| row.get::<_, u32>(0)));
    let mut named = Named::default();
    for row in client.query(TREES, &[&new]).await? {
        let inner = Named::read(row.get(0));
        named.relations.extend(inner.relations);
        named.functions.extend(inner.functions);
        named.operators.extend(inner.operators);
        named.read_types.extend(inner.read_types);
        named.clock_or_session |= inner.clock_or_session;
        named.samples |= inner.samples;
        named.locks |= inner.locks;
    }
    Ok(named)
}

/// Takes up what a stored form names besides relations.
async fn absorb(client: &Client, found: &mut Found, named: &Named) -> Result<(), Error> {
    const FUNCTIONS: &str = "SELECT p.oid, p.proname::text, p.provolatile::text FROM pg_proc p \
        WHERE p.oid = ANY ($1) OR p.oid IN (SELECT oprcode FROM pg_operator WHERE oid = ANY ($2)) ORDER BY p.proname";
    const TYPES: &str = "SELECT t.typname::text FROM pg_type t JOIN pg_proc p ON p.oid = t.typinput \
        WHERE t.oid = ANY ($1) AND p.provolatile <> 'i' ORDER BY t.typname";
    let functions: Vec<u32> = named.functions.iter().copied().collect();
    let operators: Vec<u32> = named.operators.iter().copied().collect();
    for row in client.query(FUNCTIONS, &[&functions, &operators]).await? {
        let oid: u32 = row.get(0);
        let volatility: &str = row.get(2);
        if oid >= FIRST_OWN_OID {
            found.uses.functions.insert(oid);
        }
        found.is_volatile |= volatility == "v";
        if volatility != "i" {
            let name: &str = row.get(1);
            found
                .moody
                .get_or_insert_with(|| format!("it calls {name}(), which may answer differently each time"));
        }
    }
    let types: Vec<u32> = named.read_types.iter().copied().collect();
    if let Some(row) = client.query(TYPES, &[&types]).await?.first() {
        let name: &str = row.get(0);
        found.moody.get_or_insert_with(|| {
            format!("it reads text as {name}, where words such as `now` may stand; convert by another type")
        });
    }
    if named.clock_or_session {
        found.moody.get_or_insert_with(|| {
            "it uses CURRENT_TIMESTAMP, CURRENT_USER or the like, which answer differently each time"
                .to_owned()
        });
    }
    if named.samples {
        found
            .moody
            .get_or_insert_with(|| "it uses TABLESAMPLE, which answers differently each time".to_owned());
    }
    found.locks |= named.locks;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_form_names_relations_functions_operators_and_conversions() {
        let tree = "({QUERY :rtable ({RTE :rtekind 0 :relid 16385 :relkind r} {RTE :rtekind 1 :relid 0}) \
            :targetList ({TARGETENTRY :expr {FUNCEXPR :funcid 1299 :args <>}} {OPEXPR :opno 96 :opfuncid 65} \
            {COERCEVIAIO :arg {VAR :varno 1} :resulttype 1184 :resultcollid 0}) :rowMarks <>})";
        let named = Named::read(tree);
        assert_eq!(named.relations, BTreeSet::from([16385]));
        assert_eq!(named.functions, BTreeSet::from([65, 1299]));
        assert_eq!(named.operators, BTreeSet::from([96]));
        assert_eq!(named.read_types, BTreeSet::from([1184]));
        assert!(!named.locks && !named.clock_or_session);
        assert!(Named::read(":rowMarks ({ROWMARKCLAUSE :rti 1 :strength 4})").locks);
        assert!(Named::read("{SQLVALUEFUNCTION :op 3}").clock_or_session);
    }
}
