//! Reads a plain folder as a commit is read, for `workstead validate`: same rules, same limits, same errors.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::gitsync::rules::{ObjectRules, TreeRules};
use crate::gitsync::snapshot;
use crate::gitsync::tree::{Collector, Kind, Tree, TreeTooLarge, Visit};
use crate::model::sync::{Code, Snapshot, SourceError};

/// Why a folder can't be read.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A file or folder can't be read.
    #[error("failed to read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The rules can't be used.
    #[error("{0}")]
    Rules(SourceError),
    /// It is too large.
    #[error(transparent)]
    TooLarge(#[from] TreeTooLarge),
}

/// Checks a folder, or one file, as a GitSync would: every error, with its place.
///
/// # Errors
/// When the folder can't be read. What is wrong inside the files is in the snapshot.
pub fn validate_dir(
    folder: &Path,
    tree_rules: &TreeRules,
    rules: &ObjectRules,
) -> Result<Snapshot, FolderError> {
    let tree = read_folder(folder, tree_rules)?;
    Ok(snapshot::build(tree, snapshot::Source::default(), rules))
}

/// Reads the files of a folder, or one file.
///
/// # Errors
/// When the folder can't be read or is too large.
pub fn read_folder(folder: &Path, rules: &TreeRules) -> Result<Tree, FolderError> {
    let mut collector = Collector::new(rules).map_err(FolderError::Rules)?;
    let metadata = fs::metadata(folder).map_err(|source| read_error(folder, source))?;
    if metadata.is_file() {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        read_file(&mut collector, folder, &name)?;
        return Ok(collector.finish());
    }
    let start = folder.join(&rules.path);
    if !start.is_dir() {
        collector.path_missing(&rules.path, "is not there, or is no folder");
        return Ok(collector.finish());
    }
    walk(&mut collector, &start, &rules.path)?;
    Ok(collector.finish())
}

fn walk(collector: &mut Collector, start: &Path, prefix: &str) -> Result<(), FolderError> {
    let mut folders = vec![(start.to_path_buf(), prefix.to_owned(), 0)];
    while let Some((folder, prefix, depth)) = folders.pop() {
        let entries = fs::read_dir(&folder).map_err(|source| read_error(&folder, source))?;
        for entry in entries {
            let entry = entry.map_err(|source| read_error(&folder, source))?;
            let name = entry.file_name();
            // Git's own folder is no part of the tree; in a commit the name is refused.
            if name == ".git" {
                continue;
            }
            let name = name.to_string_lossy();
            let path = if prefix.is_empty() {
                name.into_owned()
            } else {
                format!("{prefix}/{name}")
            };
            let kind = kind_of(
                &entry
                    .file_type()
                    .map_err(|source| read_error(&entry.path(), source))?,
            );
            match collector.visit(&path, kind, depth + 1)? {
                Visit::Skip => {}
                Visit::Enter => folders.push((entry.path(), path, depth + 1)),
                Visit::Read => read_file(collector, &entry.path(), &path)?,
            }
        }
    }
    Ok(())
}

fn kind_of(file_type: &fs::FileType) -> Kind {
    if file_type.is_dir() {
        Kind::Folder
    } else if file_type.is_file() {
        Kind::File
    } else if file_type.is_symlink() {
        Kind::Symlink
    } else {
        Kind::Other
    }
}

fn read_file(collector: &mut Collector, file: &Path, path: &str) -> Result<(), FolderError> {
    let handle = fs::File::open(file).map_err(|source| read_error(file, source))?;
    let size = handle
        .metadata()
        .map_err(|source| read_error(file, source))?
        .len();
    if !collector.accept_size(path, size)? {
        return Ok(());
    }
    let mut content = Vec::new();
    // Not more than was looked at: it may be growing.
    handle
        .take(size)
        .read_to_end(&mut content)
        .map_err(|source| read_error(file, source))?;
    collector.add(path, content);
    Ok(())
}

fn read_error(path: &Path, source: io::Error) -> FolderError {
    FolderError::Read {
        path: path.to_owned(),
        source,
    }
}

impl FolderError {
    /// The code that a GitSync would give it.
    pub const fn code(&self) -> Code {
        match self {
            Self::Read { .. } => Code::PathNotFound,
            Self::Rules(error) => error.code,
            Self::TooLarge(_) => Code::LimitExceeded,
        }
    }
}
