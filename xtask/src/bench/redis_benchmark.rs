//! `GET` by redis-benchmark: the same keys, the same value bytes, trueup and redis-server in turn.

use std::{net::SocketAddr, path::Path};

use anyhow::{Context as _, Result, ensure};

use super::redis::Redis;
use crate::{paths, server::Trueup, sh};

/// Keys of the random case. redis-benchmark writes a random key as twelve digits.
const KEYS: u32 = 100_000;
/// Bytes of text in each row.
const BODY_BYTES: usize = 100;
/// Connections of redis-benchmark.
const CONNECTIONS: u32 = 50;
/// Commands that a connection sends at once.
const PIPELINES: [u32; 2] = [1, 16];
/// Keys read or written at once while warming and copying.
const BATCH: usize = 1_000;

/// Which keys are asked for.
const CASES: [(&str, &str); 2] =
    [("one hot key", "item:000000000042"), ("100 k random keys", "item:__rand_int__")];

/// Measures and prints a table: requests per second of both, and their ratio.
///
/// # Errors
/// When a server or redis-benchmark fails, or the two servers hold different bytes.
pub(crate) fn compare(binary: &Path, rounds: u32, requests: u32) -> Result<()> {
    let folder = paths::temporary("bench-")?;
    let database = folder.path().join("items.db");
    fill(&database)?;
    // One thread, as redis-server has: with more, the server would take the load generator's processor where there are two.
    let trueup = Trueup::start_with(binary, &database, &["--workers", "1"])?;
    let redis = Redis::start()?;
    copy(trueup.resp, redis.address)?;
    println!("| GET, -c {CONNECTIONS} | trueup | redis-server | ratio |\n|---|---|---|---|");
    for pipeline in PIPELINES {
        for (name, key) in CASES {
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                ours.push(measure(trueup.resp, pipeline, requests, key)?);
                theirs.push(measure(redis.address, pipeline, requests, key)?);
            }
            let (ours, theirs) = (median(ours), median(theirs));
            println!("| {name}, -P {pipeline} | {ours:.0}/s | {theirs:.0}/s | {:.2} |", ours / theirs);
        }
    }
    trueup.stop()
}

/// A table whose primary keys are the very words that redis-benchmark sends.
fn fill(database: &Path) -> Result<()> {
    let mut connection = rusqlite::Connection::open(database)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.execute_batch("CREATE TABLE item (id TEXT PRIMARY KEY NOT NULL, body TEXT NOT NULL)")?;
    let transaction = connection.transaction()?;
    {
        let mut insert = transaction.prepare("INSERT INTO item VALUES (?, ?)")?;
        for number in 0..KEYS {
            let body = format!("{number}-").repeat(BODY_BYTES);
            insert.execute((format!("{number:012}"), &body[..BODY_BYTES]))?;
        }
    }
    transaction.commit().context("cannot fill the table")
}

/// Reads every key through trueup, which warms it, and stores the same bytes in redis-server.
fn copy(trueup: SocketAddr, redis: SocketAddr) -> Result<()> {
    let mut from = connect(trueup)?;
    let mut to = connect(redis)?;
    let keys: Vec<_> = (0..KEYS).map(|number| format!("item:{number:012}")).collect();
    for batch in keys.chunks(BATCH) {
        let values: Vec<Vec<u8>> = ::redis::cmd("MGET").arg(batch).query(&mut from)?;
        let pairs: Vec<_> = batch.iter().zip(&values).collect();
        ::redis::cmd("MSET").arg(&pairs).exec(&mut to)?;
    }
    let hot = CASES[0].1;
    let read =
        |connection: &mut ::redis::Connection| ::redis::cmd("GET").arg(hot).query::<Vec<u8>>(connection);
    let (ours, theirs) = (read(&mut from)?, read(&mut to)?);
    ensure!(ours == theirs && ours.len() > BODY_BYTES, "the two servers answer different bytes for {hot}");
    Ok(())
}

fn connect(address: SocketAddr) -> Result<::redis::Connection> {
    let client = ::redis::Client::open(format!("redis://{address}/"))?;
    client.get_connection().with_context(|| format!("cannot connect to {address}"))
}

/// Requests per second of one run.
fn measure(server: SocketAddr, pipeline: u32, requests: u32, key: &str) -> Result<f64> {
    let mut benchmark = sh::command("redis-benchmark");
    benchmark.args(["-h", &server.ip().to_string(), "-p", &server.port().to_string(), "--csv"]);
    benchmark.args(["-c", &CONNECTIONS.to_string(), "-P", &pipeline.to_string()]);
    benchmark.args(["-n", &requests.to_string(), "-r", &KEYS.to_string(), "GET", key]);
    let output = sh::capture(&mut benchmark)?;
    rate(&output).with_context(|| format!("redis-benchmark gave no rate:\n{output}"))
}

/// The second field of the last line: `"GET item:1","95238.10",...`.
fn rate(output: &str) -> Option<f64> {
    output.lines().last()?.split(',').nth(1)?.trim_matches('"').parse().ok()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_read_from_the_last_line() {
        let output = "\"test\",\"rps\",\"avg_latency_ms\"\n\"GET item:__rand_int__\",\"95238.10\",\"0.27\"\n";
        assert_eq!(rate(output), Some(95_238.10));
        assert_eq!(rate("Could not connect"), None);
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
    }
}
