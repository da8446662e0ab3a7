//! Random histories of the whole read path, each answer checked against everything that was ever committed.
//!
//! The check is linear in the history: every version of a key has a time at which readers could first see it and a time
//! at which its successor was acknowledged. An answer must be of a version that was current at some moment between as
//! long before the read as its receipt admits, and the read's end; and not older than what the reader's token stands for.

mod actors;
mod checker;

use sha2::{Digest, Sha256};

use super::source::Kind;

/// Histories of each kind of database.
const SEEDS: u64 = 40;

fn run(kind: Kind, seed: u64, filtered: bool) -> checker::History {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(actors::play(kind, seed, filtered))
}

fn check_all(kind: Kind) {
    let mut from_memory = 0;
    for seed in 0..SEEDS {
        let history = run(kind, seed, false);
        if let Err(wrong) = history.check() {
            panic!("{kind:?}, seed {seed}: {wrong}");
        }
        from_memory += history.count_from_memory();
    }
    assert!(from_memory > 1000, "only {from_memory} answers came from memory: the histories show nothing");
}

#[test]
fn random_histories_on_a_sequence_keep_the_promises() {
    check_all(Kind::Sequence);
}

#[test]
fn random_histories_with_commits_delivered_before_they_are_visible_keep_the_promises() {
    check_all(Kind::Xids);
}

#[test]
fn what_the_keys_there_are_say_is_absent_is_absent_in_random_histories() {
    for kind in [Kind::Sequence, Kind::Xids] {
        let mut from_filter = 0;
        for seed in 0..SEEDS {
            let history = run(kind, seed, true);
            if let Err(wrong) = history.check() {
                panic!("{kind:?}, seed {seed}: {wrong}");
            }
            from_filter += history.count_from_filter();
        }
        assert!(from_filter > 1_000, "{kind:?}: only {from_filter} answers came from the filter");
    }
}

#[test]
fn determinism_histories() {
    let mut digest = Sha256::new();
    for kind in [Kind::Sequence, Kind::Xids] {
        for seed in 0..4 {
            digest.update(run(kind, seed, false).lines());
        }
    }
    let hex: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    println!("digest: {hex}");
}
