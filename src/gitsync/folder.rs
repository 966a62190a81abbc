//! Reads a plain folder as a commit is read, for `workstead validate`: same rules, same limits, same errors.

use std::collections::HashSet;
use std::fs::{self, FileType};
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use crate::gitsync::rules::{ObjectRules, TreeRules};
use crate::gitsync::snapshot;
use crate::gitsync::tree::{Collector, Kind, Tree, TreeTooLarge, Visit};
use crate::model::sync::{Code, Snapshot, SourceError};

/// Stands for standard input where a path is named.
pub const STANDARD_INPUT: &str = "-";

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
    /// It can't hold files, nor text.
    #[error("{0} is no file, folder or pipe")]
    Unreadable(PathBuf),
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
    let tree = Folders::default().read(folder, tree_rules)?;
    Ok(snapshot::build(tree, snapshot::Source::default(), rules))
}

/// Reads what is named, no file twice: `a` and `a/x.yaml` hold one `x.yaml`.
#[derive(Debug, Default)]
pub struct Folders {
    seen: HashSet<PathBuf>,
}

impl Folders {
    /// Reads the files of a folder, one file, a pipe, or standard input.
    ///
    /// # Errors
    /// When it can't be read or is too large. A file inside a folder that can't be read is an error of the tree.
    pub fn read(&mut self, named: &Path, rules: &TreeRules) -> Result<Tree, FolderError> {
        let mut collector = Collector::new(rules).map_err(FolderError::Rules)?;
        if named == Path::new(STANDARD_INPUT) {
            read_stream(&mut collector, named, io::stdin().lock())?;
            return Ok(collector.finish());
        }
        let metadata = fs::metadata(named).map_err(|source| read_error(named, source))?;
        let kind = metadata.file_type();
        if kind.is_file() {
            let name = named.file_name().unwrap_or_default().to_string_lossy();
            if self.is_new(named) {
                read_file(&mut collector, named, &name)?;
            }
        } else if kind.is_fifo() {
            let pipe = fs::File::open(named).map_err(|source| read_error(named, source))?;
            read_stream(&mut collector, named, pipe)?;
        } else if kind.is_dir() {
            let start = named.join(&rules.path);
            if start.is_dir() {
                self.walk(&mut collector, &start, &rules.path)?;
            } else {
                collector.path_missing(&rules.path, "is not there, or is no folder");
            }
        } else {
            return Err(FolderError::Unreadable(named.to_owned()));
        }
        Ok(collector.finish())
    }

    fn walk(
        &mut self,
        collector: &mut Collector,
        start: &Path,
        prefix: &str,
    ) -> Result<(), FolderError> {
        let mut folders = vec![(start.to_path_buf(), prefix.to_owned(), 0)];
        while let Some((folder, prefix, depth)) = folders.pop() {
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(source) if depth == 0 => return Err(read_error(&folder, source)),
                Err(source) => {
                    collector.unreadable(&prefix, &source);
                    continue;
                }
            };
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
                    Visit::Read if !self.is_new(&entry.path()) => {}
                    Visit::Read => match read_file(collector, &entry.path(), &path) {
                        Err(FolderError::Read { source, .. }) => {
                            collector.unreadable(&path, &source);
                        }
                        read => read?,
                    },
                }
            }
        }
        Ok(())
    }

    /// Whether a file was not read before, under whatever name.
    fn is_new(&mut self, file: &Path) -> bool {
        // What has no real path can't be read either, which is said when it is tried.
        fs::canonicalize(file).map_or(true, |real| self.seen.insert(real))
    }
}

fn kind_of(file_type: &FileType) -> Kind {
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

/// Reads a stream as one file of the name under which it was given.
fn read_stream(
    collector: &mut Collector,
    named: &Path,
    stream: impl Read,
) -> Result<(), FolderError> {
    let mut content = Vec::new();
    // One byte more than is accepted: so it is told apart from a stream that just fits.
    let most = collector.most_bytes().saturating_add(1);
    stream
        .take(most)
        .read_to_end(&mut content)
        .map_err(|source| read_error(named, source))?;
    let path = named.display().to_string();
    let size = u64::try_from(content.len()).unwrap_or(u64::MAX);
    if collector.accept_size(&path, size)? {
        collector.add(&path, content);
    }
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
            Self::Read { .. } | Self::Unreadable(_) => Code::PathNotFound,
            Self::Rules(error) => error.code,
            Self::TooLarge(_) => Code::LimitExceeded,
        }
    }
}
