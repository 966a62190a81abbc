//! Files that are written whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Who may read and write a file that is no secret, as far as the umask lets them.
pub const PUBLIC: u32 = 0o666;
/// Nobody else reads or writes it.
pub const PRIVATE: u32 = 0o600;

/// Writes a file, or puts another content in its place; whoever reads it meanwhile sees the old or the new one. One that is
/// there keeps its permissions.
///
/// # Errors
/// When it can't be written. What was there is still there then.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    // Behind a link is what shall change, not the link itself.
    let target = match fs::symlink_metadata(path) {
        Ok(_) => path.canonicalize()?,
        Err(_) => path.to_owned(),
    };
    let draft = Draft::write(&target, content, PUBLIC)?;
    if let Ok(old) = fs::metadata(&target) {
        let mode = old.permissions().mode() & 0o777;
        fs::set_permissions(&draft.path, fs::Permissions::from_mode(mode))?;
    }
    fs::rename(&draft.path, &target)?;
    settle(&target)
}

/// Writes a file that must not be there yet.
///
/// # Errors
/// When it is there ([`ErrorKind::AlreadyExists`]), or can't be written.
pub fn create(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let draft = Draft::write(path, content, mode)?;
    // A link, unlike a new name, never takes the place of what somebody else wrote meanwhile.
    match fs::hard_link(&draft.path, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(error),
        // Not every file system has links.
        Err(_) if fs::symlink_metadata(path).is_err() => fs::rename(&draft.path, path)?,
        linked => linked?,
    }
    settle(path)
}

/// A file on its way, beside the one that it becomes. Taken away when it is dropped, if it is still there.
struct Draft {
    path: PathBuf,
}

impl Draft {
    fn write(target: &Path, content: &[u8], mode: u32) -> io::Result<Self> {
        let name = target.file_name().ok_or(ErrorKind::InvalidInput)?;
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{:016x}.tmp", rand::random::<u64>()));
        let mut options = OpenOptions::new();
        let path = target.with_file_name(hidden);
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path)?;
        let draft = Self { path };
        file.write_all(content)?;
        file.sync_all()?;
        Ok(draft)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After a rename it is gone already.
        let _ = fs::remove_file(&self.path);
    }
}

/// Has the folder keep the new name, also if the machine loses its power now.
fn settle(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_keeps_its_mode_and_nothing_else_stays_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        replace(&path, b"one").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let link = folder.path().join("b");
        std::os::unix::fs::symlink("a", &link).unwrap();
        replace(&link, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o640
        );
        assert!(link.is_symlink());
        assert_eq!(names(folder.path()), ["a", "b"]);
    }

    #[test]
    fn what_is_there_is_never_taken_by_a_new_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        create(&path, b"one", PRIVATE).unwrap();
        let error = create(&path, b"two", PRIVATE).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn what_can_not_be_written_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("folder");
        fs::create_dir(&path).unwrap();
        assert!(replace(&path, b"one").is_err());
        assert_eq!(names(folder.path()), ["folder"]);
        assert!(replace(&folder.path().join("no/such"), b"one").is_err());
    }
}
