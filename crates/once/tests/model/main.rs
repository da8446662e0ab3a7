//! Model checking of the engine around an outside system: every order of the steps of two workers, of messages, crashes, stolen
//! leases and expiring keys, within small bounds.
//!
//! `the_engine_holds` explores the whole state space and finds no broken promise; each `without_...` leaves out one rule and demands
//! that the named promise is found broken.

#![allow(clippy::panic)]

mod world;

use stateright::{Checker, HasDiscoveries, Model};
use world::{Rule, World};

/// Explores everything: no promise is broken, and everything named happens somewhere.
fn holds(world: World) {
    let checker = world.checker().spawn_bfs().join();
    println!("{} states, {} steps deep at most", checker.unique_state_count(), checker.max_depth());
    checker.assert_properties();
}

/// With one rule left out, `promise` is found broken.
fn breaks(left_out: Rule, promise: &'static str) {
    let world = World { left_out: Some(left_out) };
    let noticed = HasDiscoveries::AnyOf([promise].into());
    let checker = world.checker().finish_when(noticed).spawn_bfs().join();
    let Some(path) = checker.discovery(promise) else {
        panic!("nothing noticed that {left_out:?} is left out, in {} states", checker.unique_state_count());
    };
    let steps = path.into_actions();
    println!("without {left_out:?}: `{promise}` is broken in {} steps: {steps:?}", steps.len());
}

#[test]
fn the_engine_holds() {
    holds(World { left_out: None });
}

#[test]
fn without_a_key_at_the_gateway_a_resent_request_charges_twice() {
    breaks(Rule::GatewayKey, world::ONE_CHARGE);
}

#[test]
fn without_leaving_a_time_out_open_money_is_taken_and_recorded_as_failed() {
    breaks(Rule::TimeOutIsNoOutcome, world::RECORDED_AS_IT_WAS);
}

#[test]
fn without_a_look_up_after_the_keys_expiry_a_resent_request_charges_twice() {
    breaks(Rule::LookUpAfterExpiry, world::ONE_CHARGE);
}

#[test]
fn without_a_fence_the_ledger_is_posted_to_twice() {
    breaks(Rule::Fence, world::ONE_POSTING);
}

#[test]
fn without_a_margin_before_the_keys_expiry_a_late_request_charges_twice() {
    breaks(Rule::Margin, world::ONE_CHARGE);
}

#[test]
fn without_business_ids_that_stay_a_forgotten_key_charges_twice() {
    breaks(Rule::BusinessId, world::ONE_CHARGE);
}
