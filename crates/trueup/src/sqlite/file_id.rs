//! Which file stands behind a path, so that a replaced one is noticed.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Device and inode of a file.
pub(super) type Inode = (u64, u64);

/// The files of one database by inode. An open connection keeps following the files that it opened, whatever stands
/// behind their names by now; programs that come later see only the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) database: Inode,
    /// The write-ahead log; none before the first connection has made it.
    pub(super) wal: Option<Inode>,
}

/// Paths of one database.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    database: PathBuf,
    wal: PathBuf,
}

impl Paths {
    /// The paths behind `database`, whose symbolic links SQLite resolves before it names the log.
    pub(super) fn new(database: &Path) -> io::Result<Self> {
        let mut wal: OsString = fs::canonicalize(database)?.into_os_string();
        wal.push("-wal");
        Ok(Self { database: database.to_owned(), wal: wal.into() })
    }

    /// What stands behind the paths now.
    pub(super) fn files(&self) -> io::Result<Files> {
        let wal = match inode(&self.wal) {
            Ok(wal) => Some(wal),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(Files { database: inode(&self.database)?, wal })
    }
}

/// Device and inode behind `path`.
pub(super) fn inode(path: &Path) -> io::Result<Inode> {
    let meta = fs::metadata(path)?;
    Ok((meta.dev(), meta.ino()))
}
