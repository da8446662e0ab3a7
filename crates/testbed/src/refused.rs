//! Programs that must not compile, and what the compiler says of them.
//!
//! They are compiled by `rustc` against the very libraries that the test was built with. A library that has cargo build each of them
//! (trybuild) builds all that they depend on a second time, C libraries too: a third of the time that all other tests take.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;

use crate::Failed;

/// How the test was built, where not as a part of its package alone: arguments of cargo.
const BUILT_BY: &str = "TRUEUP_TESTS_BUILT_BY";
/// Set to `overwrite`, what the compiler says becomes what is expected.
const EXPECTED: &str = "TRUEUP_EXPECTED";

/// A line of `cargo --message-format=json`: <https://doc.rust-lang.org/cargo/reference/external-tools.html>.
#[derive(Deserialize)]
struct Artifact {
    #[serde(default)]
    target: Target,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

#[derive(Default, Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// A line of `rustc --error-format=json`: <https://doc.rust-lang.org/rustc/json.html>.
#[derive(Deserialize)]
struct Diagnostic {
    level: String,
    message: String,
    code: Option<Code>,
    spans: Vec<Span>,
}

#[derive(Deserialize)]
struct Code {
    code: String,
}

#[derive(Deserialize)]
struct Span {
    line_start: usize,
    column_start: usize,
    is_primary: bool,
    label: Option<String>,
}

/// Compiles each `.rs` of `folder` with `libraries` at hand, for the integration test `test` of the package whose folder is the
/// current one. Each must fail with the errors that the `.stderr` beside it tells: code, message, and where.
///
/// # Errors
/// [`Failed`] names every program that compiles, or fails otherwise than told; `TRUEUP_EXPECTED=overwrite` writes down how it
/// fails now.
pub fn refused(test: &str, folder: &str, libraries: &[&str]) -> Result<(), Failed> {
    let libraries = built(test, libraries)?;
    let failed = |doing: String| move |error: std::io::Error| Failed::new(doing, error);
    let entries = std::fs::read_dir(folder).map_err(failed(format!("reading {folder}")))?;
    let mut programs: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    programs.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    programs.sort();
    let (mut wrong, overwrite) =
        (String::new(), std::env::var_os(EXPECTED).is_some_and(|v| v == "overwrite"));
    for program in &programs {
        let (said, file) = (compile(program, &libraries)?, program.with_extension("stderr"));
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        if said.is_empty() {
            _ = writeln!(wrong, "{} compiles", program.display());
        } else if overwrite {
            std::fs::write(&file, said).map_err(failed(format!("writing {}", file.display())))?;
        } else if said != expected {
            _ = writeln!(
                wrong,
                "{} fails otherwise than told:\n{said}expected:\n{expected}",
                program.display()
            );
        }
    }
    if programs.is_empty() {
        wrong = format!("{folder} holds no program\n");
    }
    if wrong.is_empty() { Ok(()) } else { Err(Failed::new("programs that must not compile", wrong)) }
}

/// Where the libraries are that `test` was built with, by name. Cargo, asked for the same test, builds nothing and tells.
fn built(test: &str, names: &[&str]) -> Result<Vec<(String, PathBuf)>, Failed> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["test", "--quiet", "--no-run", "--message-format=json", "--test", test]);
    match std::env::var(BUILT_BY) {
        Ok(arguments) => cargo.args(arguments.split_whitespace()),
        Err(_) => cargo.args(["--package", &std::env::var("CARGO_PKG_NAME").unwrap_or_default()]),
    };
    // What cargo tells a test about its package would make build scripts run again.
    for (name, _) in std::env::vars_os() {
        let own = name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"));
        if own {
            cargo.env_remove(name);
        }
    }
    let output = cargo.output().map_err(|error| Failed::new("starting cargo", error))?;
    if !output.status.success() {
        return Err(Failed::program(cargo.get_program(), &output));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let artifacts: Vec<Artifact> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let library = |name: &&str| {
        let is_it = |artifact: &&Artifact| {
            artifact.target.name == *name && artifact.target.kind.iter().any(|kind| kind == "lib")
        };
        let files = artifacts.iter().filter(is_it).flat_map(|artifact| &artifact.filenames);
        let mut files = files.filter(|file| file.extension().is_some_and(|extension| extension == "rlib"));
        let missing = || Failed::new("asking cargo what was built", format!("no library `{name}`"));
        files.next().map(|file| ((*name).to_owned(), file.clone())).ok_or_else(missing)
    };
    names.iter().map(library).collect()
}

/// The errors of `program`, one after the other; empty when there are none.
fn compile(program: &Path, libraries: &[(String, PathBuf)]) -> Result<String, Failed> {
    let folder = tempfile::tempdir().map_err(|error| Failed::new("making a folder", error))?;
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args(["--edition=2024", "--crate-type=bin", "--emit=metadata", "--error-format=json", "--out-dir"]);
    rustc.arg(folder.path());
    for (name, file) in libraries {
        rustc.arg("--extern").arg(format!("{name}={}", file.display()));
        let beside = file.parent().unwrap_or(file);
        rustc.arg("-L").arg(format!("dependency={}", beside.display()));
    }
    let output = rustc.arg(program).output().map_err(|error| Failed::new("starting rustc", error))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let mut said = String::new();
    for line in text.lines() {
        let Ok(Diagnostic { level, message, code: Some(Code { code }), spans }) = serde_json::from_str(line)
        else {
            continue;
        };
        if level != "error" {
            continue;
        }
        _ = writeln!(said, "error[{code}]: {message}");
        for Span { line_start, column_start, label, .. } in spans.iter().filter(|span| span.is_primary) {
            _ = writeln!(said, "  {line_start}:{column_start} {}", label.as_deref().unwrap_or_default());
        }
    }
    if said.is_empty() && !output.status.success() {
        return Err(Failed::program(rustc.get_program(), &output));
    }
    Ok(said)
}
