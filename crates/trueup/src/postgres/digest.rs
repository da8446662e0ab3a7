//! The shape of relations, hashed: oids and row versions of their catalogue rows, so that a change shows even when it was
//! taken back again.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::{Client, Error};

use super::names::{GROUPS, PUBLICATION, literal};

/// Hash of a shape; shapes are joined by exclusive or, which is sound because each part names its object.
pub(super) type Shape = [u8; 16];

/// What a query or a table's rows are read from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Uses {
    pub(super) relations: BTreeSet<u32>,
    /// Functions that are not PostgreSQL's own.
    pub(super) functions: BTreeSet<u32>,
}

impl Uses {
    pub(super) fn join(&mut self, other: &Self) {
        self.relations.extend(&other.relations);
        self.functions.extend(&other.functions);
    }
}

/// Which catalogues there are: one came with PostgreSQL 15, one with our own installation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Catalogues {
    pub(super) publication_namespaces: bool,
    pub(super) groups: bool,
}

impl Catalogues {
    pub(super) async fn look(client: &Client) -> Result<Self, Error> {
        let sql = format!(
            "SELECT to_regclass('pg_catalog.pg_publication_namespace') IS NOT NULL, to_regclass({}) IS NOT NULL",
            literal(GROUPS)
        );
        let row = client.query_one(&sql, &[]).await?;
        Ok(Self { publication_namespaces: row.get(0), groups: row.get(1) })
    }

    /// A row `(kind, id, part)` for each catalogue row that shapes relations `$1` or functions `$2`. Kind 0 concerns all,
    /// 1 a relation, 2 a function.
    ///
    /// ANALYZE and VACUUM change rows of `pg_class` in place and so move nothing; TRUNCATE makes a new row version, and does.
    fn parts(self) -> String {
        let publication = literal(PUBLICATION);
        let mut parts = vec![
            "SELECT 1, c.oid, concat_ws(':', 'c', c.oid, c.xmin, n.oid, n.xmin) FROM pg_class c \
             JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY ($1)"
                .to_owned(),
            "SELECT 1, attrelid, concat_ws(':', 'a', attrelid, attnum, xmin) FROM pg_attribute \
             WHERE attrelid = ANY ($1) AND attnum > 0"
                .to_owned(),
            "SELECT 1, indrelid, concat_ws(':', 'i', indexrelid, xmin) FROM pg_index \
             WHERE indrelid = ANY ($1) AND (indisprimary OR indisreplident)"
                .to_owned(),
            "SELECT 1, inhparent, concat_ws(':', 'h', inhrelid, inhparent, xmin) FROM pg_inherits \
             WHERE inhparent = ANY ($1)"
                .to_owned(),
            "SELECT 1, inhrelid, concat_ws(':', 'H', inhrelid, inhparent, xmin) FROM pg_inherits \
             WHERE inhrelid = ANY ($1)"
                .to_owned(),
            "SELECT 1, polrelid, concat_ws(':', 'p', oid, xmin) FROM pg_policy WHERE polrelid = ANY ($1)"
                .to_owned(),
            "SELECT 1, ev_class, concat_ws(':', 'r', oid, xmin) FROM pg_rewrite WHERE ev_class = ANY ($1)"
                .to_owned(),
            // What takes the place of a name by standing in the search path too.
            "SELECT 1, u.oid, concat_ws(':', 's', u.oid, o.oid) FROM pg_class u JOIN pg_class o \
             ON o.relname = u.relname AND o.oid <> u.oid AND o.relpersistence <> 't' JOIN pg_namespace n \
             ON n.oid = o.relnamespace AND n.nspname = ANY (current_schemas(false)) WHERE u.oid = ANY ($1)"
                .to_owned(),
            "SELECT 2, u.oid, concat_ws(':', 'S', u.oid, o.oid) FROM pg_proc u JOIN pg_proc o \
             ON o.proname = u.proname AND o.oid <> u.oid JOIN pg_namespace n \
             ON n.oid = o.pronamespace AND n.nspname = ANY (current_schemas(false)) WHERE u.oid = ANY ($2)"
                .to_owned(),
            "SELECT 2, oid, concat_ws(':', 'f', oid, xmin) FROM pg_proc WHERE oid = ANY ($2)".to_owned(),
            format!(
                "SELECT 1, r.prrelid, concat_ws(':', 'b', r.oid, r.prrelid, r.xmin) FROM pg_publication_rel r \
                 JOIN pg_publication b ON b.oid = r.prpubid WHERE b.pubname = {publication}"
            ),
            format!(
                "SELECT 0, 0::oid, concat_ws(':', 'B', oid, xmin) FROM pg_publication WHERE pubname = {publication}"
            ),
        ];
        if self.publication_namespaces {
            parts.push(format!(
                "SELECT 0, 0::oid, concat_ws(':', 'N', n.oid, n.xmin) FROM pg_publication_namespace n \
                 JOIN pg_publication b ON b.oid = n.pnpubid WHERE b.pubname = {publication}"
            ));
        }
        if self.groups {
            parts.push(format!(
                "SELECT 0, 0::oid, concat_ws(':', 'g', g.relation, g.name, g.xmin) FROM {GROUPS} g"
            ));
        }
        parts.join(" UNION ALL ")
    }

    /// A statement whose one row is snapshot, timeline and the two halves of the digest over everything.
    pub(super) fn ask(self) -> String {
        format!(
            "SELECT pg_current_snapshot()::text, substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8), \
             coalesce(d.high, 0), coalesce(d.low, 0) FROM (SELECT bit_xor(hashtextextended(part, 0)) AS high, \
             bit_xor(hashtextextended(part, 1)) AS low FROM ({}) p (kind, id, part)) d",
            self.parts()
        )
    }
}

/// Shapes, each by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shapes {
    common: Shape,
    relations: BTreeMap<u32, Shape>,
    functions: BTreeMap<u32, Shape>,
}

impl Shapes {
    /// Reads the shapes of `uses`, and of everything that is published.
    pub(super) async fn read(client: &Client, catalogues: Catalogues, uses: &Uses) -> Result<Self, Error> {
        let sql = format!(
            "SELECT kind, id, bit_xor(hashtextextended(part, 0)), bit_xor(hashtextextended(part, 1)) FROM ({}) \
             p (kind, id, part) GROUP BY kind, id",
            catalogues.parts()
        );
        let relations: Vec<u32> = uses.relations.iter().copied().collect();
        let functions: Vec<u32> = uses.functions.iter().copied().collect();
        let mut shapes = Self::default();
        for row in client.query(&sql, &[&relations, &functions]).await? {
            let (id, shape) = (row.get(1), halves(row.get(2), row.get(3)));
            match row.get::<_, i32>(0) {
                0 => shapes.common = shape,
                1 => drop(shapes.relations.insert(id, shape)),
                _ => drop(shapes.functions.insert(id, shape)),
            }
        }
        Ok(shapes)
    }

    /// The shape of everything.
    pub(super) fn whole(&self) -> Shape {
        let each = self.relations.values().chain(self.functions.values());
        each.fold(self.common, |joined, shape| xor(joined, *shape))
    }

    /// The shape of what `uses` names.
    pub(super) fn of(&self, uses: &Uses) -> Shape {
        let relations = uses.relations.iter().filter_map(|id| self.relations.get(id));
        let functions = uses.functions.iter().filter_map(|id| self.functions.get(id));
        relations.chain(functions).fold(self.common, |joined, shape| xor(joined, *shape))
    }
}

/// A digest from its two halves.
pub(super) fn halves(high: i64, low: i64) -> Shape {
    let joined = u128::from(high.cast_unsigned()) << 64 | u128::from(low.cast_unsigned());
    joined.to_be_bytes()
}

fn xor(a: Shape, b: Shape) -> Shape {
    std::array::from_fn(|i| a[i] ^ b[i])
}
