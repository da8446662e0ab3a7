//! Files in which a node keeps something over a restart: written whole or not at all, and read by their owner alone.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

/// Who may read and write: the owner. Keys may be personal data.
const MODE: u32 = 0o600;

/// Writes `bytes` as `name` in `folder`, so that either the old or the new file is there whatever happens. Blocks.
pub(crate) fn write(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let new = folder.join(format!("{name}.new"));
    // What a process that died has left: its mode would stay.
    if let Err(error) = fs::remove_file(&new)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, folder.join(name))?;
    // The name too.
    File::open(folder)?.sync_all()
}

/// What was written last; none if nothing was. Blocks.
pub(crate) fn read(folder: &Path, name: &str) -> io::Result<Option<Vec<u8>>> {
    match fs::read(folder.join(name)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_file_is_its_owners_alone_and_what_a_dead_process_left_is_in_nobodys_way() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("state");
        assert_eq!(read(&folder, "x").unwrap(), None);
        write(&folder, "x", b"one").unwrap();
        fs::write(folder.join("x.new"), b"half").unwrap();
        fs::set_permissions(folder.join("x.new"), fs::Permissions::from_mode(0o644)).unwrap();
        write(&folder, "x", b"two").unwrap();
        assert_eq!(read(&folder, "x").unwrap().unwrap(), b"two");
        let mode = fs::metadata(folder.join("x")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        assert!(!folder.join("x.new").exists());
    }
}
