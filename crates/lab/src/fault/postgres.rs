//! What PostgreSQL goes through.

use std::{path::Path, time::Duration};

use rand::{Rng as _, rngs::StdRng};
use rustix::process::Signal;
use trueup_testbed::{Stop, eventually};

use super::{Done, Fault, bulk};
use crate::world::{LabError, PostgresSource, World};

/// How long writes go on before what they wrote is lost.
const LOST: Duration = Duration::from_millis(700);
/// How long readers may see what is about to be lost.
const SEEN: Duration = Duration::from_millis(30);
/// How long the WAL writer sleeps while commits are acknowledged before they are written; the most it can.
const WAL_WRITER_SLEEPS: &str = "10s";
/// Pause between two attempts to drop a slot that is taken again at once.
const DROP_TRIES: u32 = 100;
/// Rows of about a kilobyte that push the WAL beyond the cap of a slot.
const WAL_ROWS: u32 = 200_000;
/// Names the walsender of the slot.
const WALSENDER: &str =
    "SELECT active_pid FROM pg_replication_slots WHERE slot_type = 'logical' AND active_pid IS NOT NULL";

/// A setting that is changed and put back.
pub(super) struct Setting {
    pub(super) name: &'static str,
    pub(super) broken: &'static str,
    pub(super) well: &'static str,
}

impl Fault for Setting {
    fn inject<'a>(&'a mut self, world: &'a World, _: &'a mut StdRng) -> Done<'a> {
        Box::pin(async { world.source.postgres()?.set(self.name, self.broken) })
    }

    fn heal<'a>(&'a mut self, world: &'a World) -> Done<'a> {
        Box::pin(async { world.source.postgres()?.set(self.name, self.well) })
    }
}

/// Commits are acknowledged before they are written, and then the server crashes: what was acknowledged is gone, and its
/// transaction ids are given out again.
#[derive(Default)]
pub(super) struct AsyncCrash;

impl Fault for AsyncCrash {
    fn inject<'a>(&'a mut self, world: &'a World, _: &'a mut StdRng) -> Done<'a> {
        Box::pin(async {
            let postgres = world.source.postgres()?;
            postgres.set("wal_writer_delay", WAL_WRITER_SLEEPS)?;
            postgres.set("synchronous_commit", "off")?;
            tokio::time::sleep(LOST).await;
            // Whoever flushes the log flushes everything before; so there is something that nobody has had time to.
            let items = world.book.layout.item_objects();
            world
                .write_all(items.clone(), &[bulk::rewrite(items, "doomed")], |object| {
                    world.book.is_present(object)
                })
                .await?;
            tokio::time::sleep(SEEN).await;
            let start = world.book.clock.now();
            postgres.crash()?;
            let nobody = world.gate.freeze().await;
            postgres.start_again()?;
            world.rewound(start, &nobody).await
        })
    }

    fn heal<'a>(&'a mut self, world: &'a World) -> Done<'a> {
        Box::pin(async {
            let postgres = world.source.postgres()?;
            postgres.set("synchronous_commit", "on")?;
            postgres.set("wal_writer_delay", "200ms")
        })
    }
}

/// The server ends and is back some time later; nothing that was acknowledged is lost.
#[derive(Default)]
pub(super) struct Restarted;

impl Fault for Restarted {
    fn inject<'a>(&'a mut self, world: &'a World, _: &'a mut StdRng) -> Done<'a> {
        Box::pin(async { world.source.postgres()?.primary(|primary| primary.stop(Stop::Fast)) })
    }

    fn heal<'a>(&'a mut self, world: &'a World) -> Done<'a> {
        Box::pin(async { world.source.postgres()?.start_again() })
    }
}

/// The process that sends the feed ends.
#[derive(Default)]
pub(super) struct WalsenderKilled;

impl Fault for WalsenderKilled {
    fn inject<'a>(&'a mut self, world: &'a World, _: &'a mut StdRng) -> Done<'a> {
        Box::pin(async {
            let terminate = format!("SELECT pg_terminate_backend(pid) FROM ({WALSENDER}) held (pid)");
            world.source.postgres()?.query(&terminate).map(drop)
        })
    }

    fn heal<'a>(&'a mut self, _: &'a World) -> Done<'a> {
        Box::pin(async { Ok(()) })
    }
}

/// The process that sends the feed stands still.
#[derive(Default)]
pub(super) struct WalsenderStopped;

impl WalsenderStopped {
    fn signal(world: &World, signal: Signal) -> Done<'_> {
        Box::pin(async move { world.source.postgres()?.signal_backend(WALSENDER, signal).map(drop) })
    }
}

impl Fault for WalsenderStopped {
    fn inject<'a>(&'a mut self, world: &'a World, _: &'a mut StdRng) -> Done<'a> {
        Self::signal(world, Signal::STOP)
    }

    fn heal<'a>(&'a mut self, world: &'a World) -> Done<'a> {
        Self::signal(world, Signal::CONT)
    }
}

/// The slot is dropped, with what it held back.
#[derive(Default)]
pub(super) struct SlotDropped;

impl Fault for SlotDropped {
    fn inject<'a>(&'a mut self, world: &'a World, _: &'a mut StdRng) -> Done<'a> {
        Box::pin(async {
            let postgres = world.source.postgres()?;
            for _ in 0..DROP_TRIES {
                // Whoever holds it is ended first, and may be back before it is dropped.
                let dropped = postgres.query(
                    "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_type = 'logical' \
                     AND active_pid IS NOT NULL; \
                     SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_type = 'logical'",
                );
                if dropped.is_ok() {
                    return Ok(());
                }
            }
            Err(LabError::failed("dropping the slot", "somebody always held it"))
        })
    }

    fn heal<'a>(&'a mut self, _: &'a World) -> Done<'a> {
        Box::pin(async { Ok(()) })
    }
}

/// The feed is not read while more WAL is written than the slot may keep: the slot is lost.
#[derive(Default)]
pub(super) struct WalBeyondCap;

impl Fault for WalBeyondCap {
    fn inject<'a>(&'a mut self, world: &'a World, _: &'a mut StdRng) -> Done<'a> {
        Box::pin(async {
            world.nodes.iter().try_for_each(|node| node.signal(Signal::STOP))?;
            let flood = format!(
                "CREATE TABLE IF NOT EXISTS flood (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, t TEXT); \
                 INSERT INTO flood (t) SELECT repeat('x', 1000) FROM generate_series(1, {WAL_ROWS}); \
                 TRUNCATE flood"
            );
            world.batch(&flood).await?;
            // One removes nothing: what it may remove is decided by the one before.
            world.source.postgres()?.query("CHECKPOINT; SELECT pg_switch_wal(); CHECKPOINT").map(drop)
        })
    }

    fn heal<'a>(&'a mut self, world: &'a World) -> Done<'a> {
        Box::pin(async { world.nodes.iter().try_for_each(|node| node.signal(Signal::CONT)) })
    }
}

/// Whoever holds the feed stands still; somebody else takes over; then it wakes and believes that it holds it still.
#[derive(Default)]
pub(super) struct HolderStopped {
    node: usize,
}

impl HolderStopped {
    /// The node whose address stands in Trueup's own table; by lot where none does.
    fn holder(world: &World, postgres: &PostgresSource, lot: usize) -> usize {
        let holder = postgres.query("SELECT holder FROM trueup.feed").unwrap_or_default();
        let named = world.nodes.iter().position(|node| holder.contains(&node.http.to_string()));
        named.unwrap_or(lot % world.nodes.len())
    }
}

impl Fault for HolderStopped {
    fn inject<'a>(&'a mut self, world: &'a World, dice: &'a mut StdRng) -> Done<'a> {
        let lot = dice.random_range(0..usize::MAX);
        Box::pin(async move {
            self.node = Self::holder(world, world.source.postgres()?, lot);
            world.nodes[self.node].signal(Signal::STOP)
        })
    }

    fn heal<'a>(&'a mut self, world: &'a World) -> Done<'a> {
        Box::pin(async { world.nodes[self.node].signal(Signal::CONT) })
    }
}

/// The standby becomes the primary, on a new timeline. The old one is fenced, or goes on and takes writes that nobody will
/// ever see again.
pub(super) struct Promoted {
    pub(super) fenced: bool,
}

impl Fault for Promoted {
    fn inject<'a>(&'a mut self, world: &'a World, _: &'a mut StdRng) -> Done<'a> {
        Box::pin(async {
            let postgres = world.source.postgres()?;
            postgres.ensure_standby()?;
            postgres.stall_standby()?;
            tokio::time::sleep(LOST).await;
            let nobody = world.gate.freeze().await;
            let start = world.book.clock.now();
            postgres.promote(self.fenced)?;
            world.rewound(start, &nobody).await?;
            drop(nobody);
            if let Some(url) = postgres.old_url() {
                lost_writes(&url).await?;
            }
            Ok(())
        })
    }

    fn heal<'a>(&'a mut self, world: &'a World) -> Done<'a> {
        Box::pin(async {
            let postgres = world.source.postgres()?;
            tokio::task::block_in_place(|| postgres.end_old());
            Ok(())
        })
    }
}

/// Somebody still writes to the old primary. No reader may ever be shown it: these versions were never in any state that
/// counts.
async fn lost_writes(url: &str) -> Result<(), LabError> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    let connection = trueup_core::env::spawn("lab old primary", async move { _ = connection.await });
    let wrote = client.batch_execute("UPDATE item SET version = -1; UPDATE account SET version = -1").await;
    connection.stop();
    Ok(wrote?)
}

/// An older copy of the server's files is put back.
#[derive(Default)]
pub(super) struct Restored;

impl Fault for Restored {
    fn inject<'a>(&'a mut self, world: &'a World, _: &'a mut StdRng) -> Done<'a> {
        Box::pin(async {
            let postgres = world.source.postgres()?;
            let copy = postgres.copy();
            // Left behind by a fault that failed.
            let _ = std::fs::remove_dir_all(&copy);
            postgres.primary(|primary| primary.stop(Stop::Fast))?;
            postgres.primary(|primary| primary.copy_data(&copy))?;
            postgres.start_again()?;
            tokio::time::sleep(LOST).await;
            let start = world.book.clock.now();
            postgres.crash()?;
            let nobody = world.gate.freeze().await;
            put_back(postgres, &copy)?;
            world.rewound(start, &nobody).await
        })
    }

    fn heal<'a>(&'a mut self, _: &'a World) -> Done<'a> {
        Box::pin(async { Ok(()) })
    }
}

fn put_back(postgres: &PostgresSource, copy: &Path) -> Result<(), LabError> {
    postgres.primary(|primary| {
        primary.restore(copy)?;
        primary.start_again()?;
        eventually("the restored server", || primary.query("SELECT 1").map(drop))
    })
}
