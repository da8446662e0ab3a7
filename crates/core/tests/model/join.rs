//! Single-flight: a reader joins a load that is under way.

use crate::{
    breaks, holds,
    judge::Witness,
    node::Broken,
    world::{Budget, World},
};

fn joining() -> World {
    let budget = Budget { commits: 2, loads: 1, asks: 2, joins: 1, ..Budget::default() };
    World { budget, ..World::default() }
}

#[test]
fn joining_holds() {
    holds(joining(), &[Witness::JoinedBeforeQuery, Witness::JoinedAndChecked, Witness::JoinedInVain]);
}

#[test]
fn without_the_check_of_those_who_came_after_the_query() {
    breaks(World { broken: Some(Broken::JoinOnlyBeforeQuery), ..joining() }, "P1 P2");
}
