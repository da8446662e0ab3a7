//! Two nodes: entries that one settled and another serves; sessions that go from one to the other.

use crate::{
    breaks, holds,
    judge::Witness,
    node::Broken,
    world::{Budget, World},
};

fn sharing() -> World {
    let budget = Budget { commits: 1, loads: 1, asks: 2, shares: 1, ..Budget::default() };
    World { nodes: 2, budget, ..World::default() }
}

/// The second node has followed the feed for a shorter time than the entry has been settled.
fn sharing_with_a_late_node() -> World {
    let budget = Budget { commits: 1, loads: 1, asks: 1, shares: 1, ..Budget::default() };
    World { last_node_late: true, budget, ..sharing() }
}

fn sharing_over_a_failover() -> World {
    let budget = Budget { commits: 1, loads: 1, asks: 1, shares: 1, fail_overs: 1, ..Budget::default() };
    World { budget, ..sharing() }
}

fn session() -> World {
    let budget = Budget { commits: 1, loads: 2, asks: 1, session: 1, ..Budget::default() };
    World { nodes: 2, budget, ..World::default() }
}

#[test]
fn sharing_holds() {
    holds(sharing(), &[Witness::Adopted, Witness::ServedAdopted, Witness::ServedSettled]);
}

#[test]
fn sharing_with_a_late_node_holds() {
    holds(sharing_with_a_late_node(), &[Witness::Adopted, Witness::ServedSettled]);
}

#[test]
fn sharing_over_a_failover_holds() {
    holds(sharing_over_a_failover(), &[Witness::Adopted, Witness::ServedSettled]);
}

#[test]
fn a_session_holds() {
    holds(session(), &[Witness::SessionRead, Witness::RefusedToken, Witness::ServedWithToken]);
}

#[test]
fn without_the_start_of_the_nodes_knowledge() {
    breaks(World { broken: Some(Broken::AdoptAfterStart), ..sharing_with_a_late_node() }, "P1 P2");
}

#[test]
fn without_the_epoch_of_a_shared_entry() {
    breaks(World { broken: Some(Broken::AdoptEpoch), ..sharing_over_a_failover() }, "P1 P2 P5");
}

#[test]
fn without_the_sessions_token() {
    breaks(World { broken: Some(Broken::SessionToken), ..session() }, "P3");
}

#[test]
fn without_the_epoch_in_which_an_entry_was_settled() {
    breaks(World { broken: Some(Broken::ShareEpoch), ..sharing_over_a_failover() }, "P1 P2 P5");
}
