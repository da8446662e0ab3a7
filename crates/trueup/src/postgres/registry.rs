//! What is published and in use: the tables whose changes are told, and how they become tags.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::{Client, Error, IsolationLevel};

use super::{
    digest::{Catalogues, Shapes, Uses},
    discover::{TableInfo, TableKind, read_tables},
    error::PostgresError,
    handle::Shared,
    names::{GROUPS, PUBLICATION, literal},
};
use crate::group::GroupSpec;

const FIX: &str = "run `trueup init --apply`, or serve with `--install-feed`";

/// A table whose changes are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowedTable {
    /// Its name, as it stands in tags.
    pub name: String,
    /// Groups by which its rows can be invalidated.
    pub groups: Vec<GroupSpec>,
    /// Why not all of its changes are told.
    pub outdated: Option<String>,
}

/// The publication as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Publication {
    /// Insert, update, delete and truncate are all told.
    pub(super) complete: bool,
    pub(super) via_root: bool,
    pub(super) all_tables: bool,
}

/// How a table is published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Published {
    pub(super) row_filter: bool,
    pub(super) column_list: bool,
}

/// Everything that is published or in use, as one transaction saw it.
#[derive(Clone, Debug, Default)]
pub(super) struct Registry {
    pub(super) catalogues: Catalogues,
    pub(super) publication: Option<Publication>,
    /// By oid.
    pub(super) tables: BTreeMap<u32, TableInfo>,
    pub(super) published: BTreeMap<u32, Published>,
    /// By name of the table in tags.
    pub(super) groups: BTreeMap<String, Vec<GroupSpec>>,
    /// What the shapes cover, beside what is published.
    pub(super) uses: Uses,
    pub(super) shapes: Shapes,
}

impl Registry {
    /// Reads it, covering `uses`, in one transaction.
    pub(super) async fn read(shared: &Shared, uses: &Uses) -> Result<Self, PostgresError> {
        let at = shared.at("looking at the publication");
        let mut client = shared.asker(at).await?;
        let read = async {
            let tx = client
                .build_transaction()
                .isolation_level(IsolationLevel::RepeatableRead)
                .read_only(true)
                .start()
                .await?;
            let registry = Self::read_on(tx.client(), uses).await?;
            tx.commit().await?;
            Ok(registry)
        };
        read.await.map_err(|error: Error| at.error(&error))
    }

    async fn read_on(client: &Client, uses: &Uses) -> Result<Self, Error> {
        let catalogues = Catalogues::look(client).await?;
        let publication = read_publication(client).await?;
        let published = if publication.is_some() { read_published(client).await? } else { BTreeMap::new() };
        let mut wanted: BTreeSet<u32> = published.keys().chain(&uses.relations).copied().collect();
        let mut tables: BTreeMap<u32, TableInfo> = BTreeMap::new();
        // Twice at most: whole families are named at once.
        while !wanted.is_empty() {
            let oids: Vec<u32> = wanted.into_iter().collect();
            for table in read_tables(client, Some(&oids)).await? {
                tables.insert(table.oid, table);
            }
            let families = tables.values().flat_map(|table| table.ancestors.iter().chain(&table.descendants));
            wanted =
                families.copied().filter(|oid| !tables.contains_key(oid) && !oids.contains(oid)).collect();
        }
        let mut uses = uses.clone();
        uses.relations.extend(tables.keys());
        let shapes = Shapes::read(client, catalogues, &uses).await?;
        let groups = if catalogues.groups { read_groups(client).await? } else { BTreeMap::new() };
        Ok(Self { catalogues, publication, tables, published, groups, uses, shapes })
    }

    /// The groups of a table.
    pub(super) fn groups_of(&self, table: &TableInfo) -> &[GroupSpec] {
        self.groups.get(&table.name).map(Vec::as_slice).unwrap_or_default()
    }

    /// Why changes of `table` are not, or not all, told; with what to do.
    pub(super) fn untold(&self, table: &TableInfo) -> Option<String> {
        if let Some(reason) = table.unfollowable {
            return Some(reason.to_owned());
        }
        let below = table.descendants.iter().filter_map(|oid| self.tables.get(oid));
        for leaf in below.filter(|below| below.kind != TableKind::Partitioned) {
            let reason = match leaf.unfollowable {
                Some(reason) => Some(reason.to_owned()),
                None => self.untold_leaf(leaf),
            };
            if let Some(reason) = reason {
                return Some(format!("its part `{}`: {reason}", leaf.name));
            }
        }
        if table.kind == TableKind::Partitioned { self.untold_in_general() } else { self.untold_leaf(table) }
    }

    fn untold_in_general(&self) -> Option<String> {
        let Some(publication) = &self.publication else {
            return Some(format!("no publication `{PUBLICATION}` exists, so changes cannot be seen; {FIX}"));
        };
        if !publication.complete {
            return Some(format!(
                "the publication leaves out some kinds of changes; run `ALTER PUBLICATION {PUBLICATION} SET (publish = \
                 'insert, update, delete, truncate')`"
            ));
        }
        publication.via_root.then(|| {
            format!(
                "the publication tells changes of partitions under another name; run `ALTER PUBLICATION {PUBLICATION} SET \
                 (publish_via_partition_root = false)`"
            )
        })
    }

    fn untold_leaf(&self, table: &TableInfo) -> Option<String> {
        if let Some(reason) = self.untold_in_general() {
            return Some(reason);
        }
        let Some(published) = self.published.get(&table.oid) else {
            return Some(format!("its changes are not published; {FIX}"));
        };
        if published.row_filter || published.column_list {
            let what = if published.row_filter { "a row filter" } else { "a column list" };
            return Some(format!(
                "it is published with {what}, so some changes are not told; run `ALTER PUBLICATION {PUBLICATION} DROP TABLE \
                 {0}`, then `ALTER PUBLICATION {PUBLICATION} ADD TABLE {0}`",
                super::names::qualified(&table.schema, &table.table)
            ));
        }
        self.untold_identity(table)
    }

    /// Old keys must be told: those of the table itself and of the partitioned tables above it.
    fn untold_identity(&self, table: &TableInfo) -> Option<String> {
        let above = table.ancestors.iter().filter_map(|oid| self.tables.get(oid));
        for keyed in std::iter::once(table).chain(above).filter(|keyed| !keyed.key.is_empty()) {
            let key: Vec<String> = keyed.key.iter().map(|column| column.name.clone()).collect();
            if !table.tells_old(&key) {
                return Some(format!(
                    "its replica identity leaves out the key, so nobody learns which row was changed; run `ALTER TABLE {} \
                     REPLICA IDENTITY {}`",
                    super::names::qualified(&table.schema, &table.table),
                    if keyed.oid == table.oid { "DEFAULT" } else { "FULL" }
                ));
            }
        }
        None
    }

    /// Why a group of `table` cannot be told, if so: the old value of each of its columns must be.
    pub(super) fn untold_group(&self, table: &TableInfo, group: &GroupSpec) -> Option<String> {
        if let Some(column) = group.columns.iter().find(|name| table.column(name).is_none()) {
            return Some(format!("has no column `{column}`"));
        }
        if let Some(column) = group
            .columns
            .iter()
            .filter_map(|name| table.column(name))
            .find(|column| !column.form.has_row_tag())
        {
            return Some(format!(
                "compares its column `{}` ({}) in a way that is not known here; declare the class without this group",
                column.name, column.declared_type
            ));
        }
        let below = table.descendants.iter().filter_map(|oid| self.tables.get(oid));
        let told = std::iter::once(table).chain(below).filter(|part| part.kind != TableKind::Partitioned);
        told.into_iter().find(|part| !part.tells_old(&group.columns)).map(|part| {
            format!(
                "does not tell the old values of `{}`; run `ALTER TABLE {} REPLICA IDENTITY FULL`",
                group.columns.join("`, `"),
                super::names::qualified(&part.schema, &part.table)
            )
        })
    }

    pub(super) fn followed_tables(&self) -> Vec<FollowedTable> {
        let above = self.published.keys().filter_map(|oid| self.tables.get(oid));
        let above = above.flat_map(|table| table.ancestors.iter());
        let oids: BTreeSet<u32> = self.published.keys().chain(above).copied().collect();
        let followed = |table: &TableInfo| FollowedTable {
            name: table.name.clone(),
            groups: self.groups_of(table).to_vec(),
            outdated: self.untold(table),
        };
        oids.iter().filter_map(|oid| self.tables.get(oid)).map(followed).collect()
    }
}

async fn read_publication(client: &Client) -> Result<Option<Publication>, Error> {
    let sql = format!(
        "SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate, pubviaroot, puballtables FROM pg_publication \
         WHERE pubname = {}",
        literal(PUBLICATION)
    );
    let row = client.query_opt(&sql, &[]).await?;
    Ok(row.map(|row| Publication { complete: row.get(0), via_root: row.get(1), all_tables: row.get(2) }))
}

/// Leaves, unless the publication tells changes via their roots. Row filters and column lists came with PostgreSQL 15, so
/// both are asked for in a way that 14 understands.
async fn read_published(client: &Client) -> Result<BTreeMap<u32, Published>, Error> {
    let publication = literal(PUBLICATION);
    let sql = format!(
        "SELECT c.oid, coalesce(to_jsonb(t) ->> 'rowfilter', '') <> '', EXISTS (SELECT FROM pg_publication_rel r \
             JOIN pg_publication b ON b.oid = r.prpubid WHERE b.pubname = {publication} \
             AND (r.prrelid = c.oid OR r.prrelid IN (SELECT relid FROM pg_partition_ancestors(c.oid))) \
             AND coalesce(to_jsonb(r) ->> 'prattrs', '') <> '') \
         FROM pg_publication_tables t JOIN pg_namespace n ON n.nspname = t.schemaname \
         JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename WHERE t.pubname = {publication}"
    );
    let rows = client.query(&sql, &[]).await?;
    let published = |row: &tokio_postgres::Row| {
        (row.get(0), Published { row_filter: row.get(1), column_list: row.get(2) })
    };
    Ok(rows.iter().map(published).collect())
}

async fn read_groups(client: &Client) -> Result<BTreeMap<String, Vec<GroupSpec>>, Error> {
    let sql = format!("SELECT relation::text, name::text, columns::text[] FROM {GROUPS} ORDER BY 1, 2");
    let mut groups: BTreeMap<String, Vec<GroupSpec>> = BTreeMap::new();
    for row in client.query(&sql, &[]).await? {
        groups.entry(row.get(0)).or_default().push(GroupSpec { name: row.get(1), columns: row.get(2) });
    }
    Ok(groups)
}
