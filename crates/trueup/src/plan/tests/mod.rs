//! Reading, refusing and writing plans.

mod guide;
mod layers;
mod messages;
mod roundtrip;

use super::*;

fn read(text: &str) -> Plan {
    Plan::parse("trueup.toml", text, &[]).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

fn refusal(text: &str) -> String {
    Plan::parse("trueup.toml", text, &[]).unwrap_err().to_string()
}
