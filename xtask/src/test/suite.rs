//! The tests of the workspace, several programs of them at once.
//!
//! Cargo runs one after the other, and most of ours wait for a server or a lease more than they compute.

use std::{
    collections::VecDeque,
    fs::File,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::PathBuf,
    sync::Mutex,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::{clock, sh};

/// Programs that run at once, and no more of them: deadlines that tests set must hold beside the others.
const LANES: usize = 2;
/// One that kills a service at a hundred points, more of them at once than there are lanes: a step of its own.
pub(super) const APART: &str = "crash";
/// A program that has not ended after this long hangs.
const LIMIT: Duration = Duration::from_secs(15 * 60);
/// Those that take longest begin first, so that none of them goes on alone at the end.
const LONG: [&str; 7] =
    ["trueup-lab", "incidents", "service", "postgres_feed", "redis", "postgres_source", "model"];

/// What of cargo's messages is used: <https://doc.rust-lang.org/cargo/reference/external-tools.html>.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    package_id: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    target: Target,
    #[serde(default)]
    executable: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// A program of tests.
#[derive(Debug, PartialEq, Eq)]
struct Program {
    name: String,
    package: String,
    /// What chooses it, said to cargo.
    chosen_by: String,
    /// The package's folder, in which it runs as under cargo.
    folder: PathBuf,
    path: PathBuf,
}

/// Builds all tests, then runs them.
///
/// # Errors
/// Names every program that failed; its output has been shown by then.
pub(crate) fn run() -> Result<()> {
    let what = ["--lib", "--bins", "--tests", "--no-run", "--message-format=json-render-diagnostics"];
    let messages = sh::capture(sh::cargo(&["test"]).args(sh::WHOLE).args(what))?;
    let mut programs = programs(&messages)?;
    programs.retain(|program| program.name != APART);
    ensure!(!programs.is_empty(), "cargo has built no tests");
    let count = programs.len();
    let queue = Mutex::new(in_turn(programs));
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| lane(&queue, &failed));
        }
    });
    let failed = failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    ensure!(failed.is_empty(), "tests failed; run them alone by\n  {}", failed.join("\n  "));
    eprintln!("{count} programs of tests passed");
    Ok(())
}

/// The programs of tests that cargo says it has built.
fn programs(messages: &str) -> Result<Vec<Program>> {
    let mut programs = Vec::new();
    for line in messages.lines().filter(|line| line.starts_with('{')) {
        let message: Message = serde_json::from_str(line).context("cargo says what is no message of its")?;
        let Some(path) = message.executable.filter(|_| message.reason == "compiler-artifact") else {
            continue;
        };
        // Programs that tests start are built, too; what is a test lies among the dependencies.
        if path.parent().is_none_or(|folder| !folder.ends_with("deps")) {
            continue;
        }
        let folder = message.manifest_path.parent().context("a manifest without a folder")?.to_path_buf();
        let package = package(&message.package_id).to_owned();
        let name = message.target.name;
        let chosen_by = match message.target.kind.first().map(String::as_str) {
            Some("test") => format!("--test {name}"),
            Some("bin") => format!("--bin {name}"),
            _ => "--lib".to_owned(),
        };
        programs.push(Program { name, package, chosen_by, folder, path });
    }
    Ok(programs)
}

/// The name in `path+file:///folder#name@1.0.0`, which is left out where the folder is called the same.
fn package(id: &str) -> &str {
    let (folder, named) = id.rsplit_once('#').unwrap_or((id, ""));
    named.split_once('@').map_or_else(|| folder.rsplit('/').next().unwrap_or(folder), |(name, _)| name)
}

/// Long ones first; of one name one after the other, because they share a folder that one at a time may use.
fn in_turn(programs: Vec<Program>) -> VecDeque<Vec<Program>> {
    let mut turns: Vec<Vec<Program>> = Vec::new();
    for program in programs {
        match turns.iter_mut().find(|turn| turn[0].name == program.name) {
            Some(turn) => turn.push(program),
            None => turns.push(vec![program]),
        }
    }
    let place = |turn: &Vec<Program>| LONG.iter().position(|name| *name == turn[0].name);
    turns.sort_by_key(|turn| place(turn).unwrap_or(LONG.len()));
    turns.into()
}

/// Runs one turn after the other until none is left, or until one has failed.
fn lane(queue: &Mutex<VecDeque<Vec<Program>>>, failed: &Mutex<Vec<String>>) {
    let next = || queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop_front();
    while let Some(turn) = next() {
        for program in turn {
            let start_ns = clock::now_ns();
            eprintln!("{} {} begins", program.package, program.chosen_by);
            let (done, output) = run_one(&program);
            let time = clock::since(start_ns).as_secs_f64();
            let how = if done.is_ok() { "passed" } else { "FAILED" };
            // As one piece: lines of two programs mixed would tell nobody anything.
            let text = format!("{} {} {how} in {time:.1} s\n{output}", program.package, program.chosen_by);
            _ = std::io::stderr().lock().write_all(text.as_bytes());
            if let Err(error) = done {
                let line = format!("cargo test -p {} {}    ({error:#})", program.package, program.chosen_by);
                failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(line);
                queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
            }
        }
    }
}

/// Runs it as cargo would, and returns how that went with what it wrote.
fn run_one(program: &Program) -> (Result<()>, String) {
    let mut text = String::new();
    let done = (|| {
        let mut output: File = tempfile::tempfile()?;
        let mut command = sh::tests(&program.path);
        command.current_dir(&program.folder).env("CARGO_MANIFEST_DIR", &program.folder);
        let done = sh::wait(LIMIT, command.stdout(output.try_clone()?).stderr(output.try_clone()?));
        output.seek(SeekFrom::Start(0))?;
        let mut bytes = Vec::new();
        output.read_to_end(&mut bytes)?;
        text = String::from_utf8_lossy(&bytes).into_owned();
        done
    })();
    (done, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGES: &str = r#"{"reason":"compiler-artifact","package_id":"path+file:///r/crates/core#trueup-core@0.1.0","manifest_path":"/r/crates/core/Cargo.toml","target":{"name":"trueup_core","kind":["lib"]},"executable":null}
{"reason":"compiler-artifact","package_id":"path+file:///r/crates/core#trueup-core@0.1.0","manifest_path":"/r/crates/core/Cargo.toml","target":{"name":"trueup_core","kind":["lib"]},"executable":"/t/debug/deps/trueup_core-1"}
{"reason":"compiler-artifact","manifest_path":"/r/crates/lab/Cargo.toml","target":{"name":"trueup-lab","kind":["bin"]},"executable":"/t/debug/trueup-lab"}
{"reason":"compiler-artifact","package_id":"path+file:///r/crates/core#trueup-core@0.1.0","manifest_path":"/r/crates/core/Cargo.toml","target":{"name":"model","kind":["test"]},"executable":"/t/debug/deps/model-1"}
{"reason":"build-script-executed","package_id":"x","out_dir":"/t"}
{"reason":"compiler-artifact","package_id":"path+file:///r/crates/once#0.1.0","manifest_path":"/r/crates/once/Cargo.toml","target":{"name":"model","kind":["test"]},"executable":"/t/debug/deps/model-2"}
{"reason":"build-finished","success":true}
"#;

    #[test]
    fn what_cargo_has_built_is_run_but_for_programs_that_are_no_tests() {
        let found = programs(MESSAGES).unwrap();
        let said: Vec<_> =
            found.iter().map(|program| (program.package.as_str(), program.chosen_by.as_str())).collect();
        assert_eq!(
            said,
            [("trueup-core", "--lib"), ("trueup-core", "--test model"), ("once", "--test model")]
        );
        assert!(programs("{\"reason\":").is_err());
    }

    #[test]
    fn long_ones_begin_and_those_of_one_name_follow_each_other() {
        let turns = in_turn(programs(MESSAGES).unwrap());
        let names: Vec<Vec<&str>> =
            turns.iter().map(|turn| turn.iter().map(|program| program.package.as_str()).collect()).collect();
        assert_eq!(names, [vec!["trueup-core", "once"], vec!["trueup-core"]]);
    }

    #[test]
    fn what_fails_is_told_with_its_output() {
        let program = |path: &str| Program {
            name: "a".into(),
            package: "a".into(),
            chosen_by: "--lib".into(),
            folder: "/".into(),
            path: path.into(),
        };
        let (done, _) = run_one(&program("false"));
        assert!(done.unwrap_err().to_string().contains("false"));
        let (done, text) = run_one(&program("pwd"));
        assert!(done.is_ok() && text == "/\n", "{text}");
    }
}
