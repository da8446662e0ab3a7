//! Tokens, snapshots, epoch names and leases: every text is refused or reads back as written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trueup_core::{
    LeaseId,
    entry::EpochId,
    proof::{Token, XidSnapshot},
};

fn reads_back<T: std::str::FromStr + ToString + PartialEq>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert!(value.to_string().parse().is_ok_and(|again: T| again == value));
    }
}

fuzz_target!(|text: &str| {
    reads_back::<Token>(text);
    reads_back::<XidSnapshot>(text);
    reads_back::<EpochId>(text);
    reads_back::<LeaseId>(text);
});
