//! The second program: plain SQL on the bank's file, by another process that knows nothing of a cache.

use std::{
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rusqlite::Connection;
use trueup_core::env::random;

use super::{Failure, bank::ACCOUNTS};

/// How long the writer waits for another program's lock.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// Largest amount of one transfer.
const AMOUNT_MAX: u64 = 100;
/// Old transfers are deleted beyond this number, so that the file stays small.
const TRANSFERS_KEPT: i64 = 10_000;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The bank's file
    database: PathBuf,
    /// Transfers per second
    rate: u32,
}

/// Writes until it is told to end. Where the demo was killed, nobody tells: standard input just ends. Then the folder is
/// taken away here.
pub(in crate::cli) fn run(args: &Args) -> Result<(), Failure> {
    let ends = Arc::new(Ends::default());
    let seen = Arc::clone(&ends);
    std::thread::spawn(move || {
        let told = matches!(std::io::stdin().read(&mut [0]), Ok(1));
        seen.orphaned.store(!told, Ordering::Release);
        seen.asked.store(true, Ordering::Release);
    });
    let written = transfer_until(args, &ends.asked);
    if ends.orphaned.load(Ordering::Acquire)
        && let Some(folder) = args.database.parent()
    {
        let _ = std::fs::remove_dir_all(folder);
        return Ok(());
    }
    written.map_err(|error| Failure::system("the demo's writer failed", &error))
}

/// How the writer ends.
#[derive(Default)]
struct Ends {
    asked: AtomicBool,
    orphaned: AtomicBool,
}

fn transfer_until(args: &Args, stop: &AtomicBool) -> rusqlite::Result<()> {
    let mut conn = Connection::open(&args.database)?;
    conn.busy_timeout(LOCK_WAIT)?;
    // A transfer lost to a power cut harms nobody here.
    conn.pragma_update(None, "synchronous", "normal")?;
    let pause = Duration::from_secs(1) / args.rate.max(1);
    while !stop.load(Ordering::Acquire) {
        transfer(&mut conn)?;
        std::thread::sleep(pause);
    }
    Ok(())
}

fn transfer(conn: &mut Connection) -> rusqlite::Result<()> {
    let account = || (random::number() % ACCOUNTS as u64) as i64 + 1;
    let (payer, payee, amount) = (account(), account(), (random::number() % AMOUNT_MAX + 1) as i64);
    let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let debited = tx
        .prepare_cached("UPDATE account SET balance = balance - ?2 WHERE id = ?1 AND balance >= ?2")?
        .execute((payer, amount))?;
    if debited == 1 {
        tx.prepare_cached("UPDATE account SET balance = balance + ?2 WHERE id = ?1")?
            .execute((payee, amount))?;
        tx.prepare_cached("INSERT INTO transfer(payer, payee, amount) VALUES (?1, ?2, ?3)")?
            .execute((payer, payee, amount))?;
        tx.prepare_cached("DELETE FROM transfer WHERE id <= last_insert_rowid() - ?1")?
            .execute([TRANSFERS_KEPT])?;
    }
    tx.commit()
}

/// The second program, as the demo sees it. Killed when dropped.
pub(super) struct Writer(Mutex<Child>);

impl Writer {
    /// Starts this very binary as the second program.
    pub(super) fn start(database: &Path, rate: u32) -> Result<Self, Failure> {
        let refused = |error| Failure::system("cannot start the second program", &error);
        let mut command = Command::new(std::env::current_exe().map_err(refused)?);
        command.arg("demo-writer").arg(database).arg(rate.to_string());
        // A Ctrl-C in the terminal is for the demo; the writer ends when its input does.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().map_err(refused)?;
        Ok(Self(Mutex::new(child)))
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.0.lock().try_wait(), Ok(None))
    }

    /// Ends it and waits until it has ended.
    pub(super) fn stop(self) {
        let mut child = self.0.lock();
        if let Some(mut input) = child.stdin.take() {
            // Fails only where it has ended already.
            let _ = input.write_all(b"\n");
        }
        let _ = child.wait();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let child = self.0.get_mut();
        let _ = child.kill();
        let _ = child.wait();
    }
}
