//! Filters over a restart: a file each, read before the feed is followed, written now and then and at the end.
//!
//! Why a filter of an earlier process may answer. Its file holds a place in the source's log, and every row that there was at that
//! place (and perhaps more). It hears the feed from its first message on, for it is there before the feed is followed; and it
//! answers only if the source has found that its log goes on from a place that is not behind the file's. From there on it is a filter
//! like one that this process has built: what was inserted since was told to it before any reader could take an applied position that
//! covers it. The table must have the shape that it had, to the last oid, and the program must be the same release, so that a key
//! still has the tag under which its row was added.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, BufReader, BufWriter, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_128;

use super::Absence;
use crate::{
    class::{Bloom, ClassName},
    entry::EpochId,
    proof::{
        BadFilter, Ledger, Position, RowFilter, SavedPlace, TableTags, filter_bytes, filter_hashes,
        read_filter,
    },
    source::{Catalogue, Source},
};

/// The name of a file, before that of its class.
const FILE: &str = "filter-";
/// A filter of at most so many bytes is saved together with whatever else a node saves of the feed: three million rows at 0.01 %.
const SMALL_BYTES_MAX: usize = 8 << 20;
/// Who may read and write: the owner.
const MODE: u32 = 0o600;

/// How a filter began in this process, where one could have been saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterStart {
    /// What an earlier process has saved goes on.
    Reloaded,
    /// Nothing was saved.
    Nothing,
    /// What was saved is damaged, or of another version.
    Damaged,
    /// It was saved for other entries, another shape of the table, or by another release.
    Other,
    /// The source's log does not go on from its place: another epoch, or what lies between is not told any more.
    NotContinued,
    /// What happened since it was saved does not say which rows it concerns.
    Hidden,
}

impl FilterStart {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Reloaded, Self::Nothing, Self::Damaged, Self::Other, Self::NotContinued, Self::Hidden];

    /// The name in metrics and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reloaded => "reloaded",
            Self::Nothing => "nothing",
            Self::Damaged => "damaged",
            Self::Other => "other",
            Self::NotContinued => "not_continued",
            Self::Hidden => "hidden",
        }
    }

    /// Why the keys have to be read anew.
    pub(super) const fn why(self) -> &'static str {
        match self {
            Self::Reloaded | Self::Nothing => "there is none yet",
            Self::Damaged => "the saved one cannot be read",
            Self::Other => {
                "the saved one is of other entries, another error, another shape of the table or another release"
            }
            Self::NotContinued => "the log does not go on from where the saved one was",
            Self::Hidden => "what happened since it was saved does not say which rows it concerns",
        }
    }
}

/// What was saved for one class.
pub(crate) type Saved = Result<(Arc<RowFilter>, [u8; 16]), FilterStart>;

/// What the bits of a filter mean: equal where a row has the same bits.
pub(super) fn shape_of(plan: Bloom, table: TableTags, catalogue: [u8; 16]) -> [u8; 16] {
    let mut parts = Vec::with_capacity(128);
    // How keys become tags may differ from release to release.
    parts.extend_from_slice(env!("CARGO_PKG_VERSION").as_bytes());
    parts.push(0);
    parts.extend_from_slice(&table.any.0.to_le_bytes());
    parts.extend_from_slice(&table.wide.0.to_le_bytes());
    parts.extend_from_slice(&catalogue);
    parts.extend_from_slice(&plan.entries.get().to_le_bytes());
    parts.extend_from_slice(&plan.error.to_bits().to_le_bytes());
    xxh3_128(&parts).to_le_bytes()
}

/// The filters of a node on disk.
pub(crate) struct FilterStore {
    folder: PathBuf,
    found: Mutex<HashMap<ClassName, Saved>>,
    places: Vec<SavedPlace>,
    kept: Mutex<Vec<Arc<Kept>>>,
    /// One writes at a time: who saves at the end may come while another one still does.
    writing: Arc<Mutex<()>>,
}

/// A class's filter, to be saved.
struct Kept {
    class: ClassName,
    now: Box<Now>,
    /// Where it was when it was saved last.
    saved: Mutex<Option<(EpochId, Position)>>,
}

/// A class's filter as it is now, with what its bits mean; none where there is nothing to save.
type Now = dyn Fn() -> Result<Option<(Arc<RowFilter>, [u8; 16])>, Gone> + Send + Sync;

/// The class is there no more.
struct Gone;

impl FilterStore {
    /// Reads what was saved in `folder` for these classes, as far as `bytes_max` goes. Blocks: hundreds of MiB take their time.
    pub(crate) fn read(folder: PathBuf, classes: Vec<(ClassName, Bloom)>, bytes_max: usize) -> Arc<Self> {
        let (mut found, mut places, mut left) = (HashMap::new(), Vec::new(), bytes_max);
        for (class, plan) in classes {
            let bytes = filter_bytes(plan.entries.get(), plan.error);
            let Some(rest) = left.checked_sub(bytes) else { continue };
            let saved = match read(&folder, &class, plan) {
                Ok(Some((filter, shape, place))) => {
                    left = rest;
                    places.push(place);
                    Ok((Arc::new(filter), shape))
                }
                Ok(None) => Err(FilterStart::Nothing),
                Err(error) => {
                    let (file, class) = (file_of(&class), class.as_str());
                    tracing::warn!(class, folder = %folder.display(), file, %error, "the saved filter is of no use");
                    Err(if matches!(error, BadFilter::Size) {
                        FilterStart::Other
                    } else {
                        FilterStart::Damaged
                    })
                }
            };
            found.insert(class, saved);
        }
        let (kept, writing) = Default::default();
        Arc::new(Self { folder, found: Mutex::new(found), places, kept, writing })
    }

    /// Where in the log they were saved.
    pub(crate) fn places(&self) -> Vec<SavedPlace> {
        self.places.clone()
    }

    /// Has them hear everything, before the feed is followed.
    pub(crate) fn expect_feed(&self, ledger: &Ledger) {
        for (filter, _) in self.found.lock().values().flatten() {
            ledger.expect(filter);
        }
    }

    /// What was saved for `class`; it is given away once.
    pub(crate) fn take(&self, class: &ClassName) -> Option<Saved> {
        self.found.lock().remove(class)
    }

    /// Saves the filter of `absence` from now on, too.
    pub(crate) fn keep<K: Send + Sync + 'static>(
        &self,
        class: ClassName,
        absence: &Arc<Absence<K>>,
        catalogue: Arc<Catalogue>,
    ) {
        let absence: Weak<Absence<K>> = Arc::downgrade(absence);
        let now = move || {
            let absence = absence.upgrade().ok_or(Gone)?;
            let (number, digest) = catalogue.both();
            let current = absence.current.load_full();
            let filter = current.as_ref().map(|built| &built.filter).filter(|f| f.class_epoch() == number);
            Ok(filter.map(|filter| (Arc::clone(filter), shape_of(absence.plan, filter.table(), digest))))
        };
        self.kept.lock().push(Arc::new(Kept { class, now: Box::new(now), saved: Mutex::default() }));
    }

    /// Saves each filter that may be relied on and has heard anything since it was saved last. What cannot be saved is told, and has the
    /// next process build it.
    pub(crate) async fn save(&self, source: &dyn Source) {
        self.save_up_to(usize::MAX, source).await;
    }

    /// As [`FilterStore::save`], those that can be saved every few seconds.
    pub(crate) async fn save_small(&self, source: &dyn Source) {
        self.save_up_to(SMALL_BYTES_MAX, source).await;
    }

    async fn save_up_to(&self, bytes_max: usize, source: &dyn Source) {
        let kept = self.kept.lock().clone();
        for one in kept {
            let Ok(now) = (one.now)() else {
                self.kept.lock().retain(|other| !Arc::ptr_eq(other, &one));
                continue;
            };
            if let Some((filter, shape)) = now
                && filter.bytes() <= bytes_max
                && let Err(error) = self.save_one(&one, filter, shape, source).await
            {
                let (class, folder, file) = (one.class.as_str(), self.folder.display(), file_of(&one.class));
                tracing::warn!(class, %folder, file, %error, "the filter cannot be saved; check the folder and its disk");
            }
        }
    }

    async fn save_one(
        &self,
        kept: &Kept,
        filter: Arc<RowFilter>,
        shape: [u8; 16],
        source: &dyn Source,
    ) -> io::Result<()> {
        let Some(place) = filter.place().filter(|place| *kept.saved.lock() != Some(*place)) else {
            return Ok(());
        };
        let Some(evidence) = source.place(place.0, place.1).await else { return Ok(()) };
        let saved = SavedPlace { epoch: place.0, position: place.1, evidence };
        let (folder, name, writing) = (self.folder.clone(), file_of(&kept.class), Arc::clone(&self.writing));
        let write = move || {
            let _turn = writing.lock();
            // The place first, then the bits: they are those of the place, or of a later one.
            write(&folder, &name, &filter, shape, saved)
        };
        tokio::task::spawn_blocking(write).await.map_err(io::Error::other)??;
        *kept.saved.lock() = Some(place);
        Ok(())
    }
}

fn file_of(class: &ClassName) -> String {
    format!("{FILE}{class}")
}

fn read(
    folder: &Path,
    class: &ClassName,
    plan: Bloom,
) -> Result<Option<(RowFilter, [u8; 16], SavedPlace)>, BadFilter> {
    let file = match File::open(folder.join(file_of(class))) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let (entries, error) = (plan.entries.get(), plan.error);
    let words = (filter_bytes(entries, error) / size_of::<u64>()) as u64;
    let (head, bits) = read_filter(BufReader::new(file), words, filter_hashes(error))?;
    Ok(Some((RowFilter::saved(&head, bits), head.shape, head.place)))
}

/// Writes it so that either the old or the new one is there whatever happens. Blocks.
fn write(
    folder: &Path,
    name: &str,
    filter: &RowFilter,
    shape: [u8; 16],
    place: SavedPlace,
) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let new = folder.join(format!("{name}.new"));
    // What a process that died has left: its mode would stay.
    if let Err(error) = fs::remove_file(&new)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&new)?;
    let mut file = BufWriter::new(file);
    filter.write(shape, place, &mut file)?;
    file.flush()?;
    file.get_ref().sync_all()?;
    fs::rename(&new, folder.join(name))?;
    // The name too.
    File::open(folder)?.sync_all()
}
