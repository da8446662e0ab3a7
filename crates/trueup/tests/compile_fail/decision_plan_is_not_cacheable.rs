//! The engine opens a cacheable plan, and a decision's plan is none.

use trueup::engine::class::{CacheablePlan, DecisionPlan};

fn open(_: CacheablePlan) {}

fn decision(plan: DecisionPlan) {
    open(plan);
}

fn main() {}
