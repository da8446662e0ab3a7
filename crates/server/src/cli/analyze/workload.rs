//! The requests of a log by class, and the miss ratios that memories of several sizes would have had.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    sync::atomic::{AtomicUsize, Ordering},
};

use compact_str::CompactString;
use parking_lot::Mutex;
use trueup::warm::{Asked, Routes};
use trueup_core::{
    class::units::{parse_bytes, parse_share},
    key::KeyForm,
    tier::{Policy, Replay},
};

use super::log::{self, FileArg, WhichArgs};
use crate::cli::Failure;

/// Classes that are told apart: a file of something else must not fill the memory with its words.
const CLASSES_MAX: usize = 64;
/// Requests that are kept in memory, 4 bytes each, where the share of the sample is not stated: of all classes together, but for
/// those that have so few keys that recording ended.
const KEPT_REQUESTS_MAX: usize = 4 << 20;
/// Keys of all classes that are kept in memory, about 30 bytes each, where the share of the sample is not stated.
const KEPT_KEYS_MAX: usize = 1 << 20;
/// Sizes of the ladder that is taken unless sizes are stated.
const LADDER_STEPS: usize = 12;
/// Fewest entries of a memory that a sample can stand for.
const SAMPLED_ENTRIES_MIN: f64 = 32.0;
/// One point of a miss ratio: what is worth a larger memory.
const POINT: f64 = 0.01;

/// Sizes of memory, and what the log is replayed with.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct SizeArgs {
    /// Sizes of memory, in entries or in bytes: 1000,64MiB [default: the number of keys, and halves of it]
    #[arg(long, value_name = "SIZES", value_delimiter = ',', value_parser = size)]
    pub(super) sizes: Vec<Size>,
    /// What an entry takes in memory, such as 2KiB: value, key and bookkeeping (`trueup_stored_bytes / trueup_entries`)
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    pub(super) entry_size: Option<usize>,
    /// Share of the keys that is replayed, such as 10%; 100% takes memory that grows with the log
    #[arg(long, value_name = "SHARE", value_parser = sample, default_value = "auto")]
    pub(super) sample: Sample,
}

/// A size of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// So many entries.
    Entries(usize),
    /// So many bytes, which hold as many entries as their size says.
    Bytes(usize),
}

/// Reads entries (`1000`) or bytes (`64MiB`).
pub(super) fn size(text: &str) -> Result<Size, String> {
    let size = match text.trim().parse() {
        Ok(entries) => Size::Entries(entries),
        Err(_) => Size::Bytes(
            parse_bytes(text).map_err(|_| "write entries, such as 1000, or bytes, such as 64MiB")?,
        ),
    };
    if matches!(size, Size::Entries(0) | Size::Bytes(0)) {
        Err("it holds nothing".to_owned())
    } else {
        Ok(size)
    }
}

impl Size {
    /// Entries that it holds.
    pub(super) fn entries(self, entry_bytes: Option<usize>) -> Result<usize, Failure> {
        match (self, entry_bytes) {
            (Self::Entries(entries), _) => Ok(entries),
            (Self::Bytes(bytes), Some(each)) => Ok((bytes / each.max(1)).max(1)),
            (Self::Bytes(_), None) => Err(Failure::Usage(
                "a size in bytes holds as many entries as their size says: write it, such as --entry-size 2KiB, or sizes in \
                 entries"
                    .to_owned(),
            )),
        }
    }
}

/// Share of the keys that is replayed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Sample {
    /// All, and fewer as the log grows.
    Automatic,
    /// So many, 0 to 1.
    Share(f64),
}

fn sample(text: &str) -> Result<Sample, String> {
    if text == "auto" {
        return Ok(Sample::Automatic);
    }
    match parse_share(text) {
        Ok(share) if share > 0.0 => Ok(Sample::Share(share)),
        Ok(_) => Err("nothing would be replayed".to_owned()),
        Err(error) => Err(format!("{error}, or auto")),
    }
}

/// What was asked for, class by class.
pub(super) struct Workload {
    sample: Sample,
    forms: Option<BTreeMap<String, KeyForm>>,
    pub(super) classes: BTreeMap<CompactString, Requests>,
    /// Lines that asked for something else, or were no successful read.
    pub(super) other: u64,
    /// Lines whose key is none of its class.
    pub(super) unknown: u64,
    first_s: i64,
    last_s: i64,
}

/// The requests of one class.
#[derive(Debug)]
pub(super) struct Requests {
    pub(super) replay: Replay,
    answers: u64,
    bytes: u64,
}

impl Workload {
    /// Reads `file`. Keys are counted in their normal form where `forms` are known.
    pub(super) fn read(
        file: &FileArg,
        which: &WhichArgs,
        of_plan: &Routes,
        forms: Option<BTreeMap<String, KeyForm>>,
        sample: Sample,
    ) -> Result<Self, Failure> {
        let mut workload = Self::new(forms, sample);
        let passed = log::each_read(&file.file, which, of_plan, |asked| workload.note(asked))?;
        workload.other = passed.other;
        if workload.classes.is_empty() {
            return Err(Failure::Findings(log::NO_KEY.to_owned()));
        }
        Ok(workload)
    }

    const fn new(forms: Option<BTreeMap<String, KeyForm>>, sample: Sample) -> Self {
        let classes = BTreeMap::new();
        Self { sample, forms, classes, other: 0, unknown: 0, first_s: i64::MAX, last_s: i64::MIN }
    }

    fn note(&mut self, asked: &Asked<'_>) -> Result<(), Failure> {
        if asked.times != 1 {
            let why = "a line has a count in front: in such a list the order of requests is lost, which decides what a memory \
                       misses; give the log itself";
            return Err(Failure::Usage(why.to_owned()));
        }
        let normal = match &self.forms {
            None => None,
            Some(forms) => match forms.get(asked.class).and_then(|form| form.parse(asked.key).ok()) {
                Some(key) => Some(key),
                None => {
                    self.unknown += 1;
                    return Ok(());
                }
            },
        };
        let is_known = self.classes.contains_key(asked.class);
        if !is_known && self.classes.len() >= CLASSES_MAX {
            self.unknown += 1;
            return Ok(());
        }
        if let Some(time) = asked.unix_s {
            (self.first_s, self.last_s) = (self.first_s.min(time), self.last_s.max(time));
        }
        if !is_known {
            let share = if let Sample::Share(share) = self.sample { share } else { 1.0 };
            let replay = Replay::of_share(share);
            self.classes.insert(asked.class.into(), Requests { replay, answers: 0, bytes: 0 });
        }
        if let Some(class) = self.classes.get_mut(asked.class) {
            class.replay.note(normal.as_ref().map_or(asked.key, |key| key.as_str()));
            class.answers += u64::from(asked.bytes.is_some());
            class.bytes += asked.bytes.unwrap_or(0);
            let kept = (class.replay.kept_requests(), class.replay.kept_keys());
            // Sums over all classes need not be made for each line.
            if self.sample == Sample::Automatic && kept.0.is_multiple_of(1_024) {
                self.bound();
            }
        }
        Ok(())
    }

    /// Thins the largest of the classes that still grow, if these are too large together.
    fn bound(&mut self) {
        let growing =
            || self.classes.values().map(|class| &class.replay).filter(|replay| replay.is_recording());
        let (requests, keys) = growing().fold((0, 0), |(requests, keys), replay| {
            (requests + replay.kept_requests(), keys + replay.kept_keys())
        });
        if requests > KEPT_REQUESTS_MAX || keys > KEPT_KEYS_MAX {
            let growing = self.classes.values_mut().filter(|class| class.replay.is_recording());
            let largest = growing.max_by_key(|class| class.replay.kept_requests());
            largest.into_iter().for_each(|class| class.replay.thin());
        }
    }

    /// Requests for keys of all classes.
    pub(super) fn requests(&self) -> u64 {
        self.classes.values().map(Requests::count).sum()
    }

    /// Requests a second, of the times in the log; none where it tells no times, or no two.
    pub(super) fn rate(&self) -> Option<f64> {
        (self.last_s > self.first_s).then(|| self.requests() as f64 / (self.last_s - self.first_s) as f64)
    }
}

impl Requests {
    /// How many.
    pub(super) const fn count(&self) -> u64 {
        self.replay.requests() + self.replay.left_out()
    }

    /// Bytes of an answer, on the average of those that the log tells.
    pub(super) fn logged_bytes(&self) -> Option<usize> {
        usize::try_from(self.bytes.checked_div(self.answers)?).ok()
    }

    /// Entries in sizes that are worth looking at, ascending; then those stated that are too small for the sample.
    pub(super) fn ladder(&self, stated: &[Size], entry_bytes: Option<usize>) -> Result<Ladder, Failure> {
        let share = self.replay.share();
        let least = if share < 1.0 { (SAMPLED_ENTRIES_MIN / share).ceil() as usize } else { 1 };
        if stated.is_empty() {
            let keys = usize::try_from(self.replay.keys()).unwrap_or(usize::MAX).max(1);
            let mut sizes: Vec<usize> = (0..LADDER_STEPS)
                .map(|step| keys.div_ceil(1 << step))
                .filter(|size| *size >= least)
                .collect();
            sizes.dedup();
            sizes.reverse();
            return Ok(Ladder { sizes, too_small: Vec::new() });
        }
        let mut sizes = stated.iter().map(|size| size.entries(entry_bytes)).collect::<Result<Vec<_>, _>>()?;
        sizes.sort_unstable();
        sizes.dedup();
        let (sizes, too_small) = sizes.into_iter().partition(|size| *size >= least);
        Ok(Ladder { sizes, too_small })
    }
}

/// Sizes of memory, in entries.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ladder {
    pub(super) sizes: Vec<usize>,
    pub(super) too_small: Vec<usize>,
}

/// Miss ratios by size, for one class.
#[derive(Debug)]
pub(super) struct Curve {
    /// Size in entries, ascending, and the miss ratios of each policy.
    pub(super) rows: Vec<(usize, Vec<f64>)>,
    /// What twice the size would have missed under the first policy, of each row.
    doubled: Vec<f64>,
    /// What a memory without end would have missed.
    pub(super) least: f64,
}

impl Curve {
    /// Replays the requests for each size and policy, on all processors; `done` is told of each replay.
    pub(super) fn measure(
        replay: &Replay,
        sizes: &[usize],
        policies: &[Policy],
        done: impl Fn() + Sync,
    ) -> Self {
        let mut jobs: Vec<(usize, Policy)> =
            sizes.iter().flat_map(|size| policies.iter().map(|policy| (*size, *policy))).collect();
        let first = policies.first().copied().unwrap_or_default();
        let doubled = |size: &usize| (size.saturating_mul(2), first);
        jobs.extend(sizes.iter().map(doubled));
        jobs.sort_unstable_by_key(|(size, policy)| (*size, policy.as_str()));
        jobs.dedup();
        let (next, results) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
        let work = || {
            while let Some((size, policy)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                let ratio = replay.miss_ratio(*policy, *size);
                results.lock().insert((*size, policy.as_str()), ratio);
                done();
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
        let results = results.into_inner();
        let of =
            |(size, policy): (usize, Policy)| results.get(&(size, policy.as_str())).copied().unwrap_or(1.0);
        let row = |size: &usize| (*size, policies.iter().map(|policy| of((*size, *policy))).collect());
        Self {
            rows: sizes.iter().map(row).collect(),
            doubled: sizes.iter().map(|size| of(doubled(size))).collect(),
            least: replay.least_miss_ratio(),
        }
    }

    /// How many replays [`measure`](Self::measure) makes, at most.
    pub(super) const fn replays(sizes: usize, policies: usize) -> usize {
        sizes * (policies + 1)
    }

    fn first(&self) -> impl DoubleEndedIterator<Item = (usize, f64)> + ExactSizeIterator {
        self.rows.iter().map(|(size, ratios)| (*size, ratios.first().copied().unwrap_or(1.0)))
    }

    /// The smallest size at which the first policy misses at most one point more than a memory without end.
    pub(super) fn enough(&self) -> Option<usize> {
        self.first().find(|(_, ratio)| ratio - self.least <= POINT).map(|(size, _)| size)
    }

    /// The smallest size from which on doubling gives less than one point, up to the largest.
    pub(super) fn doubling_ends(&self) -> Option<usize> {
        let gains = self.first().zip(&self.doubled).rev();
        gains.take_while(|((_, ratio), doubled)| ratio - *doubled < POINT).last().map(|((size, _), _)| size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(lines: impl IntoIterator<Item = (u32, i64)>, sample: Sample) -> Workload {
        let mut workload = Workload::new(None, sample);
        for (key, time) in lines {
            let key = key.to_string();
            let asked = Asked { class: "page", key: &key, times: 1, unix_s: Some(time), bytes: Some(100) };
            workload.note(&asked).unwrap();
        }
        workload
    }

    #[test]
    fn the_curve_of_a_loop_falls_where_it_fits() {
        let workload = workload((0..1_000).map(|step| (step % 10, i64::from(step / 10))), Sample::Automatic);
        assert_eq!((workload.requests(), workload.rate().map(f64::round)), (1_000, Some(10.0)));
        let page = &workload.classes["page"];
        assert_eq!((page.replay.keys(), page.logged_bytes()), (10, Some(100)));
        let ladder = page.ladder(&[], None).unwrap();
        assert_eq!(ladder.sizes, [1, 2, 3, 5, 10]);
        let curve = Curve::measure(&page.replay, &ladder.sizes, &[Policy::Lru, Policy::Fifo], || ());
        let ratios: Vec<f64> = curve.first().map(|(_, ratio)| ratio).collect();
        assert_eq!(ratios, [1.0, 1.0, 1.0, 1.0, 0.01], "an exact lru misses all of a longer loop");
        assert_eq!(curve.least, 0.01);
        assert_eq!(
            (curve.enough(), curve.doubling_ends()),
            (Some(10), Some(10)),
            "what is flat may fall yet"
        );
    }

    #[test]
    fn sizes_may_be_stated_in_entries_and_in_bytes() {
        let workload = workload((0..100).map(|step| (step, 0)), Sample::Automatic);
        let page = &workload.classes["page"];
        let stated = [size("64KiB").unwrap(), size("10").unwrap(), size("10").unwrap()];
        assert_eq!(page.ladder(&stated, Some(1_024)).unwrap().sizes, [10, 64]);
        assert!(page.ladder(&stated, None).is_err_and(|why| why.to_string().contains("--entry-size")));
        assert!(size("0").is_err() && size("lots").is_err() && size("0MiB").is_err());
        assert_eq!(workload.rate(), None, "one moment is no span");
    }

    #[test]
    fn a_sample_leaves_out_sizes_that_it_cannot_stand_for() {
        let workload = workload((0..40_000).map(|step| (step % 4_000, 0)), Sample::Share(0.1));
        let page = &workload.classes["page"];
        assert!(page.replay.kept_keys() < 800);
        let ladder = page.ladder(&[Size::Entries(100), Size::Entries(1_000)], None).unwrap();
        assert_eq!(ladder, Ladder { sizes: vec![1_000], too_small: vec![100] });
        assert!(page.ladder(&[], None).unwrap().sizes.iter().all(|size| *size >= 320));
        assert_eq!(sample("10%"), Ok(Sample::Share(0.1)));
        assert!(sample("0%").is_err() && sample("some").is_err());
    }

    #[test]
    fn a_count_in_front_is_no_log() {
        let mut workload = Workload::new(None, Sample::Automatic);
        let asked = Asked { class: "page", key: "1", times: 7, unix_s: None, bytes: None };
        assert!(workload.note(&asked).is_err_and(|why| why.to_string().contains("give the log itself")));
    }
}
