//! `hit-ratios`: the memory tier's policies replayed on published traces, beside other people's figures for the same.
//!
//! Needs `../shared/data/traces`. One unit of weight an entry, so that a tier of n bytes holds n entries.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use trueup_core::tier::{Policy, Replay};

/// Cache sizes for traces without reference figures, in percent of the distinct keys: those of the reference.
const SIZES_PERCENT: [usize; 5] = [1, 5, 10, 25, 50];
/// How far the default may stay behind the best selectable policy, in miss ratio.
const MARGIN: f64 = 0.01;
/// Reference file among the traces.
const REFERENCE: &str = "reference-miss-ratios.tsv";
/// The reference's algorithms, in the order of its columns here.
const REFERENCE_ALGORITHMS: [&str; 9] = [
    "LRU_exact",
    "libcachesim:LRU",
    "libcachesim:FIFO",
    "libcachesim:ARC",
    "libcachesim:S3FIFO",
    "libcachesim:Sieve",
    "libcachesim:WTinyLFU",
    "libcachesim:LIRS",
    "libcachesim:TwoQ",
];

/// Replay traces through each eviction policy and compare the miss ratios.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Folder with the traces and reference-miss-ratios.tsv
    #[arg(long, default_value = "../shared/data/traces")]
    traces: PathBuf,
    /// Only traces whose name contains this
    #[arg(long)]
    only: Option<String>,
}

/// Why the comparison can't be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HitRatioError {
    #[error(
        "can't read {path}: {source}; the published traces belong there (or name their folder with --traces)"
    )]
    Read { path: PathBuf, source: io::Error },
    #[error("{path}: {what}")]
    Format { path: PathBuf, what: String },
}

/// Prints the table as Markdown, then the rows on which the default misses its margin.
pub(crate) fn run(args: &Options) -> Result<(), HitRatioError> {
    let reference = read_reference(&args.traces.join(REFERENCE))?;
    print_heading();
    let mut rows = Vec::new();
    for path in trace_files(&args.traces)? {
        let name = trace_name(&path);
        if args.only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            continue;
        }
        let trace = Trace::new(name, &read_keys(&path)?);
        for entries in sizes(&trace, &reference) {
            let row = Row::measure(&trace, entries);
            println!("{}", row.markdown(reference.get(&(row.trace.clone(), entries))));
            rows.push(row);
        }
    }
    print_summary(&rows);
    Ok(())
}

/// Miss ratios by algorithm, for a trace and a size in entries.
type Reference = BTreeMap<(String, usize), HashMap<String, f64>>;

fn read_reference(path: &Path) -> Result<Reference, HitRatioError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| HitRatioError::Read { path: path.to_owned(), source })?;
    let mut reference = Reference::new();
    for line in text.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let row = match fields[..] {
            [trace, _requests, _unique, entries, algorithm, _misses, ratio] => {
                entries.parse().ok().zip(ratio.parse().ok()).map(|numbers| (trace, algorithm, numbers))
            }
            _ => None,
        };
        let Some((trace, algorithm, (entries, ratio))) = row else {
            let what = format!("not a line of seven fields: {line}");
            return Err(HitRatioError::Format { path: path.to_owned(), what });
        };
        reference.entry((trace.to_owned(), entries)).or_default().insert(algorithm.to_owned(), ratio);
    }
    Ok(reference)
}

/// The compressed traces of the folder, by name.
fn trace_files(folder: &Path) -> Result<Vec<PathBuf>, HitRatioError> {
    let unreadable = |source| HitRatioError::Read { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if matches!(path.extension().and_then(|ext| ext.to_str()), Some("gz" | "xz" | "zst")) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// `web07.trace.xz` is `web07`.
fn trace_name(path: &Path) -> String {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    file.split('.').next().unwrap_or_default().to_owned()
}

/// The keys requested, in order.
fn read_keys(path: &Path) -> Result<Vec<u64>, HitRatioError> {
    let bytes = decompress(path).map_err(|source| HitRatioError::Read { path: path.to_owned(), source })?;
    let bad = |what: String| HitRatioError::Format { path: path.to_owned(), what };
    if path.extension().is_some_and(|ext| ext == "xz") {
        let (keys, rest) = bytes.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(bad(format!("{} bytes after the last 32-bit key", rest.len())));
        }
        return Ok(keys.iter().map(|key| u64::from(u32::from_be_bytes(*key))).collect());
    }
    let text = String::from_utf8(bytes).map_err(|error| bad(error.to_string()))?;
    let mut keys = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && *line != "*") {
        let numbers: Option<Vec<u64>> =
            line.split_ascii_whitespace().take(2).map(|field| field.parse().ok()).collect();
        match numbers.as_deref() {
            Some([key]) => keys.push(*key),
            Some([start, count]) => keys.extend(*start..start + count),
            _ => return Err(bad(format!("neither a key nor `start count`: {line}"))),
        }
    }
    Ok(keys)
}

fn decompress(path: &Path) -> io::Result<Vec<u8>> {
    let mut packed = BufReader::new(File::open(path)?);
    let mut bytes = Vec::new();
    match path.extension().and_then(|ext| ext.to_str()) {
        Some("gz") => flate2::bufread::GzDecoder::new(packed).read_to_end(&mut bytes).map(drop)?,
        Some("zst") => {
            ruzstd::decoding::StreamingDecoder::new(packed)
                .map_err(io::Error::other)?
                .read_to_end(&mut bytes)
                .map(drop)?;
        }
        _ => lzma_rs::xz_decompress(&mut packed, &mut bytes).map_err(io::Error::other)?,
    }
    Ok(bytes)
}

/// A trace, ready to be replayed.
struct Trace {
    name: String,
    replay: Replay,
}

impl Trace {
    fn new(name: String, keys: &[u64]) -> Self {
        let mut replay = Replay::default();
        keys.iter().for_each(|key| replay.note(&key.to_string()));
        Self { name, replay }
    }
}

fn sizes(trace: &Trace, reference: &Reference) -> Vec<usize> {
    let given: Vec<usize> =
        reference.keys().filter(|(name, _)| *name == trace.name).map(|(_, entries)| *entries).collect();
    if !given.is_empty() {
        return given;
    }
    SIZES_PERCENT.iter().map(|percent| (trace.replay.kept_keys() * percent / 100).max(1)).collect()
}

/// Miss ratios of every selectable policy on one trace at one size.
struct Row {
    trace: String,
    entries: usize,
    /// In the order of [`Policy::ALL`].
    ratios: Vec<f64>,
}

impl Row {
    fn measure(trace: &Trace, entries: usize) -> Self {
        let ratios = Policy::ALL.iter().map(|policy| trace.replay.miss_ratio(*policy, entries)).collect();
        Self { trace: trace.name.clone(), entries, ratios }
    }

    fn best(&self) -> (Policy, f64) {
        let pairs = Policy::ALL.into_iter().zip(self.ratios.iter().copied());
        pairs.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((Policy::S3Fifo, f64::NAN))
    }

    /// How far the default stays behind the best, in miss ratio.
    fn behind(&self) -> f64 {
        self.ratios[0] - self.best().1
    }

    fn markdown(&self, reference: Option<&HashMap<String, f64>>) -> String {
        let ours = self.ratios.iter().map(|ratio| format!("{ratio:.4}"));
        let theirs = REFERENCE_ALGORITHMS.iter().map(|name| {
            reference
                .and_then(|figures| figures.get(*name))
                .map_or(String::new(), |ratio| format!("{ratio:.4}"))
        });
        let verdict = [self.best().0.to_string(), format!("{:+.2}", self.behind() * 100.0)];
        let cells: Vec<String> = ours.chain(verdict).chain(theirs).collect();
        format!("| {} | {} | {} |", self.trace, self.entries, cells.join(" | "))
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (best, points) = (self.best().0, self.behind() * 100.0);
        write!(f, "{} at {} entries: {points:.2} points behind {best}", self.trace, self.entries)
    }
}

fn print_heading() {
    println!(
        "Miss ratios. `behind`: points (0.01) by which the default, s3-fifo, stays behind the best selectable.\n"
    );
    let ours = Policy::ALL.map(|policy| policy.to_string());
    let columns: Vec<&str> = ["trace", "entries"]
        .into_iter()
        .chain(ours.iter().map(String::as_str))
        .chain(["best", "behind"])
        .chain(REFERENCE_ALGORITHMS)
        .collect();
    println!("| {} |", columns.join(" | "));
    println!("|{}", "---|".repeat(columns.len()));
}

fn print_summary(rows: &[Row]) {
    let mut beyond: Vec<&Row> = rows.iter().filter(|row| row.behind() > MARGIN).collect();
    beyond.sort_by(|a, b| b.behind().total_cmp(&a.behind()));
    println!(
        "\nThe default is within one point of the best on {} of {} rows.",
        rows.len() - beyond.len(),
        rows.len()
    );
    for (index, policy) in Policy::ALL.iter().enumerate() {
        let within = rows.iter().filter(|row| row.ratios[index] - row.best().1 <= MARGIN).count();
        let mean = rows.iter().map(|row| row.ratios[index]).sum::<f64>() / rows.len() as f64;
        println!("- {policy}: within one point on {within}, mean miss ratio {mean:.4}");
    }
    if !beyond.is_empty() {
        println!("\nExceptions:");
        beyond.iter().for_each(|row| println!("- {row}"));
    }
}
