//! One server for each test, and what all of them ask of it.

use std::time::Duration;

use trueup::{
    Raw,
    engine::{
        key::Key,
        proof::Snapshot,
        source::{LoadError, Loaded, Loader as _},
    },
    postgres::{LOAD_BYTES_MAX, Postgres, PostgresOptions, RowLoader, RowOptions},
};
use trueup_testbed::PostgresOptions as ServerOptions;

pub(crate) const LIMIT: Duration = Duration::from_secs(5);

pub(crate) fn server(sql: &str) -> trueup_testbed::Postgres {
    let server = trueup_testbed::Postgres::start(&ServerOptions::default()).unwrap();
    server.query(sql).unwrap();
    server
}

pub(crate) async fn connect(server: &trueup_testbed::Postgres) -> Postgres {
    Postgres::connect(&server.url(), PostgresOptions::default()).await.unwrap()
}

pub(crate) fn options() -> RowOptions {
    RowOptions { leave_out: Vec::new(), limit: LIMIT, value_bytes_max: LOAD_BYTES_MAX, age_bounded: false }
}

pub(crate) async fn rows(postgres: &Postgres, table: &str) -> RowLoader {
    RowLoader::new(postgres, table, options()).await.unwrap()
}

pub(crate) fn key(loader: &RowLoader, text: &str) -> Key {
    loader.key_form().parse(text).unwrap()
}

pub(crate) async fn load(loader: &RowLoader, text: &str) -> Result<Loaded<Raw>, LoadError> {
    loader.load(&key(loader, text)).await
}

pub(crate) fn text(loaded: &Loaded<Raw>) -> Option<&str> {
    loaded.value.as_ref().map(|raw| std::str::from_utf8(&raw.0).unwrap())
}

/// Whether a load saw the transaction with this id.
pub(crate) fn saw(snapshot: &Snapshot, xid: u64) -> bool {
    match snapshot {
        Snapshot::Xids(snapshot) => snapshot.sees(trueup::engine::proof::Xid(xid)),
        other => panic!("a load on the primary tells its snapshot, not {other:?}"),
    }
}

/// Waits until `look` gives something.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    const TRIES_MAX: u32 = 3_000;
    for _ in 0..TRIES_MAX {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("waited in vain for {what}");
}

/// Waits until the answer of a query is this.
pub(crate) fn until_answers(server: &trueup_testbed::Postgres, sql: &str, answer: &str) {
    until(sql, || (server.query(sql).unwrap() == answer).then_some(()));
}
