//! Carries bytes one way, as the weather allows.

use std::{io, time::Duration};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::tcp::{OwnedReadHalf, OwnedWriteHalf},
    sync::watch,
};

use super::weather::{Flow, Weather, one_way};

/// Bytes that are carried at a time.
const PIECE_BYTES: usize = 16 * 1024;

/// Waits until bytes may pass; false when the connection is to end.
pub(super) async fn open(weather: &mut watch::Receiver<Weather>, cuts: u64) -> bool {
    loop {
        let now = weather.borrow_and_update().clone();
        match now.flow {
            _ if now.cuts != cuts => return false,
            Flow::Cut => return false,
            Flow::Open => return true,
            Flow::Silent if weather.changed().await.is_err() => return false,
            Flow::Silent => {}
        }
    }
}

/// Whose bytes are carried.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    /// One of them may come corrupted.
    Server,
}

/// Carries bytes until one side ends or the weather ends it. `seed` chooses waits, and what is corrupted.
pub(super) async fn pump(
    from: Side,
    mut reads: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
    cuts: u64,
    seed: u64,
) -> io::Result<()> {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        if !open(&mut weather, cuts).await {
            return Ok(());
        }
        let length = tokio::select! {
            read = reads.read(&mut piece) => read?,
            changed = weather.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return Ok(()),
            },
        };
        if length == 0 {
            return to.shutdown().await;
        }
        let now = weather.borrow().clone();
        let narrow = now.bytes_per_second.filter(|rate| *rate > 0);
        let takes =
            narrow.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(length as f64 / f64::from(rate)));
        let on_its_way = if now.uneven { one_way(&mut dice) } else { Duration::ZERO };
        let wait = now.latency + takes + on_its_way;
        if wait > Duration::ZERO {
            tokio::time::sleep(wait).await;
        }
        // What is under way when the network falls silent is lost in it.
        if !open(&mut weather, cuts).await {
            return Ok(());
        }
        if from == Side::Server && now.garbage > 0.0 && dice.random_bool(now.garbage.min(1.0)) {
            let at = dice.random_range(0..length);
            piece[at] ^= dice.random_range(1..=u8::MAX);
        }
        to.write_all(&piece[..length]).await?;
    }
}
