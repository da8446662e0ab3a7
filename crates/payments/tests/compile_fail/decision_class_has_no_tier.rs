//! The plan of a class that is never cached does not open a class that is.

use payments::cache::PLAN;
use trueup::{
    Plan,
    engine::class::{CacheablePlan, DecisionPlan},
};

fn open(_: CacheablePlan) {}

fn balances(plan: DecisionPlan) {
    open(plan);
}

fn main() {
    let _ = Plan::parse("plan.toml", PLAN, &[]);
}
