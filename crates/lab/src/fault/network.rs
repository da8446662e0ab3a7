//! The network between a node and the servers it stands on.

use rand::{Rng as _, rngs::StdRng};

use super::{Done, Fault};
use crate::{proxy::Weather, world::World};

/// What is at the other end.
#[derive(Clone, Copy)]
pub(super) enum To {
    /// The database: loads, and the feed of whoever holds it.
    Database,
    /// The remote tier.
    Remote,
}

/// The network of one node, or of all.
pub(super) struct Network {
    to: To,
    weather: fn() -> Weather,
    all: bool,
    nodes: Vec<usize>,
}

impl Network {
    pub(super) fn one(to: To, weather: fn() -> Weather) -> Box<dyn Fault> {
        Box::new(Self { to, weather, all: false, nodes: Vec::new() })
    }

    pub(super) fn all(to: To, weather: fn() -> Weather) -> Box<dyn Fault> {
        Box::new(Self { to, weather, all: true, nodes: Vec::new() })
    }

    fn set(&self, world: &World, weather: fn() -> Weather) -> Done<'static> {
        let set = || {
            for node in &self.nodes {
                match self.to {
                    To::Database => world.source.postgres()?.weather(*node, weather()),
                    To::Remote => world.l2.weather(*node, weather()),
                }
            }
            Ok(())
        };
        let done = set();
        Box::pin(async { done })
    }
}

impl Fault for Network {
    fn inject<'a>(&'a mut self, world: &'a World, dice: &'a mut StdRng) -> Done<'a> {
        let nodes = world.nodes.len();
        self.nodes = if self.all { (0..nodes).collect() } else { vec![dice.random_range(0..nodes)] };
        self.set(world, self.weather)
    }

    fn heal<'a>(&'a mut self, world: &'a World) -> Done<'a> {
        self.set(world, Weather::default)
    }
}
