//! A folder of one person, in memory where there is such a place, gone when it is dropped: also while a panic unwinds.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::cli::error::CliError;
use crate::cli::output::Screen;
use crate::cli::worktree::refuse_exposed;

/// The folder of Linux that is in memory.
const SHARED_MEMORY: &str = "/dev/shm";

/// A folder that nobody else reads.
pub struct PrivateFolder {
    path: PathBuf,
}

impl PrivateFolder {
    /// Makes one. Where there is no place in memory it says so.
    ///
    /// # Errors
    /// When there is no place for it.
    pub fn make(screen: &mut Screen) -> Result<Self, CliError> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let memory = [Some(PathBuf::from(SHARED_MEMORY)), runtime];
        let places = memory.into_iter().flatten();
        if let Some(folder) = places
            .filter(|place| place.is_absolute())
            .find_map(|place| Self::below(&place).ok())
        {
            return Ok(folder);
        }
        let place = std::env::temp_dir();
        let shown = place.display();
        let folder = Self::below(&place).map_err(|error| {
            CliError::undone(format!("failed to make a folder in {shown}")).because(error)
        })?;
        refuse_exposed(
            &folder.file("x"),
            "or set TMPDIR to a folder outside of the work tree",
        )?;
        screen.progress(&format!(
            "there is no folder in memory: the plain text is in {shown} while you edit it, and a disk may keep traces of it"
        ));
        Ok(folder)
    }

    fn below(place: &Path) -> io::Result<Self> {
        let name = format!("workstead-{:016x}", rand::random::<u64>());
        let path = place.join(name);
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path })
    }

    /// The path of a file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        // With what an editor left there: backups, swap files.
        if let Err(error) = fs::remove_dir_all(&self.path) {
            let shown = self.path.display();
            tracing::warn!("failed to remove {shown}, which holds plain text: remove it ({error})");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_folder_is_for_one_person_and_goes_with_all_that_is_in_it() {
        let place = tempfile::tempdir().unwrap();
        let entries = || fs::read_dir(place.path()).unwrap().count();
        let folder = PrivateFolder::below(place.path()).unwrap();
        let mode = fs::metadata(&folder.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        fs::write(folder.file(".vars.yaml.swp"), "x").unwrap();
        drop(folder);
        assert_eq!(entries(), 0);
        let unwound = std::panic::catch_unwind(|| {
            let folder = PrivateFolder::below(place.path()).unwrap();
            fs::write(folder.file("vars.yaml"), "x").unwrap();
            panic!("while it is there");
        });
        assert!(unwound.is_err());
        assert_eq!(entries(), 0);
    }
}
