//! The change log is silent for half a minute, while readers go on. What has not changed meanwhile must need no load when it
//! is back.

use std::{sync::Arc, time::Duration};

use redis::{AsyncConnectionConfig, Value, aio::MultiplexedConnection};
use rustix::process::Signal;

use super::{
    Finding, Shown, end,
    series::{Loads, Mark, Series},
};
use crate::{
    history::Object,
    load::{Load, Rates},
    world::{LabError, Node, World, schema::Row},
};

/// Until every node has what is read often.
const WARM: Duration = Duration::from_secs(8);
const CALM: Duration = Duration::from_secs(5);
const OUTAGE: Duration = Duration::from_secs(30);
/// How long a node may take to answer one batch.
const PATIENCE: Duration = Duration::from_secs(5);
/// Rows that are asked for at once.
const BATCH: usize = 50;
/// So many times each row is read, so that it is loaded, settled, and then answered from memory.
const WARM_READS: usize = 3;
/// Pause between them.
const WARM_PAUSE: Duration = Duration::from_millis(300);
/// Names the walsender of the slot.
const WALSENDER: &str =
    "SELECT active_pid FROM pg_replication_slots WHERE slot_type = 'logical' AND active_pid IS NOT NULL";
/// The share of unchanged rows that must be answered from memory. Lost are those that readers with a token had loaded anew in
/// the moment before their node knew that the log was silent.
const KEPT_MIN: f64 = 0.95;

/// Plays it.
pub(crate) async fn feed_outage(world: &Arc<World>, rates: Rates) -> Result<Shown, LabError> {
    let clock = world.book.clock.clone();
    let load = Load::start(world, rates, false);
    tokio::time::sleep(WARM).await;
    let loads = Loads::watch(world);
    let origin = clock.now();
    tokio::time::sleep(CALM).await;
    let mut held = Vec::new();
    for node in &world.nodes {
        for _ in 0..WARM_READS {
            held.push(from_memory(world, node).await?);
            tokio::time::sleep(WARM_PAUSE).await;
        }
    }
    let (silent, postgres) = (clock.now(), world.source.postgres()?);
    if !postgres.signal_backend(WALSENDER, Signal::STOP)? {
        return Err(LabError::failed("silencing the change log", "nobody sends it"));
    }
    tokio::time::sleep(OUTAGE).await;
    // Readers that go on would load again what the survey is about.
    let until = clock.now();
    let (log, checked) = end(world, load).await;
    // The one that was stopped; another one may have taken its place by now.
    let mended = postgres.signal_backend(WALSENDER, Signal::CONT)?;
    world.ready().await?;
    let ready = clock.now();
    let changed: std::collections::HashSet<Object> = {
        let writes = world.book.so_far().0;
        // Those that were under way when the rows were looked at count as changed, too.
        writes
            .iter()
            .filter(|write| write.start.after(PATIENCE) >= silent)
            .map(|write| write.object)
            .collect()
    };
    let (mut kept, mut unchanged) = (0, 0);
    for (node, held) in world.nodes.iter().zip(held.chunks(WARM_READS)) {
        let now = from_memory(world, node).await?;
        for (row, was) in held.last().into_iter().flatten() {
            if *was && !changed.contains(&row.object) {
                unchanged += 1;
                kept += u64::from(now.iter().any(|(other, from_memory)| other == row && *from_memory));
            }
        }
    }
    let mut series = Series::new(&log, &loads.end(), origin, until);
    series.marks = vec![Mark { at_s: silent.since(origin).as_secs_f64(), what: "change log silent" }];
    let share = f64::from(u32::try_from(kept).unwrap_or(0)) / f64::from(unchanged.max(1));
    let findings = vec![
        Finding::new(mended || world.nodes.len() > 1, "the change log is back"),
        Finding::new(
            share >= KEPT_MIN && unchanged > 0,
            format!(
                "of {unchanged} entries that did not change in {:.0} s, {:.2} % are answered from memory without a load \
                 when the log is back ({} ms after it)",
                ready.since(silent).as_secs_f64(),
                100.0 * share,
                ready.since(until).as_millis()
            ),
        ),
        checked,
    ];
    Ok(Shown { title: "The change log is silent for 30 s", series, findings })
}

/// Reads every row once; which of them came from the node's memory.
async fn from_memory(world: &World, node: &Node) -> Result<Vec<(Row, bool)>, LabError> {
    let client = redis::Client::open(format!("redis://{}", node.resp))?;
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    let layout = world.book.layout;
    let rows: Vec<Row> = (0..layout.objects()).map(|object| layout.row(object, false)).collect();
    let mut found = Vec::with_capacity(rows.len());
    for rows in rows.chunks(BATCH) {
        found.extend(batch(&mut connection, rows).await?);
    }
    Ok(found)
}

async fn batch(connection: &mut MultiplexedConnection, rows: &[Row]) -> Result<Vec<(Row, bool)>, LabError> {
    let mut pipe = redis::pipe();
    for row in rows {
        pipe.cmd("TRUEUP.GET").arg(row.class).arg(row.id);
    }
    let answers: Vec<Value> = pipe.query_async(connection).await?;
    let is_l1 = |answer: &Value| match answer {
        Value::Array(parts) => matches!(parts.last(), Some(Value::BulkString(by)) if by == b"l1"),
        _ => false,
    };
    Ok(rows.iter().copied().zip(answers.iter().map(is_l1)).collect())
}
