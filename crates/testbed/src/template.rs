//! A fresh cluster of PostgreSQL, made by `initdb` once a day and copied by whoever starts a server: one folder for all processes,
//! where one for each would have to be removed by each, killed or not.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    Failed,
    postgres::{SUPERUSER, account_id, as_account, copy, folder, run},
};

/// So old may a cluster be: folders of temporary files are tidied by age.
const AGE_MAX: Duration = Duration::from_secs(24 * 3600);
const PREFIX: &str = "trueup-initdb-";

/// Makes `to` a fresh cluster of the version of `programs`.
pub(crate) fn copy_to(to: &Path, programs: &Path) -> Result<(), Failed> {
    let initdb = programs.join("initdb");
    let common = std::env::temp_dir().join(name(&initdb)?);
    let made = folder(PREFIX)?;
    // Gone meanwhile, or without some of its files: what was copied of it is removed, and a new one made.
    if is_usable(&common, made.path())? {
        if copy(&common.join("data"), to).is_ok() {
            return Ok(());
        }
        let _ = fs::remove_dir_all(to);
    }
    make(&initdb, &made.path().join("data"))?;
    copy(&made.path().join("data"), to)?;
    // An old one is set aside first, or a folder that is not ours stays and this one is of use once.
    if let Ok(aside) = folder(PREFIX)
        && fs::rename(&common, aside.path().join("old")).is_err()
        && common.exists()
    {
        return Ok(());
    }
    if fs::rename(made.path(), &common).is_ok() {
        let _ = made.keep();
    }
    Ok(())
}

/// One folder for each version and each account that owns it.
fn name(initdb: &Path) -> Result<PathBuf, Failed> {
    let output = Command::new(initdb).arg("--version").output();
    let output = output.map_err(|why| Failed::new(format!("starting {}", initdb.display()), why))?;
    let version = String::from_utf8_lossy(&output.stdout);
    let version = version.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    let version = version.ok_or_else(|| Failed::program(initdb.as_os_str(), &output))?;
    let owner = account_id()?.unwrap_or_else(|| rustix::process::geteuid().as_raw());
    Ok(PathBuf::from(format!("{PREFIX}{owner}-{version}")))
}

/// Whether `common` is young enough and belongs to whom a new folder belongs, and to nobody else.
fn is_usable(common: &Path, new: &Path) -> Result<bool, Failed> {
    let look = |path: &Path| fs::symlink_metadata(path);
    let Ok(old) = look(common) else { return Ok(false) };
    let new = look(new).map_err(|why| Failed::new("looking at a temporary folder", why))?;
    let age_s = new.mtime().saturating_sub(old.mtime());
    let is_young = u64::try_from(age_s).is_ok_and(|age_s| age_s < AGE_MAX.as_secs());
    Ok(old.is_dir() && is_young && (old.uid(), old.mode()) == (new.uid(), new.mode()))
}

fn make(initdb: &Path, data: &Path) -> Result<(), Failed> {
    let mut command = as_account(initdb)?;
    command.args(["--no-sync", "-A", "trust", "-U", SUPERUSER, "-E", "UTF8", "--locale", "C.UTF-8", "-D"]);
    command.arg(data);
    run(command, OsStr::new("initdb"))
}
