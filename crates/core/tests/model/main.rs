//! Model checking of the proof: every order of the steps of writers, feed, loads and reads, within small bounds.
//!
//! The nodes run the production code of `trueup_core::proof`. Each `holds` explores a whole state space and finds no
//! answer that breaks a promise; each `breaks` leaves out one rule and demands that one of the named promises is found broken.

#![allow(clippy::panic)]

mod acts;
mod db;
mod fleet;
mod join;
mod judge;
mod node;
mod one_node;
mod read;
mod source;
mod world;

use judge::Witness;
use stateright::{Checker, Model};
use world::World;

/// Explores everything: no promise is broken, and everything named has happened on the way.
fn holds(world: World, expected: &[Witness]) {
    let witnessed = std::sync::Arc::clone(&world.witnessed);
    let checker = world.checker().spawn_bfs().join();
    println!("{} states, {} steps deep at most", checker.unique_state_count(), checker.max_depth());
    if let Some((name, path)) = checker.discoveries().into_iter().next() {
        let last = path.last_state().clone();
        panic!("{name} is broken by {:#?}\nin {last:#?}", path.into_actions());
    }
    let witnessed = witnessed.load(std::sync::atomic::Ordering::Relaxed);
    let missing: Vec<_> = expected.iter().filter(|w| witnessed & 1 << **w as u8 == 0).collect();
    assert!(missing.is_empty(), "the model never came to {missing:?}");
}

/// With one rule left out a promise is broken, and this is noticed.
fn breaks(world: World, promises: &str) {
    let broken = world.broken;
    let checker = world.checker().finish_when(stateright::HasDiscoveries::AnyFailures).spawn_bfs().join();
    let discoveries = checker.discoveries();
    let Some((name, path)) = discoveries.into_iter().next() else {
        panic!("nothing noticed that {broken:?} is left out, in {} states", checker.unique_state_count());
    };
    let steps = path.into_actions();
    println!("without {broken:?}: {name} is broken in {} steps: {steps:?}", steps.len());
    assert!(promises.contains(&name[..2]), "expected {promises} to break, not {name}");
}
