//! A guarded program ends with its parent, even when that is killed and can clean up nothing.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use rustix::process::{Pid, test_kill_process};

/// Started by a shell that tells the program's process and then waits.
const SCRIPT: &str = r#""$1" guard --parent $$ -- sleep 600 & echo $!; wait"#;

#[test]
fn a_guarded_program_dies_with_a_parent_that_is_killed() {
    let mut parent = Command::new("sh")
        .args(["-c", SCRIPT, "sh", env!("CARGO_BIN_EXE_xtask")])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(parent.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let program = Pid::from_raw(line.trim().parse().unwrap()).unwrap();
    // Until it has become the program it can't have asked to die with its parent.
    let command = |pid: Pid| std::fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero()));
    while command(program).unwrap().trim() != "sleep" {
        std::thread::yield_now();
    }
    parent.kill().unwrap();
    parent.wait().unwrap();
    // The kernel's signal is on its way: the test ends when the program does, or never.
    while is_running(program) {
        std::thread::yield_now();
    }
}

/// Not gone, and no corpse that nobody has buried.
fn is_running(pid: Pid) -> bool {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap_or_default();
    test_kill_process(pid).is_ok() && !status.contains("State:\tZ")
}

#[test]
fn a_program_whose_parent_is_gone_already_is_not_started() {
    let somebody_else = "1";
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["guard", "--parent", somebody_else, "--", "echo", "started"])
        .output()
        .unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());
}
