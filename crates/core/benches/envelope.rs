//! What an entry's envelope costs on its way to and from L2, and how much of that is the MAC.
//!
//! `cargo bench -p trueup-core --bench envelope`

#![allow(clippy::expect_used)] // a bench that cannot be set up has nothing to measure

use std::{hint::black_box, time::Duration};

use criterion::{
    BenchmarkId, Criterion, Throughput, criterion_group,
    measurement::{Measurement, WallTime},
};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use trueup_core::entry::{Body, Envelope, EnvelopeRef, EpochId, Expected, Header, KeyRing};

const VALUE_BYTES: [usize; 2] = [256, 4096];
const SECRET: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const KEY_DIGEST: [u8; 32] = [7; 32];
const TAGS: [u64; 2] = [1, 2];
/// Calls timed at once for the printed shares.
const CALLS_PER_ROUND: u32 = 20_000;
/// Rounds, of which the fastest counts: whatever else the machine does only makes a round slower.
const ROUNDS: usize = 15;

const HEADER: Header = Header {
    class_digest: [1; 16],
    epoch: EpochId::from_bytes([2; 16]),
    created_ms: 1_700_000_000_000,
    life_ms: 60_000,
    upper: 1000,
    proven_at: 1007,
    row_version: Some(7),
};

/// The three operations on one value size, ready to be timed.
struct Subject {
    keys: KeyRing,
    value: Vec<u8>,
    sealed: Vec<u8>,
    mac: Hmac<Sha256>,
}

impl Subject {
    fn new(value_bytes: usize) -> Self {
        let keys = KeyRing::parse(SECRET).expect("the bench's own secret is well formed");
        let value = vec![b'v'; value_bytes];
        let envelope = Envelope { header: HEADER, tags: &TAGS, body: Body::Value(&value) };
        let sealed = envelope.encode(&KEY_DIGEST, keys.sealing()).expect("a settled entry").to_vec();
        let mac = <Hmac<Sha256> as Mac>::new_from_slice(SECRET.as_bytes()).expect("HMAC takes any key");
        Self { keys, value, sealed, mac }
    }

    fn encode(&self) -> usize {
        let envelope = Envelope { header: HEADER, tags: &TAGS, body: Body::Value(black_box(&self.value)) };
        envelope.encode(&KEY_DIGEST, self.keys.sealing()).map_or(0, |bytes| black_box(bytes).len())
    }

    fn decode(&self) -> u64 {
        let expected =
            Expected { class_digest: HEADER.class_digest, key_digest: &KEY_DIGEST, keys: &self.keys };
        EnvelopeRef::decode(black_box(&self.sealed), &expected, &mut Vec::new())
            .map_or(0, |entry| entry.header.proven_at)
    }

    /// The MAC alone, over the same bytes.
    fn mac(&self) -> u8 {
        let sealed = black_box(&self.sealed[..self.sealed.len() - 16]);
        self.mac.clone().chain_update(KEY_DIGEST).chain_update(sealed).finalize().into_bytes()[0]
    }
}

fn envelope(c: &mut Criterion) {
    let mut group = c.benchmark_group("envelope");
    for value_bytes in VALUE_BYTES {
        let subject = Subject::new(value_bytes);
        group.throughput(Throughput::Bytes(value_bytes as u64));
        group.bench_function(BenchmarkId::new("encode", value_bytes), |b| b.iter(|| subject.encode()));
        group.bench_function(BenchmarkId::new("decode", value_bytes), |b| b.iter(|| subject.decode()));
        group.bench_function(BenchmarkId::new("mac", value_bytes), |b| b.iter(|| subject.mac()));
    }
    group.finish();
}

/// Nanoseconds a call of `operation` takes, in the fastest of several rounds.
fn nanos_per_call<T>(operation: impl Fn() -> T) -> f64 {
    let round = || {
        let start = WallTime.start();
        for _ in 0..CALLS_PER_ROUND {
            black_box(operation());
        }
        WallTime.end(start)
    };
    let fastest: Duration = (0..ROUNDS).map(|_| round()).min().unwrap_or_default();
    fastest.as_secs_f64() * 1e9 / f64::from(CALLS_PER_ROUND)
}

fn print_mac_shares() {
    println!("value      encode      decode     MAC alone   MAC share of decode");
    for value_bytes in VALUE_BYTES {
        let subject = Subject::new(value_bytes);
        let (encode, decode) = (nanos_per_call(|| subject.encode()), nanos_per_call(|| subject.decode()));
        let mac = nanos_per_call(|| subject.mac());
        println!(
            "{value_bytes:>5} B  {encode:>7.0} ns  {decode:>7.0} ns  {mac:>7.0} ns  {:>6.1} %",
            100.0 * mac / decode
        );
    }
}

criterion_group!(benches, envelope);

fn main() {
    benches();
    print_mac_shares();
    Criterion::default().configure_from_args().final_summary();
}
