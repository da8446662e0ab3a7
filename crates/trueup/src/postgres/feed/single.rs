//! A node with a slot of its own, which is gone with its connection: nothing is left behind in the source, and each
//! connection begins a new epoch.

use std::{sync::Arc, time::Duration};

use trueup_core::{
    apply::Feed,
    env::{Nanos, random, spawn},
    proof::{Barrier, Position},
};

use super::{
    asker::{Asker, Ended, Progress},
    assemble::Assembler,
    connection::Replication,
    control::Control,
    error::FeedError,
    host::Host,
    reader::{Confirm, Reader},
    status::Role,
};
use crate::postgres::{identity::Identity, names::PUBLICATION};

/// How long making a slot may take before somebody is named for it, and how often that is looked up.
const NAME_BLOCKER_EVERY: Duration = Duration::from_secs(1);

/// Enters an epoch and follows until that is over.
pub(super) async fn follow(host: &dyn Host, feed: &Feed) -> Result<Ended, FeedError> {
    let control = Control::open(host).await?;
    let row = control.row().await?;
    let mut replication = Replication::connect(&host.conninfo()?, host.system_id()).await?;
    let slot = format!("trueup_{:016x}", random_u64()?);
    let start = make_slot(host, feed, &mut replication, &slot, true).await?;
    replication.start(&slot, PUBLICATION).await?;
    // After the start is known: every transaction that ended before it has a lower id. See docs/rfc/0001.
    let barrier = Barrier { xid: control.own_xid().await?, end: start };
    let identity = Identity {
        system_id: replication.system.id,
        feed_nonce: row.nonce,
        // The changes between two connections are lost: each connection is a generation of its own.
        generation: random_u64()?,
    };
    let connection = random_u64()?;
    let timeline = replication.system.timeline;
    let epoch = identity.epoch(timeline);
    host.status().enter(Role::Single, Some(&slot), connection);
    host.set_identity(Some(identity));
    feed.begin_epoch(epoch, start, Some(barrier));
    tracing::info!(%epoch, %start, connection, "the feed has entered an epoch");

    let progress = Arc::new(Progress::default());
    progress.saw_xid(barrier.xid);
    let reader = Reader {
        host,
        feed,
        progress: Arc::clone(&progress),
        epoch,
        connection,
        replication,
        assembler: Assembler::new(start, barrier.xid),
        confirm: Confirm::Applied,
        sink: None,
        mapped_by: None,
    };
    let asker = Asker {
        host,
        feed,
        progress,
        epoch,
        timeline,
        instance: row.instance,
        barrier: Some(barrier.xid),
        control: Some(control),
        sends_beats: true,
        beaten: (Position::ZERO, Nanos::ZERO),
        stands: (Position::ZERO, Nanos::ZERO),
        named_at: Nanos::ZERO,
    };
    tokio::select! {
        ended = reader.run() => ended,
        ended = asker.run() => ended,
    }
}

/// Makes a slot. While that waits behind a transaction, says which one it is.
pub(super) async fn make_slot(
    host: &dyn Host,
    feed: &Feed,
    replication: &mut Replication,
    slot: &str,
    is_temporary: bool,
) -> Result<Position, FeedError> {
    let watch = Watch { pid: replication.pid, control: Some(Control::open(host).await?) };
    let making = replication.create_slot(slot, is_temporary);
    tokio::pin!(making);
    loop {
        tokio::select! {
            biased;
            made = &mut making => {
                watch.disarm();
                host.status().wait_for(None);
                return made;
            }
            () = tokio::time::sleep(NAME_BLOCKER_EVERY) => {}
        }
        if let Some(who) = watch.blocker().await
            && host.status().wait_for(Some(who.clone()))
        {
            feed.failed(format!(
                "the feed can begin only when every transaction that writes has ended; it waits for {who}"
            ));
        }
    }
}

/// Looks at a session that makes a slot, and ends it when nobody waits for the slot any more.
struct Watch {
    pid: i32,
    control: Option<Control>,
}

impl Watch {
    async fn blocker(&self) -> Option<String> {
        self.control.as_ref()?.blocker(self.pid).await.ok().flatten()
    }

    fn disarm(mut self) {
        self.control = None;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let pid = self.pid;
        if let Some(control) = self.control.take()
            && tokio::runtime::Handle::try_current().is_ok()
        {
            // The call on the other thread cannot be taken back from here; the server can end it.
            spawn("giving up a replication slot", async move { drop(control.end_session(pid).await) });
        }
    }
}

pub(super) fn random_u64() -> Result<u64, FeedError> {
    let mut bytes = [0; 8];
    random::fill(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}
