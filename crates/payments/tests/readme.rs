//! The page of `curl` examples in the README, as it is written: only its port and its folder are replaced.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use trueup_testbed::{free_port, spawn, tied};

/// The shell block after the heading of the page.
fn page() -> String {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let section = readme.split_once("## A service built on it").unwrap().1;
    let block = section.split_once("```sh\n").unwrap().1;
    block.split_once("```").unwrap().0.to_owned()
}

#[test]
fn the_examples_of_the_readme_work_as_written() {
    let folder = tempfile::tempdir().unwrap();
    let http = format!("127.0.0.1:{}", free_port().unwrap());
    let mut service = tied(env!("CARGO_BIN_EXE_payments"));
    service.env("PAYMENTS_HTTP", &http).current_dir(folder.path()).stdout(Stdio::null());
    let mut service = spawn(service).unwrap();
    let token = folder.path().join("payments-data/ada.token");
    let up = (0..3_000).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        token.exists() && std::net::TcpStream::connect(&http).is_ok()
    });
    assert!(up, "the service never came up");
    let script = page().replace("localhost:7390", &http);
    let run = || {
        let out =
            Command::new("bash").args(["-eu", "-c", &script]).current_dir(folder.path()).output().unwrap();
        let (said, wrong) = (String::from_utf8(out.stdout).unwrap(), String::from_utf8(out.stderr).unwrap());
        assert!(out.status.success() && wrong.is_empty(), "{wrong}\n{said}");
        said
    };
    let statuses = |said: &str| -> Vec<String> {
        said.lines()
            .filter_map(|line| line.strip_prefix("HTTP/1.1 "))
            .map(|rest| rest[..3].to_owned())
            .collect()
    };
    let first = run();
    assert_eq!(statuses(&first), ["200", "201", "201", "200", "201", "200"], "{first}");
    let again = run();
    assert_eq!(statuses(&again), ["200", "201", "201", "200", "201", "200"], "{again}");
    assert_eq!(again.matches("idempotent-replayed: true").count(), 3, "{again}");
    assert!(again.contains("\"openapi\""));
    service.kill().unwrap();
    service.wait().unwrap();
}
