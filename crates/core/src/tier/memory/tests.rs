use std::{collections::HashMap, thread};

use proptest::prelude::*;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;

#[derive(Debug)]
struct Note {
    key: String,
    version: u64,
    bytes: usize,
    uses: Uses,
}

impl Weighed for Note {
    fn weight(&self) -> usize {
        self.bytes
    }

    fn key(&self) -> &str {
        &self.key
    }

    fn uses(&self) -> &Uses {
        &self.uses
    }
}

fn note(key: &str, version: u64, bytes: usize) -> Arc<Note> {
    Arc::new(Note { key: key.to_owned(), version, bytes, uses: Uses::default() })
}

fn tier(policy: Policy, capacity: usize) -> MemoryTier<Note> {
    MemoryTier::new(&MemoryConfig::new(capacity).with_policy(policy).with_overhead_bytes(0))
}

fn put(tier: &MemoryTier<Note>, key: &str, version: u64, bytes: usize) {
    assert!(tier.insert(note(key, version, bytes)).is_stored(), "{key} {bytes}");
}

/// "The one held is newer."
fn newest(held: &Note, new: &Note) -> bool {
    held.version > new.version
}

/// What holds of a tier at rest, whatever has been done to it.
fn check_accounts(tier: &MemoryTier<Note>) {
    let (mut count, mut weight) = (0, 0);
    tier.for_each(|entry| {
        count += 1;
        weight += entry.bytes + tier.weigher.overhead_bytes;
    });
    assert_eq!((tier.len(), tier.weight()), (count, weight), "{tier:?}");
    tier.segments.iter().for_each(|segment| segment.check_index());
    assert!(tier.weight() <= tier.capacity(), "{tier:?} weighs {}", tier.weight());
}

#[test]
fn an_older_entry_never_replaces_a_newer_one() {
    for policy in Policy::ALL {
        let tier = tier(policy, 1000);
        put(&tier, "a", 2, 10);
        let Insertion::Kept(kept) = tier.insert_unless(note("a", 1, 10), newest) else {
            panic!("{policy}: replaced by an older entry")
        };
        assert_eq!(kept.version, 2);
        let replaced = tier.insert_unless(note("a", 3, 20), newest);
        assert!(matches!(replaced, Insertion::Replaced(old) if old.version == 2));
        assert_eq!(tier.get("a").unwrap().version, 3);
        assert_eq!((tier.len(), tier.weight()), (1, 20), "{policy}");
        assert_eq!(tier.departures(), Departures { replaced: 1, ..Departures::default() }, "{policy}");
    }
}

#[test]
fn an_entry_too_heavy_is_refused_and_takes_its_predecessor_with_it() {
    for policy in Policy::ALL {
        let tier = tier(policy, 100);
        put(&tier, "a", 1, 10);
        put(&tier, "b", 1, 10);
        let Insertion::TooHeavy { weight: 101, heaviest } = tier.insert(note("a", 2, 101)) else {
            panic!("{policy}: admitted")
        };
        assert!((93..=100).contains(&heaviest), "{policy}: {heaviest}");
        assert!(tier.get("a").is_none(), "{policy}: the predecessor outlived its refused successor");
        assert!(tier.get("b").is_some(), "{policy}");
        assert!(
            tier.insert(note("c", 1, heaviest)).is_stored(),
            "{policy}: the heaviest admitted is admitted"
        );
        check_accounts(&tier);
    }
}

#[test]
fn the_tiers_overhead_counts() {
    for policy in Policy::ALL {
        let tier = MemoryTier::new(&MemoryConfig::new(1000).with_policy(policy));
        assert!(tier.insert(note("a", 1, 10)).is_stored());
        assert_eq!(tier.weight(), 10 + policy.overhead_bytes(), "{policy}");
    }
}

#[test]
fn a_cleared_tier_is_as_good_as_new() {
    for policy in Policy::ALL {
        let tier = tier(policy, 100);
        for round in 1..=3 {
            (0..10).for_each(|number| put(&tier, &number.to_string(), round, 9));
            assert_eq!((tier.len(), tier.weight()), (10, 90), "{policy}");
            tier.clear();
            assert_eq!((tier.len(), tier.weight(), tier.is_empty()), (0, 0, true), "{policy}");
        }
        assert_eq!(tier.departures(), Departures { invalidated: 30, ..Departures::default() }, "{policy}");
    }
}

#[test]
fn removal_is_conditional_and_counted_by_reason() {
    for policy in Policy::ALL {
        let tier = tier(policy, 1000);
        let (first, second) = (note("a", 1, 10), note("a", 2, 10));
        assert!(tier.insert(Arc::clone(&first)).is_stored());
        assert!(tier.remove_if("a", Reason::Expired, |held| held.version > 1).is_none());
        assert!(tier.insert(Arc::clone(&second)).is_stored());
        assert!(!tier.remove_same(&first, Reason::Expired), "{policy}: removed the successor");
        assert!(tier.remove_same(&second, Reason::Expired));
        assert!(tier.remove("a").is_none());
        put(&tier, "a", 3, 10);
        assert_eq!(tier.remove("a").unwrap().version, 3);
        let expected = Departures { expired: 1, replaced: 1, invalidated: 1, capacity: 0 };
        assert_eq!(tier.departures(), expected, "{policy}");
    }
}

#[test]
fn a_purge_removes_the_dead_and_stops_at_its_budget() {
    for policy in Policy::ALL {
        let config = MemoryConfig::new(1 << 20).with_policy(policy).with_overhead_bytes(0).with_segments(8);
        let tier = MemoryTier::new(&config);
        (0..800).for_each(|number| put(&tier, &number.to_string(), number, 1));
        let dead = |entry: &Note| entry.version.is_multiple_of(2);
        let first = tier.purge(1, dead);
        let segment_largest = tier.segments.iter().map(|segment| segment.len()).max().unwrap() + first;
        assert!(0 < first && first <= segment_largest, "{policy}: one segment, not all: {first}");
        assert_eq!(first + tier.purge(800, dead), 400, "{policy}: goes on where it stopped");
        assert_eq!((tier.len(), tier.departures().expired), (400, 400), "{policy}");
        tier.for_each(|entry| assert!(!dead(entry)));
    }
}

#[test]
fn samples_and_visits_show_held_entries_once() {
    for policy in Policy::ALL {
        let config = MemoryConfig::new(1 << 20).with_policy(policy).with_overhead_bytes(0).with_segments(4);
        let tier = MemoryTier::new(&config);
        (0..100).for_each(|number| put(&tier, &number.to_string(), number, 1));
        let mut seen = Vec::new();
        tier.for_each(|entry| seen.push(entry.version));
        seen.sort_unstable();
        assert_eq!(seen, (0..100).collect::<Vec<_>>(), "{policy}");
        let mut sample: Vec<_> = tier.sample(10).iter().map(|entry| entry.version).collect();
        sample.sort_unstable();
        sample.dedup();
        assert_eq!((sample.len(), tier.sample(1000).len(), tier.sample(0).len()), (10, 100, 0), "{policy}");
    }
}

#[test]
fn each_policy_evicts_by_its_own_rule() {
    // Ten entries fill the tier; `0` is read; one more comes. Who has gone?
    let victim = |policy| {
        let tier = tier(policy, 10);
        (0..10).for_each(|number| put(&tier, &number.to_string(), 1, 1));
        assert!(tier.get("0").is_some());
        put(&tier, "new", 1, 1);
        assert_eq!((tier.weight(), tier.departures().capacity), (10, 1), "{policy}");
        (0..10).find(|number| !tier.segments[0].holds(&number.to_string()))
    };
    assert_eq!(victim(Policy::Fifo), Some(0), "reading doesn't help");
    assert_eq!(victim(Policy::Lru), Some(1), "the least recently used");
    assert_eq!(victim(Policy::Sieve), Some(1), "the first not visited");
    assert_ne!(victim(Policy::S3Fifo), Some(0), "not one that was read");
    assert_ne!(victim(Policy::Lfu), Some(0), "not the most frequent");
}

#[test]
fn the_exact_lru_is_exact() {
    let tier = tier(Policy::Lru, 8);
    let mut model: Vec<u64> = Vec::new();
    let mut random = StdRng::seed_from_u64(3);
    for step in 0..5000 {
        let number = random.random_range(0..16_u64).min(random.random_range(0..16));
        let hit = tier.get(&number.to_string()).is_some();
        let place = model.iter().position(|&held| held == number);
        assert_eq!(hit, place.is_some(), "step {step}");
        match place {
            Some(place) => drop(model.remove(place)),
            None => put(&tier, &number.to_string(), 1, 1),
        }
        model.push(number);
        if model.len() > 8 {
            model.remove(0);
        }
    }
}

#[test]
fn policies_are_named_and_unknown_names_refused() {
    for policy in Policy::ALL {
        assert_eq!(policy.to_string().parse(), Ok(policy));
        assert_eq!(serde_json::from_str::<Policy>(&format!("\"{policy}\"")).unwrap(), policy);
    }
    let refused = "arc".parse::<Policy>().unwrap_err().to_string();
    assert!(Policy::ALL.iter().all(|policy| refused.contains(policy.as_str())), "{refused}");
}

#[test]
fn segments_follow_the_capacity_and_share_it_exactly() {
    let shares = |config: &MemoryConfig| {
        let tier = MemoryTier::<Note>::new(config);
        (tier.segments.len(), tier.capacity())
    };
    assert_eq!(shares(&MemoryConfig::new(1000)), (1, 1000));
    assert_eq!(shares(&MemoryConfig::new(64 << 20)), (16, 64 << 20));
    assert_eq!(shares(&MemoryConfig::new(40 << 20)), (8, 40 << 20), "rounded down");
    assert_eq!(shares(&MemoryConfig::new(1003).with_segments(3)), (4, 1003), "rounded up when asked");
    let full = MemoryTier::new(&MemoryConfig::new(1003).with_segments(4).with_overhead_bytes(0));
    (0..10_000).for_each(|number| put(&full, &number.to_string(), 1, 1));
    assert_eq!(full.weight(), 1003);
}

#[derive(Clone, Debug)]
enum Step {
    Get(u8),
    Insert(u8, usize),
    InsertUnlessOlder(u8, u64, usize),
    Remove(u8),
    RemoveIfEven(u8),
    Purge(usize),
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..24_u8;
    let bytes = prop_oneof![8 => 0..40_usize, 1 => 0..400_usize];
    prop_oneof![
        10 => key.clone().prop_map(Step::Get),
        10 => (key.clone(), bytes.clone()).prop_map(|(key, bytes)| Step::Insert(key, bytes)),
        5 => (key.clone(), 0..200_u64, bytes).prop_map(|(key, age, bytes)| Step::InsertUnlessOlder(key, age, bytes)),
        3 => key.clone().prop_map(Step::Remove),
        2 => key.prop_map(Step::RemoveIfEven),
        1 => (0..50_usize).prop_map(Step::Purge),
        1 => Just(Step::Clear),
    ]
}

/// A tier and what it may hold: the version last written under each key. Eviction may take any of it at any time.
struct Modelled {
    tier: MemoryTier<Note>,
    written: HashMap<String, u64>,
    version: u64,
    stored: u64,
}

impl Modelled {
    fn new(policy: Policy, segments: usize) -> Self {
        let config =
            MemoryConfig::new(300).with_policy(policy).with_overhead_bytes(1).with_segments(segments);
        Self { tier: MemoryTier::new(&config), written: HashMap::new(), version: 200, stored: 0 }
    }

    fn take(&mut self, step: Step) {
        self.version += 1;
        match step {
            Step::Get(key) => {
                let key = key.to_string();
                if let Some(found) = self.tier.get(&key) {
                    assert_eq!((Some(&found.version), &found.key), (self.written.get(&key), &key));
                }
            }
            Step::Insert(key, bytes) => {
                let entry = note(&key.to_string(), self.version, bytes);
                let outcome = self.tier.insert(entry);
                self.settle(&key.to_string(), self.version, &outcome);
            }
            Step::InsertUnlessOlder(key, age, bytes) => {
                let version = self.version - age;
                let outcome = self.tier.insert_unless(note(&key.to_string(), version, bytes), newest);
                self.settle(&key.to_string(), version, &outcome);
            }
            Step::Remove(key) => {
                self.tier.remove(&key.to_string());
                self.written.remove(&key.to_string());
            }
            Step::RemoveIfEven(key) => {
                let key = key.to_string();
                if let Some(removed) =
                    self.tier.remove_if(&key, Reason::Expired, |held| held.version.is_multiple_of(2))
                {
                    assert_eq!(self.written.remove(&key), Some(removed.version));
                    assert!(removed.version.is_multiple_of(2));
                }
            }
            Step::Purge(budget) => {
                self.tier.purge(budget, |held| held.version.is_multiple_of(3));
            }
            Step::Clear => {
                self.tier.clear();
                self.written.clear();
            }
        }
        check_accounts(&self.tier);
        assert_eq!(
            self.stored - self.tier.departures().total(),
            self.tier.len() as u64,
            "each entry leaves once"
        );
    }

    fn settle(&mut self, key: &str, version: u64, outcome: &Insertion<Note>) {
        match outcome {
            Insertion::Stored => {}
            Insertion::Replaced(old) => assert_eq!(self.written.get(key), Some(&old.version)),
            Insertion::Kept(held) => {
                assert!(held.version > version && self.written.get(key) == Some(&held.version));
                return;
            }
            Insertion::TooHeavy { weight, heaviest } => {
                assert!(weight > heaviest);
                self.written.remove(key);
                return;
            }
        }
        self.stored += 1;
        self.written.insert(key.to_owned(), version);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_tier_holds_only_what_was_last_written_and_counts_it_exactly(
        steps in prop::collection::vec(step(), 1..200),
        segments in prop_oneof![Just(1_usize), Just(4)],
    ) {
        for policy in Policy::ALL {
            let mut modelled = Modelled::new(policy, segments);
            steps.iter().for_each(|step| modelled.take(step.clone()));
        }
    }
}

/// Threads of a stress test. More than the cores of a small machine, so that they are also preempted.
const THREADS: u64 = 4;
/// Steps of each thread.
const STRESS_STEPS: u64 = 20_000;

#[test]
fn racing_threads_never_find_another_keys_value() {
    for policy in Policy::ALL {
        let config = MemoryConfig::new(2000).with_policy(policy).with_overhead_bytes(0).with_segments(2);
        let tier = MemoryTier::new(&config);
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let tier = &tier;
                scope.spawn(move || churn(tier, thread));
            }
        });
        check_accounts(&tier);
    }
}

fn churn(tier: &MemoryTier<Note>, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    for step in 0..STRESS_STEPS {
        let key = random.random_range(0..256_u32).to_string();
        match random.random_range(0..20) {
            0..=9 => {
                if let Some(found) = tier.get(&key) {
                    assert_eq!(found.key, key);
                }
            }
            10..=15 => {
                let outcome = tier.insert_unless(note(&key, step, random.random_range(1..64)), newest);
                if let Insertion::Kept(other) | Insertion::Replaced(other) = outcome {
                    assert_eq!(other.key, key);
                }
            }
            16 => {
                if let Some(removed) = tier.remove(&key) {
                    assert_eq!(removed.key, key);
                }
            }
            17 => drop(tier.remove_if(&key, Reason::Expired, |held| held.version.is_multiple_of(2))),
            18 if step.is_multiple_of(50) => drop(tier.purge(64, |held| held.version.is_multiple_of(5))),
            19 if step.is_multiple_of(1000) => tier.clear(),
            _ => tier.sample(2).iter().for_each(|entry| assert!(entry.bytes < 64)),
        }
    }
}

#[test]
fn of_racing_writers_the_newest_wins() {
    for policy in Policy::ALL {
        let tier = tier(policy, 1 << 20);
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let tier = &tier;
                scope.spawn(move || {
                    for step in 0..2000 {
                        let key = (step % 16).to_string();
                        let _ = tier.insert_unless(note(&key, step * THREADS + thread, 1), newest);
                    }
                });
            }
        });
        for number in 0..16 {
            let last_step = 2000 - 16 + number;
            let newest = last_step * THREADS + THREADS - 1;
            assert_eq!(tier.get(&number.to_string()).unwrap().version, newest, "{policy}");
        }
    }
}
