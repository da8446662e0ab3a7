//! Reading an access log, or a list of keys, with a progress bar.

use std::{
    fs::File,
    io::{self, BufReader},
    path::{Path, PathBuf},
};

use clap::ValueHint;
use indicatif::{ProgressBar, ProgressStyle};
use trueup::warm::{KEYS_MAX_DEFAULT, Route, Routes, Tally};

use crate::cli::Failure;

/// Bytes read at once.
const BUFFER_BYTES: usize = 1 << 20;

/// What is read, and which of it counts.
#[derive(Clone, Debug, clap::Args)]
pub(in crate::cli) struct LogArgs {
    /// Only keys of this class; a line of a list is then a key alone
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) class: Option<String>,
    /// Which URLs are keys of which class, such as product=/products/{key} or search=/search?{query}; those of the plan's
    /// [warm] and the server's own /v1/CLASS/KEY count, too
    #[arg(long, value_name = "ROUTE")]
    route: Vec<Route>,
    /// Keys of each class that are counted at once; more keys, smaller errors
    #[arg(long, value_name = "N", default_value_t = KEYS_MAX_DEFAULT)]
    counted_max: usize,
}

impl LogArgs {
    /// A count of the keys, as far as routes and class go.
    pub(in crate::cli) fn tally<'a>(&self, of_plan: &Routes) -> Tally<'a> {
        let routes = self.route.iter().chain(&of_plan.0).cloned().collect();
        Tally::new(Routes(routes), self.counted_max.max(1)).of_class(self.class.clone())
    }
}

/// The file: an access log, URLs, or keys.
#[derive(Clone, Debug, clap::Args)]
pub(in crate::cli) struct FileArg {
    /// An access log (Common Log Format), URLs, or lines of CLASS KEY; - for standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) file: PathBuf,
}

/// Counts the lines of `file`; `-` is standard input.
pub(in crate::cli) fn read(file: &Path, tally: &mut Tally<'_>) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::Usage(format!("{}: {error}", file.display()));
    if file == Path::new("-") {
        return tally.read(io::stdin().lock(), |_| ()).map_err(failed);
    }
    let opened = File::open(file).map_err(failed)?;
    let bytes = opened.metadata().map_err(failed)?.len();
    let bar = progress(bytes, "{bytes} of {total_bytes} read, {eta} left");
    tally.read(BufReader::with_capacity(BUFFER_BYTES, opened), |read| bar.inc(read)).map_err(failed)?;
    bar.finish_and_clear();
    Ok(())
}

/// A bar on standard error, where that is a terminal.
pub(in crate::cli) fn progress(total: u64, what: &str) -> ProgressBar {
    let bar = ProgressBar::new(total);
    match ProgressStyle::with_template(&format!("{{wide_bar}} {what}")) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
