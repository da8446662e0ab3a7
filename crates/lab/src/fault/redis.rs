//! What a remote tier of one server does: forget, fill up, end, stand still.

use rand::rngs::StdRng;
use rustix::process::Signal;

use super::{Done, Fault};
use crate::world::World;

/// Little enough that it is full at once.
const FULL: &str = "2mb";

/// Everything is gone.
#[derive(Default)]
pub(super) struct Flushed;

impl Fault for Flushed {
    fn inject<'a>(&'a mut self, world: &'a World, _: &'a mut StdRng) -> Done<'a> {
        Box::pin(async { world.l2.redis(|redis| redis.cli(&["FLUSHALL"])).map(drop) })
    }

    fn heal<'a>(&'a mut self, _: &'a World) -> Done<'a> {
        Box::pin(async { Ok(()) })
    }
}

/// It takes nothing more: no memory left, and nothing may be evicted.
#[derive(Default)]
pub(super) struct Full;

impl Fault for Full {
    fn inject<'a>(&'a mut self, world: &'a World, _: &'a mut StdRng) -> Done<'a> {
        Box::pin(async {
            world.l2.redis(|redis| {
                redis.cli(&["CONFIG", "SET", "maxmemory-policy", "noeviction"])?;
                redis.cli(&["CONFIG", "SET", "maxmemory", FULL])
            })?;
            Ok(())
        })
    }

    fn heal<'a>(&'a mut self, world: &'a World) -> Done<'a> {
        Box::pin(async { world.l2.redis(|redis| redis.cli(&["CONFIG", "SET", "maxmemory", "0"])).map(drop) })
    }
}

/// It ends, and comes back empty.
#[derive(Default)]
pub(super) struct Killed;

impl Fault for Killed {
    fn inject<'a>(&'a mut self, world: &'a World, _: &'a mut StdRng) -> Done<'a> {
        Box::pin(async {
            world.l2.redis(|redis| {
                redis.kill();
                Ok(())
            })
        })
    }

    fn heal<'a>(&'a mut self, world: &'a World) -> Done<'a> {
        Box::pin(async { world.l2.redis(trueup_testbed::Redis::start_again) })
    }
}

/// It stands still with its connections open.
#[derive(Default)]
pub(super) struct Stopped;

impl Stopped {
    fn signal(world: &World, signal: Signal) -> Done<'_> {
        Box::pin(async move {
            world.l2.redis(|redis| redis.server().map_or(Ok(()), |server| server.signal(signal)))
        })
    }
}

impl Fault for Stopped {
    fn inject<'a>(&'a mut self, world: &'a World, _: &'a mut StdRng) -> Done<'a> {
        Self::signal(world, Signal::STOP)
    }

    fn heal<'a>(&'a mut self, world: &'a World) -> Done<'a> {
        Self::signal(world, Signal::CONT)
    }
}
