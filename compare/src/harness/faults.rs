//! What happens while answers are judged.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::servers::{Pair, Servers};

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Only writes that race with reads.
    None,
    /// Messages are lost: the connections on which nodes listen are cut, again and again.
    Lost,
    /// Redis' primary dies while its replica is behind.
    Failover,
}

/// From one time that messages are lost to the next.
const CUT_EVERY: Duration = Duration::from_secs(3);
/// How long they are lost each time.
const CUT_FOR: Duration = Duration::from_millis(400);
/// Pause between two cuts while they are lost: who comes back is cut off again.
const CUT_AGAIN: Duration = Duration::from_millis(10);
/// How long the replica has heard nothing when the primary dies.
const BEHIND: Duration = Duration::from_secs(1);

/// Lets it happen, within `run` from now.
pub(super) fn happen(fault: Fault, run: Duration, servers: &Servers, pair: Option<&mut Pair>) -> Result<()> {
    match fault {
        Fault::None => Ok(()),
        Fault::Lost => lose(run, servers),
        Fault::Failover => {
            let pair = pair.context("there is no replica")?;
            sleep(run / 4);
            pair.part()?;
            sleep(BEHIND);
            pair.fail_over();
            Ok(())
        }
    }
}

/// Cuts what nodes listen on: Redis' subscriptions, and the database's change log.
fn lose(run: Duration, servers: &Servers) -> Result<()> {
    let mut redis = redis::Client::open(servers.redis.url())?.get_connection()?;
    let began = Instant::now();
    sleep(CUT_EVERY / 3);
    while began.elapsed() + CUT_FOR < run {
        let cut = Instant::now();
        servers.postgres.query("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")?;
        while cut.elapsed() < CUT_FOR {
            let _: i64 =
                redis::cmd("CLIENT").arg(&["KILL", "TYPE", "pubsub", "SKIPME", "yes"]).query(&mut redis)?;
            sleep(CUT_AGAIN);
        }
        sleep(CUT_EVERY.saturating_sub(cut.elapsed()));
    }
    Ok(())
}
