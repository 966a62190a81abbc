//! The cached bare repository: one owner at a time, and no pity for it when it is broken.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use git2::Repository;

use super::FetchError;

/// A cache with more packs than this is made anew: each fetch adds one, and nobody repacks.
const MAX_PACKS: usize = 100;

fn failed(what: &str, path: &Path, error: &io::Error) -> FetchError {
    FetchError::Repository {
        detail: format!("failed to {what} {}: {error}", path.display()),
    }
}

fn beside(repository: &Path, suffix: &str) -> PathBuf {
    let mut name = repository.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Keeps other processes away: a worker whose controller was killed may still run for a moment.
pub(super) fn lock(repository: &Path) -> Result<File, FetchError> {
    let path = beside(repository, ".lock");
    if let Some(parent) = repository.parent() {
        fs::create_dir_all(parent).map_err(|error| failed("create", parent, &error))?;
    }
    let file = File::create(&path).map_err(|error| failed("create", &path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(FetchError::Remote(
            "another fetch of this repository is still running".to_owned(),
        )),
        Err(TryLockError::Error(error)) => Err(failed("lock", &path, &error)),
    }
}

/// Opens the cache, or makes it; what a killed process left in it is cleared away first.
pub(super) fn open(path: &Path) -> Result<Repository, FetchError> {
    remove(&beside(path, ".new"))?;
    if path.join("HEAD").is_file() {
        clear_leftovers(path)?;
        if let Ok(repository) = Repository::open_bare(path)
            && count_packs(path) <= MAX_PACKS
        {
            return Ok(repository);
        }
    }
    remove(path)?;
    Repository::init_bare(path).map_err(|error| FetchError::repository(&error))
}

/// A repository that is made beside a broken one.
pub(super) struct Fresh {
    repository: Repository,
    made: PathBuf,
    place: PathBuf,
}

pub(super) fn begin_again(place: &Path) -> Result<Fresh, FetchError> {
    let made = beside(place, ".new");
    remove(&made)?;
    let repository =
        Repository::init_bare(&made).map_err(|error| FetchError::repository(&error))?;
    Ok(Fresh {
        repository,
        made,
        place: place.to_owned(),
    })
}

impl Fresh {
    pub(super) const fn repository(&self) -> &Repository {
        &self.repository
    }

    pub(super) fn take_the_place(self) -> Result<(), FetchError> {
        drop(self.repository);
        remove(&self.place)?;
        fs::rename(&self.made, &self.place).map_err(|error| failed("rename", &self.made, &error))
    }
}

fn remove(path: &Path) -> Result<(), FetchError> {
    match fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("remove", path, &error)),
    }
}

/// Lock files and half packs: their writer is dead, since we hold the lock.
fn clear_leftovers(path: &Path) -> Result<(), FetchError> {
    for folder in ["", "refs", "refs/workstead", "objects/pack"] {
        let folder = path.join(folder);
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.ends_with(".lock") || name.starts_with("pack_git2_") || name.starts_with("tmp_")
            {
                let leftover = entry.path();
                fs::remove_file(&leftover).map_err(|error| failed("remove", &leftover, &error))?;
            }
        }
    }
    Ok(())
}

fn count_packs(path: &Path) -> usize {
    fs::read_dir(path.join("objects/pack")).map_or(0, |entries| {
        entries
            .flatten()
            .filter(|entry| entry.path().extension().is_some_and(|e| e == "pack"))
            .count()
    })
}
