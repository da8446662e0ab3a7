//! The servers start, answer, survive what tests do to them, and are gone afterwards.
#![allow(clippy::unwrap_used, missing_docs)]

use trueup_testbed::{
    Cluster, ClusterOptions, Postgres, PostgresOptions, Redis, RedisOptions, Stop, eventually,
};

#[test]
fn postgres_crashes_recovers_and_has_a_standby_that_takes_over() {
    let mut primary = Postgres::start(&PostgresOptions::default()).unwrap();
    primary.query("CREATE TABLE t (id int PRIMARY KEY)").unwrap();
    primary.query("INSERT INTO t VALUES (1)").unwrap();
    primary.stop(Stop::Immediate).unwrap();
    primary.start_again().unwrap();
    let standby = primary.standby("second").unwrap();
    primary.query("INSERT INTO t VALUES (2)").unwrap();
    eventually("the row on the standby", || {
        let count = standby.query("SELECT count(*) FROM t")?;
        if count == "2" { Ok(()) } else { standby.query("SELECT 'not yet'/0").map(drop) }
    })
    .unwrap();
    drop(primary);
    standby.promote().unwrap();
    standby.query("INSERT INTO t VALUES (3)").unwrap();
    assert_eq!(standby.query("SELECT count(*) FROM t").unwrap(), "3");
}

/// A process that is killed removes nothing: what it leaves must not be one folder more each time.
#[test]
fn every_cluster_is_copied_from_one_that_all_processes_share() {
    let shared = || {
        let folders = std::fs::read_dir(std::env::temp_dir()).unwrap().filter_map(Result::ok);
        let named = folders.filter_map(|folder| folder.file_name().into_string().ok());
        let of_a_version = |name: &String| name.starts_with("trueup-initdb-") && name.contains('.');
        let mut names: Vec<_> = named.filter(of_a_version).collect();
        names.sort();
        names
    };
    drop(Postgres::start(&PostgresOptions::default()).unwrap());
    let after_one = shared();
    assert!(!after_one.is_empty());
    drop(Postgres::start(&PostgresOptions::default()).unwrap());
    assert_eq!(shared(), after_one);
}

#[test]
fn what_postgres_shares_in_memory_lies_in_its_folder() {
    let server = Postgres::start(&PostgresOptions::default()).unwrap();
    let folder = server.query("SHOW data_directory").unwrap();
    let shared = std::fs::read_dir(std::path::Path::new(&folder).join("pg_dynshmem")).unwrap();
    assert_ne!(shared.count(), 0);
}

#[test]
fn a_server_is_gone_with_its_handle() {
    let redis = Redis::start(&RedisOptions::default()).unwrap();
    let port = redis.port();
    assert_eq!(redis.cli(&["PING"]).unwrap(), "PONG");
    drop(redis);
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn a_cluster_fails_over() {
    let mut cluster = Cluster::start(&ClusterOptions::default()).unwrap();
    let before = cluster.primary_of("a").unwrap();
    cluster.node_mut(before).unwrap().kill();
    let after = eventually("another primary", || {
        let now = cluster.primary_of("a")?;
        if now == before { cluster.nodes()[before].cli(&["PING"]).map(|_| now) } else { Ok(now) }
    })
    .unwrap();
    assert_ne!(after, before);
    cluster.node_mut(before).unwrap().start_again().unwrap();
    cluster.settled().unwrap();
}
