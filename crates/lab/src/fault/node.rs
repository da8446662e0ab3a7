//! Nodes that die, and nodes that stand still and do not know it.

use std::time::Duration;

use rand::{Rng as _, rngs::StdRng};
use rustix::process::Signal;

use super::{Done, Fault};
use crate::world::World;

/// A node ends without a word, and is started again.
#[derive(Default)]
pub(super) struct Killed {
    node: usize,
}

impl Fault for Killed {
    fn inject<'a>(&'a mut self, world: &'a World, dice: &'a mut StdRng) -> Done<'a> {
        self.node = dice.random_range(0..world.nodes.len());
        Box::pin(async {
            tokio::task::block_in_place(|| world.nodes[self.node].kill());
            Ok(())
        })
    }

    fn heal<'a>(&'a mut self, world: &'a World) -> Done<'a> {
        Box::pin(async {
            let node = &world.nodes[self.node];
            node.start()?;
            node.ready(&world.book.clock).await
        })
    }
}

/// A node stands still, and wakes with what it knew before.
#[derive(Default)]
pub(super) struct Stopped {
    node: usize,
}

impl Fault for Stopped {
    fn inject<'a>(&'a mut self, world: &'a World, dice: &'a mut StdRng) -> Done<'a> {
        self.node = dice.random_range(0..world.nodes.len());
        Box::pin(async { world.nodes[self.node].signal(Signal::STOP) })
    }

    fn heal<'a>(&'a mut self, world: &'a World) -> Done<'a> {
        Box::pin(async { world.nodes[self.node].signal(Signal::CONT) })
    }
}

/// Pause between two blinks.
const BLINK: [u64; 2] = [5, 60];

/// A node stands still again and again, for some milliseconds each time: in the middle of whatever it does.
#[derive(Default)]
pub(super) struct Blinking {
    node: usize,
}

/// Blinks of one fault.
const BLINKS: usize = 40;

impl Fault for Blinking {
    fn inject<'a>(&'a mut self, world: &'a World, dice: &'a mut StdRng) -> Done<'a> {
        self.node = dice.random_range(0..world.nodes.len());
        Box::pin(async {
            let node = &world.nodes[self.node];
            for _ in 0..BLINKS {
                for signal in [Signal::STOP, Signal::CONT] {
                    node.signal(signal)?;
                    let pause_ms = dice.random_range(BLINK[0]..BLINK[1]);
                    tokio::time::sleep(Duration::from_millis(pause_ms)).await;
                }
            }
            Ok(())
        })
    }

    fn heal<'a>(&'a mut self, world: &'a World) -> Done<'a> {
        // Also where the injection was interrupted.
        Box::pin(async { world.nodes[self.node].signal(Signal::CONT) })
    }
}
