//! No `trueup.toml` may panic its reader, and what is written back must read the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trueup::plan::{Plan, render};

fuzz_target!(|text: &str| {
    let Ok(plan) = Plan::parse("fuzz", text, &[]) else { return };
    let written = render(&plan, &[]);
    let read = Plan::parse("written", &written, &[]).expect("what was written is readable");
    assert_eq!(render(&read, &[]), written);
});
