//! The command as somebody types it. Without nodes, so that no server has to be built: readers ask the database.

#[cfg(test)]
mod faults {
    use std::process::{Command, Output};

    fn lab(arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_trueup-lab")).args(arguments).output().unwrap()
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn what_the_lab_takes_for_the_truth_is_true_and_the_wrong_way_is_found() {
        let arguments =
            ["faults", "--nodes", "0", "--seed", "3", "--minutes", "0.15", "--naive", "--format", "json"];
        let faults = ["--fault", "restore-in-place", "--fault", "delete-all"];
        // Any file will do where no node is started.
        let server = ["--server", "/bin/sh"];
        let output = lab(&[&arguments[..], &faults[..], &server[..]].concat());
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["violations"], serde_json::json!({}));
        assert!(report["reads"]["answered"].as_u64().unwrap() > 100, "{report}");
        assert!(report["faults"].as_array().is_some_and(|faults| !faults.is_empty()), "{report}");
        let naive = report["naive"]["violations"].as_object().unwrap();
        assert!(naive.contains_key("P1") && naive.contains_key("P8"), "{report}");
    }

    #[test]
    fn being_asked_wrongly_and_what_is_missing_have_codes_of_their_own() {
        let unknown = lab(&["faults", "--fault", "node-kiled"]);
        assert_eq!(unknown.status.code(), Some(2));
        assert!(
            text(&unknown.stderr).contains("there is no fault `node-kiled`"),
            "{}",
            text(&unknown.stderr)
        );
        let unfit = lab(&["faults", "--source", "sqlite", "--fault", "truncate"]);
        assert_eq!(unfit.status.code(), Some(2));
        assert!(text(&unfit.stderr).contains("needs: postgres"), "{}", text(&unfit.stderr));
        assert_eq!(lab(&["faults", "--minutes", "0"]).status.code(), Some(2));
        let missing = lab(&["faults", "--server", "/nowhere/trueup"]);
        assert_eq!(missing.status.code(), Some(3));
        assert!(
            text(&missing.stderr).contains("cargo build --package trueup-server"),
            "{}",
            text(&missing.stderr)
        );
    }

    #[test]
    fn every_incident_and_every_fault_is_listed() {
        let output = lab(&["list", "--format", "json"]);
        let listed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let told = |of: &str, by: &str| {
            let list = listed[of].as_array().unwrap();
            assert!(list.iter().all(|one| one[by].as_str().is_some_and(|text| !text.is_empty())), "{list:?}");
            list.len()
        };
        assert!(told("faults", "what") > 40);
        assert!(told("incidents", "story") >= 14);
        let table = text(&lab(&["list"]).stdout);
        assert!(table.contains("ghost-standby") && table.contains("stale-fill"));
    }

    #[test]
    fn an_incident_is_shown_as_told_and_one_that_is_unknown_is_answered_with_the_names() {
        let shown = lab(&["run", "wrong-user", "--quick", "--without-protection", "--format", "json"]);
        assert_eq!(shown.status.code(), Some(0), "{}", text(&shown.stderr));
        let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
        let holds =
            ["naive", "protected", "unprotected"].map(|way| shown[0][way]["holds"].as_bool().unwrap());
        assert_eq!(holds, [false, true, false]);
        let unknown = lab(&["run", "wrong-usr"]);
        assert_eq!(unknown.status.code(), Some(2));
        assert!(text(&unknown.stderr).contains("wrong-user"), "{}", text(&unknown.stderr));
    }
}
