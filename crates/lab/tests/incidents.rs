//! Incidents as somebody runs them, on servers.

#[cfg(test)]
mod incidents {
    use std::process::Command;

    use serde_json::Value;

    /// One of a race, one of a fleet, one of many at once.
    const SHOWN: [&str; 3] = ["stale-fill", "own-write", "stampede"];
    /// How often a race may fail to come about before its way counts as one that holds.
    const SEEDS: std::ops::RangeInclusive<u32> = 1..=5;

    fn run(arguments: &[&str], seed: u32) -> Vec<Value> {
        let mut lab = Command::new(env!("CARGO_BIN_EXE_trueup-lab"));
        lab.args(["run", "--quick", "--format", "json", "--seed", &seed.to_string()]).args(arguments);
        let output = lab.output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{why}: {told}"))
    }

    fn holds(shown: &Value, way: &str) -> bool {
        shown[way]["holds"].as_bool().unwrap()
    }

    #[test]
    fn naive_ways_fail_and_protected_ones_hold_on_postgres_and_a_cluster() {
        let mut to_show: Vec<&str> = SHOWN.to_vec();
        for seed in SEEDS {
            let shown = run(&[&to_show[..], &["--full", "--without-protection"]].concat(), seed);
            assert_eq!(shown.len(), to_show.len());
            for one in &shown {
                assert!(holds(one, "protected"), "{one}");
                assert!(one["ground"]["database"].as_str().unwrap().starts_with("PostgreSQL 1"), "{one}");
                assert!(one["ground"]["cache"].as_str().unwrap().contains("cluster of 6 nodes"), "{one}");
                assert!(one["command"].as_str().unwrap().ends_with("--quick --full"), "{one}");
            }
            let fails = |name: &str| {
                let one = shown.iter().find(|one| one["name"] == name).unwrap();
                !holds(one, "naive") && !holds(one, "unprotected")
            };
            to_show.retain(|name| !fails(name));
            if to_show.is_empty() {
                return;
            }
        }
        panic!("{to_show:?} show nothing with any seed of {SEEDS:?}");
    }
}
