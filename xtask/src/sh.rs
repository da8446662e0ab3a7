//! Running other programs.
//!
//! Plain `std::process`: what is needed beyond it (a deadline, no standard input, a message that names the program)
//! is less than what a library for shell-like scripts would bring, and none brings all of it.

use std::{
    ffi::OsStr,
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{clock::Deadline, paths};

/// Pause between two looks at a program that has a deadline.
const POLL: Duration = Duration::from_millis(20);

/// What debug builds are of: everything, with the features of every test. Of one package alone, or with other features, half of
/// it would be built a second time.
pub(crate) const WHOLE: [&str; 4] =
    ["--locked", "--workspace", "--features", "xtask/figures,payments/crash-points"];

/// A command that runs at the repository's root and reads nothing.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(paths::root()).stdin(Stdio::null());
    command
}

/// `cargo` with `arguments`, of the toolchain that runs this task.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = tests(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(arguments);
    cargo
}

/// A program that runs tests, or is one.
pub(crate) fn tests(program: impl AsRef<OsStr>) -> Command {
    let mut tests = command(program);
    clean(&mut tests);
    // A test that compiles programs uses what it was built with.
    tests.env("TRUEUP_TESTS_BUILT_BY", WHOLE.join(" "));
    // Tests that are run in a copy of the tree would not find it beside them.
    if let Some(data) = paths::shared_data() {
        tests.env(paths::DATA_VARIABLE, data);
    }
    tests
}

/// `cargo` with `arguments`, of a toolchain chosen by name.
pub(crate) fn cargo_of(toolchain: &str, arguments: &[&str]) -> Command {
    let mut rustup = command("rustup");
    rustup.args(["run", toolchain, "cargo"]).args(arguments);
    // What rustup has told us about our own toolchain would override the one asked for.
    ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN"].iter().for_each(|name| _ = rustup.env_remove(name));
    clean(&mut rustup);
    rustup
}

/// Takes away what `cargo run` tells this process about its own package: build scripts would see it and build again.
fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let own =
            name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR");
        if own {
            command.env_remove(name);
        }
    }
}

/// Whether `program` can be found on the path.
pub(crate) fn exists(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

/// Runs to the end, its output shown.
///
/// # Errors
/// When it can't be started or fails; the message holds the whole command line.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = line(command);
    eprintln!("$ {line}");
    let status = command.status().with_context(|| format!("cannot start `{line}`"))?;
    checked(&line, status)
}

/// Runs to the end, its output shown, but not longer than `limit`: then it is killed, and that is an error.
pub(crate) fn run_within(limit: Duration, command: &mut Command) -> Result<()> {
    eprintln!("$ {}", line(command));
    wait(limit, command)
}

/// As [`run_within`], without a word of its own.
pub(crate) fn wait(limit: Duration, command: &mut Command) -> Result<()> {
    let line = line(command);
    let mut child = command.spawn().with_context(|| format!("cannot start `{line}`"))?;
    checked(&line, wait_within(limit, &line, &mut child)?)
}

/// Runs to the end and returns what it wrote on its standard output; its standard error is shown.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let line = line(command);
    let output = command
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{line}`"))?;
    if !output.status.success() {
        eprint!("{}", String::from_utf8_lossy(&output.stdout));
    }
    checked(&line, output.status)?;
    String::from_utf8(output.stdout).with_context(|| format!("`{line}` wrote what is not UTF-8"))
}

/// As [`capture`], but not longer than `limit`. For programs that say a lot of no interest on their standard error, which is
/// shown only when they fail.
pub(crate) fn capture_within(limit: Duration, command: &mut Command) -> Result<String> {
    let line = line(command);
    eprintln!("$ {line}");
    let (mut stdout, mut stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
    let mut child = command
        .stdout(stdout.try_clone()?)
        .stderr(stderr.try_clone()?)
        .spawn()
        .with_context(|| format!("cannot start `{line}`"))?;
    let done = wait_within(limit, &line, &mut child).and_then(|status| checked(&line, status));
    if done.is_err() {
        eprint!("{}", read_from_start(&mut stderr)?);
    }
    done.and_then(|()| read_from_start(&mut stdout))
}

/// Runs to the end, but not longer than `limit`, and returns how it ended and what it wrote on its standard output; its
/// standard error is shown. For programs that say what they have found by their exit code.
pub(crate) fn outcome_within(limit: Duration, command: &mut Command) -> Result<(ExitStatus, String)> {
    let line = line(command);
    eprintln!("$ {line}");
    let mut stdout = tempfile::tempfile()?;
    let mut child =
        command.stdout(stdout.try_clone()?).spawn().with_context(|| format!("cannot start `{line}`"))?;
    let status = wait_within(limit, &line, &mut child)?;
    Ok((status, read_from_start(&mut stdout)?))
}

fn read_from_start(file: &mut File) -> Result<String> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn wait_within(limit: Duration, line: &str, child: &mut Child) -> Result<ExitStatus> {
    let deadline = Deadline::after(limit);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if deadline.passed() {
            child.kill().with_context(|| format!("cannot kill `{line}`"))?;
            child.wait()?;
            bail!("`{line}` had not ended after {} s and was killed", limit.as_secs());
        }
        std::thread::sleep(POLL);
    }
}

fn checked(line: &str, status: ExitStatus) -> Result<()> {
    ensure!(status.success(), "`{line}` failed ({status})");
    Ok(())
}

/// The command as one would type it, paths below the root shortened.
fn line(command: &Command) -> String {
    let root = paths::root();
    let short = |word: &OsStr| {
        let path = Path::new(word);
        path.strip_prefix(&root).unwrap_or(path).display().to_string()
    };
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(short).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command() {
        let error = run(command("sh").args(["-c", "exit 3"])).unwrap_err().to_string();
        assert!(error.contains("sh -c exit 3") && error.contains('3'), "{error}");
    }

    #[test]
    fn a_program_that_outlives_its_limit_is_killed() {
        let error =
            run_within(Duration::from_millis(50), command("sleep").arg("600")).unwrap_err().to_string();
        assert!(error.contains("was killed"), "{error}");
    }

    #[test]
    fn output_is_returned() {
        assert_eq!(capture(command("echo").arg("hello")).unwrap(), "hello\n");
        let (status, text) =
            outcome_within(Duration::from_secs(60), command("sh").args(["-c", "echo found; exit 1"]))
                .unwrap();
        assert_eq!((status.code(), text.as_str()), (Some(1), "found\n"));
        assert!(exists("sh") && !exists("no-such-program-here"));
    }
}
