//! Carries bytes one way, as the weather allows.

use std::{io, time::Duration};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::tcp::{OwnedReadHalf, OwnedWriteHalf},
    sync::watch,
};

use super::weather::{Flow, Weather};

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

/// Carries bytes until one side ends or the weather ends it. `seed` chooses what is corrupted, where that may be.
pub(super) async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
    cuts: u64,
    seed: Option<u64>,
) -> io::Result<()> {
    let mut dice = seed.map(StdRng::seed_from_u64);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        if !open(&mut weather, cuts).await {
            return Ok(());
        }
        let length = tokio::select! {
            read = from.read(&mut piece) => read?,
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
        if now.latency + takes > Duration::ZERO {
            tokio::time::sleep(now.latency + takes).await;
        }
        // What is under way when the network falls silent is lost in it.
        if !open(&mut weather, cuts).await {
            return Ok(());
        }
        if let Some(dice) = &mut dice
            && now.garbage > 0.0
            && dice.random_bool(now.garbage.min(1.0))
        {
            let at = dice.random_range(0..length);
            piece[at] ^= dice.random_range(1..=u8::MAX);
        }
        to.write_all(&piece[..length]).await?;
    }
}
