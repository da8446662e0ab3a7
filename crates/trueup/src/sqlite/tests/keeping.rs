//! The log is trimmed without losing a reader, and what cannot be kept now is kept later.

use rusqlite::Connection;

use super::{
    super::{
        keeper::Work,
        membership::{ReaderId, heartbeat},
        trim::{LOG_ROWS_KEPT, LOG_ROWS_MAX, trim_chunk},
    },
    shapes::{Followed, SHAPES},
};

/// A log whose last row has the number `end`, all of it old enough to go.
fn log_of(end: i64) -> Followed {
    let followed = Followed::new(SHAPES[0].1, false);
    let sql = "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
        INSERT INTO _trueup_log(seq, nonce, at_ms, tbl, kind) SELECT i, i, 0, 0, 0 FROM n";
    followed.conn.execute(sql, [end]).unwrap();
    followed.conn.execute("UPDATE _trueup_log SET at_ms = 0", []).unwrap();
    followed
}

fn trimmed(conn: &Connection) -> i64 {
    while trim_chunk(conn).unwrap() > 0 {}
    conn.query_row("SELECT min(seq) FROM _trueup_log", [], |row| row.get(0)).unwrap()
}

#[test]
fn the_slowest_live_reader_keeps_the_log_and_its_own_row() {
    let end = 2 * LOG_ROWS_KEPT;
    let followed = log_of(end);
    let conn = &followed.conn;
    heartbeat(conn, ReaderId(1), end - 5).unwrap();
    heartbeat(conn, ReaderId(2), 500).unwrap();
    assert_eq!(trimmed(conn), 500, "row 500 is how reader 2 will know that the log continues");
    heartbeat(conn, ReaderId(2), 700).unwrap();
    assert_eq!(trimmed(conn), 700);
    // A reader that has not been heard of for two minutes is left behind.
    conn.execute("UPDATE _trueup_reader SET heartbeat_ms = heartbeat_ms - 120000 WHERE id = 2", []).unwrap();
    assert_eq!(trimmed(conn), end - LOG_ROWS_KEPT);
}

#[test]
fn without_readers_the_last_rows_and_young_ones_stay() {
    let end = LOG_ROWS_KEPT + 50;
    let followed = log_of(end);
    assert_eq!(trimmed(&followed.conn), 50);
    followed
        .conn
        .execute("UPDATE _trueup_log SET at_ms = unixepoch('subsec') * 1000 WHERE seq >= 20", [])
        .unwrap();
    assert_eq!(trimmed(&followed.conn), 50);
    let young = log_of(end);
    young
        .conn
        .execute("UPDATE _trueup_log SET at_ms = unixepoch('subsec') * 1000 WHERE seq >= 20", [])
        .unwrap();
    assert_eq!(trimmed(&young.conn), 20);
}

#[test]
fn a_log_beyond_its_bound_leaves_even_a_live_reader_behind() {
    let followed = log_of(10);
    heartbeat(&followed.conn, ReaderId(1), 5).unwrap();
    let far = LOG_ROWS_MAX + 100;
    followed
        .conn
        .execute("INSERT INTO _trueup_log(seq, nonce, at_ms, tbl, kind) VALUES (?1, 0, 0, 0, 0)", [far])
        .unwrap();
    assert_eq!(trimmed(&followed.conn), far);
}

#[test]
fn a_full_disk_is_told_once_and_tried_again() {
    let followed = log_of(10);
    let path = followed.conn.path().unwrap().to_owned();
    let full = Connection::open(&path).unwrap();
    let pages: i64 = full.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    full.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).unwrap();
    let mut work = Work::for_test(path.into(), full);
    // Stands for any write of the keeper that needs a page more than there is.
    let grow = |conn: &Connection| {
        conn.execute(
            "INSERT INTO _trueup_log(nonce, at_ms, tbl, kind, v0) VALUES (0, 0, 0, 0, zeroblob(100000))",
            [],
        )
        .map(drop)
    };
    work.attempt("trimming the log", grow);
    let problem = work.problem().expect("it failed").to_owned();
    assert!(problem.contains("no space is left while trimming the log; free disk space"), "{problem}");
    work.attempt("trimming the log", grow);
    assert_eq!(work.problem(), None, "a new connection has room, and all is well");
}
