//! The machine in general terms, and the day.

use std::process::Command;

/// Bytes of a kibibyte in a gibibyte.
const KIB_IN_GIB: f64 = 1_048_576.0;

/// Processors and memory; no names.
pub(crate) fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let model = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned());
    let memory = field("/proc/meminfo", "MemTotal");
    let kib = memory.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0);
    format!("{cores} processors ({model}), {:.0} GiB of memory, Linux", kib / KIB_IN_GIB)
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The day, as `2026-11-26`.
pub(crate) fn today() -> String {
    first_line("date", &["--utc", "+%Y-%m-%d"])
}

/// The first line that a program says of itself.
pub(crate) fn first_line(program: &str, arguments: &[&str]) -> String {
    let said = Command::new(program).args(arguments).output();
    let said = said.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    said.lines().next().unwrap_or("unknown").trim().to_owned()
}
