//! Reads inside a transaction that holds the write lock: what a decision may rest on.

use trueup_core::{entry::Raw, env::BoxFuture, key::Key, source::LoadError, write::LockingRead};

use super::{query::QueryLoader, row::RowLoader, typed::FnLoader, write::SqliteTx};

/// A class's loader bound to a live transaction.
///
/// The transaction began with `BEGIN IMMEDIATE`, so nothing that is read here can change before it ends.
pub struct Locked<'a, 'tx, L> {
    tx: &'a SqliteTx<'tx>,
    loader: &'a L,
}

impl<'tx> SqliteTx<'tx> {
    /// Reads of a class in this transaction, for [`Class::authoritative`](trueup_core::read::Class::authoritative).
    pub const fn reads<'a, L>(&'a self, loader: &'a L) -> Locked<'a, 'tx, L> {
        Locked { tx: self, loader }
    }
}

impl LockingRead<Key, Raw> for Locked<'_, '_, RowLoader> {
    fn read_locked<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Raw>, LoadError>> {
        Box::pin(async move { self.tx.with(|conn| self.loader.read_on(conn, key)) })
    }
}

impl LockingRead<Key, Raw> for Locked<'_, '_, QueryLoader> {
    fn read_locked<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Raw>, LoadError>> {
        Box::pin(async move { self.tx.with(|conn| self.loader.read_on(conn, key)) })
    }
}

impl<K: Send + Sync + 'static, V: Send + 'static> LockingRead<K, V> for Locked<'_, '_, FnLoader<K, V>> {
    fn read_locked<'a>(&'a self, key: &'a K) -> BoxFuture<'a, Result<Option<V>, LoadError>> {
        Box::pin(async move { self.tx.with(|conn| self.loader.read_on(conn, key)) })
    }
}
