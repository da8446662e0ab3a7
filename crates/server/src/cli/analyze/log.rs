//! Reading an access log, or a list of keys, with a progress bar.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader},
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use clap::ValueHint;
use indicatif::{ProgressBar, ProgressStyle};
use trueup::{
    plan::Plan,
    warm::{self, Asked, KEYS_MAX_DEFAULT, Line, Route, Routes, Tally},
};
use trueup_core::key::KeyForm;

use crate::cli::{
    Failure,
    database::Database,
    setup::{self, SourceArgs},
};

/// Bytes read at once.
const BUFFER_BYTES: usize = 1 << 20;
/// How compressed files begin, and what unpacks them.
const PACKED: [(&[u8], &str); 4] =
    [(b"\x1f\x8b", "zcat"), (b"\xfd7zXZ", "xzcat"), (b"\x28\xb5\x2f\xfd", "zstdcat"), (b"BZh", "bzcat")];
/// A file in which nothing was asked for, and what to do.
pub(in crate::cli) const NO_KEY: &str = "no line asks for a key of a class: name the shape of its URLs with --route, or the class of a list of keys \
     with --class";

/// Which lines count.
#[derive(Clone, Debug, clap::Args)]
pub(in crate::cli) struct WhichArgs {
    /// Only keys of this class; a line of a list is then a key alone
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) class: Option<String>,
    /// Which URLs are keys of which class, such as product=/products/{key} or search=/search?{query}; those of the plan's
    /// [warm] and the server's own /v1/CLASS/KEY count, too
    #[arg(long, value_name = "ROUTE")]
    route: Vec<Route>,
}

/// What is read, and which of it counts.
#[derive(Clone, Debug, clap::Args)]
pub(in crate::cli) struct LogArgs {
    #[command(flatten)]
    pub(in crate::cli) which: WhichArgs,
    /// Keys of each class that are counted at once; more keys, smaller errors
    #[arg(long, value_name = "N", default_value_t = KEYS_MAX_DEFAULT)]
    pub(in crate::cli) counted_max: usize,
}

impl WhichArgs {
    /// Routes of the command line, then those of the plan.
    pub(in crate::cli) fn routes(&self, of_plan: &Routes) -> Routes {
        Routes(self.route.iter().chain(&of_plan.0).cloned().collect())
    }
}

impl LogArgs {
    /// A count of the keys, as far as routes and class go.
    pub(in crate::cli) fn tally<'a>(&self, of_plan: &Routes) -> Tally<'a> {
        Tally::new(self.which.routes(of_plan), self.counted_max.max(1)).of_class(self.which.class.clone())
    }
}

/// The file: an access log, URLs, or keys.
#[derive(Clone, Debug, clap::Args)]
pub(in crate::cli) struct FileArg {
    /// An access log (Common Log Format), URLs, or lines of CLASS KEY; - for standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) file: PathBuf,
}

/// Lines that were no reads of keys.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::cli) struct Passed {
    /// Lines that asked for something else, or were no successful read.
    pub(in crate::cli) other: u64,
}

/// Shows `asked` every read of a key in `file`, in order. An error of `asked` ends it.
pub(in crate::cli) fn each_read(
    file: &Path,
    which: &WhichArgs,
    of_plan: &Routes,
    mut asked: impl FnMut(&Asked<'_>) -> Result<(), Failure>,
) -> Result<Passed, Failure> {
    let routes = which.routes(of_plan);
    let mut passed = Passed::default();
    let mut failure = None;
    open(file, |from, read| {
        let each = |line: Option<&str>| {
            match line.map(|line| warm::read_line(line, &routes, which.class.as_deref())) {
                Some(Line::Asked(one)) => failure = asked(&one).err(),
                Some(Line::Empty) => {}
                Some(Line::Other) | None => passed.other += 1,
            }
            if failure.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        warm::each_line(from, each, read)
    })?;
    failure.map_or(Ok(passed), Err)
}

/// Counts the lines of `file`; `-` is standard input.
pub(in crate::cli) fn read(file: &Path, tally: &mut Tally<'_>) -> Result<(), Failure> {
    open(file, |from, read| tally.read(from, read))
}

/// Has `through` read the file, and tell how many bytes it has read.
fn open(
    file: &Path,
    through: impl FnOnce(&mut dyn BufRead, &mut dyn FnMut(u64)) -> io::Result<()>,
) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::Usage(format!("{}: {error}", file.display()));
    if file == Path::new("-") {
        let mut from = io::stdin().lock();
        refuse_packed(file, &mut from)?;
        return through(&mut from, &mut |_| ()).map_err(failed);
    }
    let opened = File::open(file).map_err(failed)?;
    let bytes = opened.metadata().map_err(failed)?.len();
    let mut from = BufReader::with_capacity(BUFFER_BYTES, opened);
    refuse_packed(file, &mut from)?;
    let bar = progress(bytes, "{bytes} of {total_bytes} read, {eta} left");
    through(&mut from, &mut |read| bar.inc(read)).map_err(failed)?;
    bar.finish_and_clear();
    Ok(())
}

/// A compressed log would be read as lines of nonsense, none of which asks for anything.
fn refuse_packed(file: &Path, from: &mut dyn BufRead) -> Result<(), Failure> {
    let start = from.fill_buf().unwrap_or_default();
    let Some((_, how)) = PACKED.iter().find(|(magic, _)| start.starts_with(magic)) else { return Ok(()) };
    let name = file.display();
    Err(Failure::Usage(format!(
        "{name} is compressed: unpack it first, as in `{how} {name} | trueup analyze ... -`"
    )))
}

/// The normal forms of the keys of the plan's classes, by class; none where no database is named, or none is wanted.
pub(in crate::cli) fn forms(
    source: &SourceArgs,
    as_written: bool,
) -> Result<(Plan, Option<BTreeMap<String, KeyForm>>), Failure> {
    let mut plan = source.plan(Vec::new())?;
    if as_written || plan.source.is_none() {
        return Ok((plan, None));
    }
    let forms = setup::runtime(None)?.block_on(async {
        let database = Database::look_at(&plan).await?;
        database.complete(&mut plan).await?;
        database.key_forms(&plan).await
    })?;
    Ok((plan, Some(forms)))
}

/// What a report says at its end of the lines that it was made of.
pub(super) fn closing_lines(requests: u64, other: u64, unknown: u64, normal_form: bool) -> String {
    let counts = format!(
        "{requests} requests for keys; {other} for something else or failed; {unknown} with a key of no class\n"
    );
    if normal_form {
        return counts;
    }
    counts + "keys as they are written: name the database (--source, --config) for their normal form\n"
}

/// A bar on standard error, where that is a terminal.
pub(in crate::cli) fn progress(total: u64, what: &str) -> ProgressBar {
    let bar = ProgressBar::new(total);
    match ProgressStyle::with_template(&format!("{{wide_bar}} {what}")) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
