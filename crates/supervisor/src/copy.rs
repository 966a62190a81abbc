//! Copying an image into a volume, where images can't be mounted: an init container runs this in the image itself.
//!
//! What other file systems hold (`/proc`, `/sys`, the volume itself) is no part of the image. A copy that was broken off
//! is made again over what is there.

use std::fs::{self, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

/// Directories of the copy stay writable for its owner, so that it can be made again.
const OWNER: u32 = 0o700;

/// What could not be copied.
#[derive(Debug)]
pub struct CopyError {
    path: PathBuf,
    source: io::Error,
}

impl std::fmt::Display for CopyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "failed to copy {}: {}", self.path.display(), self.source)
    }
}

/// Copies all that is in `from`, on its own file system, into `to`, which must be there.
///
/// # Errors
/// The first thing that can't be read or written.
pub fn copy(from: &Path, to: &Path) -> Result<(), CopyError> {
    let at = |source| CopyError {
        path: from.to_owned(),
        source,
    };
    let device = fs::symlink_metadata(from).map_err(at)?.dev();
    copy_folder(from, to, device)
}

fn copy_folder(from: &Path, to: &Path, device: u64) -> Result<(), CopyError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| CopyError { path, source }
    };
    for entry in fs::read_dir(from).map_err(failed(from))? {
        let entry = entry.map_err(failed(from))?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        let metadata = fs::symlink_metadata(&path).map_err(failed(&path))?;
        copy_entry(&path, &metadata, &target, device).map_err(|error| match error {
            Failed::Here(source) => CopyError { path, source },
            Failed::Below(error) => error,
        })?;
    }
    Ok(())
}

enum Failed {
    Here(io::Error),
    Below(CopyError),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Here(error)
    }
}

fn copy_entry(from: &Path, metadata: &Metadata, to: &Path, device: u64) -> Result<(), Failed> {
    let kind = metadata.file_type();
    // Files of one image may be on several devices, where images are layered; mounts are told by their folders.
    if kind.is_dir() {
        if metadata.dev() != device {
            return Ok(());
        }
        match fs::create_dir(to) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error.into()),
            _ => {}
        }
        copy_folder(from, to, device).map_err(Failed::Below)?;
        let mode = metadata.mode() & 0o777 | OWNER;
        fs::set_permissions(to, Permissions::from_mode(mode))?;
    } else if kind.is_symlink() {
        remove(to)?;
        symlink(fs::read_link(from)?, to)?;
    } else if kind.is_file() {
        remove(to)?;
        fs::copy(from, to)?;
    }
    Ok(())
}

/// A file that may not be written can be replaced.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_copied_with_its_modes_and_links_and_again_over_itself() {
        let folder = std::env::temp_dir().join(format!("workstead-copy-{}", std::process::id()));
        let (from, to) = (folder.join("from"), folder.join("to"));
        fs::create_dir_all(from.join("bin")).unwrap();
        fs::create_dir_all(&to).unwrap();
        fs::write(from.join("bin/tool"), "one").unwrap();
        fs::set_permissions(from.join("bin/tool"), Permissions::from_mode(0o555)).unwrap();
        symlink("tool", from.join("bin/link")).unwrap();
        fs::set_permissions(from.join("bin"), Permissions::from_mode(0o555)).unwrap();
        for _ in 0..2 {
            copy(&from, &to).unwrap();
            assert_eq!(fs::read(to.join("bin/tool")).unwrap(), b"one");
            let mode = |path: &str| fs::metadata(to.join(path)).unwrap().mode() & 0o777;
            assert_eq!((mode("bin/tool"), mode("bin")), (0o555, 0o755));
            let link = fs::read_link(to.join("bin/link")).unwrap();
            assert_eq!(link, Path::new("tool"));
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_other_file_systems_hold_stays_outside() {
        let folder = std::env::temp_dir().join(format!("workstead-mounts-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let device = fs::symlink_metadata("/").unwrap().dev();
        let proc = fs::symlink_metadata("/proc").unwrap();
        let copied = copy_entry(Path::new("/proc"), &proc, &folder.join("proc"), device);
        assert!(copied.is_ok() && !folder.join("proc").exists());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_can_not_be_written_is_named() {
        let error = copy(Path::new("/proc/self/fdinfo"), Path::new("/nowhere/at/all"));
        let said = error.unwrap_err().to_string();
        assert!(
            said.starts_with("failed to copy /proc/self/fdinfo/"),
            "{said}"
        );
    }
}
