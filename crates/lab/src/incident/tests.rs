use std::collections::BTreeSet;

use super::*;

const QUICK: Setup = Setup { seed: 1, quick: true, full: None };

fn incident(name: &str) -> &'static Incident {
    INCIDENTS.iter().find(|incident| incident.name == name).unwrap()
}

/// How often a race may fail to come about before the way counts as one that holds.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=5;

/// The naive way shows what the story tells, the protected way does not; and without its protection it does again.
async fn shown(name: &str) {
    let incident = incident(name);
    for way in [Way::Naive, Way::Unprotected] {
        let mut last = None;
        for seed in SEEDS {
            let outcome = incident.run(Setup { seed, ..QUICK }, way).await.unwrap();
            let fails = !outcome.holds;
            last = Some(outcome);
            if fails {
                break;
            }
        }
        assert!(
            last.as_ref().is_some_and(|outcome| !outcome.holds),
            "{name}: {way:?} shows nothing: {last:?}"
        );
    }
    let protected = incident.run(QUICK, Way::Protected).await.unwrap();
    assert!(protected.holds, "{name}: {protected:?}");
}

macro_rules! incidents {
    ($($test:ident $name:literal;)+) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            shown($name).await;
        })+

        #[test]
        fn each_has_a_test_and_a_name_of_its_own() {
            let tested = BTreeSet::from([$($name),+]);
            let names: BTreeSet<_> = INCIDENTS.iter().map(|incident| incident.name).collect();
            assert_eq!((tested, INCIDENTS.len()), (names.clone(), names.len()));
        }
    };
}

incidents! {
    lost_update "lost-update";
    double_spend "double-spend";
    nightly_reconciliation "nightly-reconciliation";
    stale_fill "stale-fill";
    write_order "write-order";
    double_delete "double-delete";
    own_write "own-write";
    stampede "stampede";
    avalanche_ttl "avalanche-ttl";
    penetration "penetration";
    forty_seven_keys "forty-seven-keys";
    wrong_user "wrong-user";
    stale_composite "stale-composite";
    search_explosion "search-explosion";
    booking_rush "booking-rush";
    avalanche_redis "avalanche-redis";
    cold_start "cold-start";
    flash_sale "flash-sale";
    local_tier "local-tier";
    double_charge "double-charge";
    job_run_twice "job-run-twice";
    redelivery "redelivery";
    lost_message "lost-message";
    lost_edit "lost-edit";
}
