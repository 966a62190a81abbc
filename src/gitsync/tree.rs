//! What was read of a tree, and the rules about entries that hold wherever it was read from: a commit or a folder.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::gitsync::rules::{Filter, TreeLimits, TreeRules};
use crate::model::sync::{Code, SourceError, SourceFile};

/// What the first line of a Git LFS pointer begins with.
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

/// The files of a tree.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tree {
    /// The folder that was asked for is not there.
    pub path_missing: bool,
    /// What was read, by path.
    pub files: Vec<SourceFile>,
    /// Entries that were refused.
    pub errors: Vec<SourceError>,
    /// Entries that may hide objects: while there are any, nothing is deleted.
    pub unattributable: BTreeSet<String>,
}

/// A tree that is too large to be read. Nothing of it is used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("the tree exceeds limit {limit}: {detail}")]
pub struct TreeTooLarge {
    /// Name of the limit.
    pub limit: String,
    /// What was found, and what to do.
    pub detail: String,
}

/// What an entry of a tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Folder,
    File,
    Symlink,
    Submodule,
    Other,
}

/// What to do with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visit {
    Skip,
    Enter,
    Read,
}

/// Collects a tree within its limits.
pub(super) struct Collector {
    filter: Filter,
    limits: TreeLimits,
    entries: usize,
    bytes: u64,
    pub(super) tree: Tree,
}

impl Collector {
    pub(super) fn new(rules: &TreeRules) -> Result<Self, SourceError> {
        Ok(Self {
            filter: rules.filter()?,
            limits: rules.limits,
            entries: 0,
            bytes: 0,
            tree: Tree::default(),
        })
    }

    /// Decides about an entry; `path` is from the root, `depth` counts its folders.
    pub(super) fn visit(
        &mut self,
        path: &str,
        kind: Kind,
        depth: usize,
    ) -> Result<Visit, TreeTooLarge> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(too_large(
                "entries",
                format!(
                    "more than {} files and folders: set spec.path to the folder with the objects",
                    self.limits.entries
                ),
            ));
        }
        let name = path.rsplit('/').next().unwrap_or(path);
        if is_unsafe_name(name) {
            self.refuse(path, "has a name that leads out of the tree");
            return Ok(Visit::Skip);
        }
        if self.filter.ignores(path, kind == Kind::Folder) {
            return Ok(Visit::Skip);
        }
        match kind {
            Kind::Folder if depth > self.limits.depth => Err(too_large(
                "depth",
                format!("'{path}' is nested more than {} deep", self.limits.depth),
            )),
            Kind::Folder => Ok(Visit::Enter),
            Kind::File if is_yaml(name) => Ok(Visit::Read),
            Kind::File => Ok(Visit::Skip),
            Kind::Symlink if is_yaml(name) || !name.contains('.') => {
                self.refuse(path, "is a symlink, and symlinks are not followed: put the file itself here, or name it in spec.ignore");
                Ok(Visit::Skip)
            }
            Kind::Symlink => Ok(Visit::Skip),
            Kind::Submodule => {
                self.refuse(path, "is a submodule, and submodules are not fetched: put the files here, or name it in spec.ignore");
                Ok(Visit::Skip)
            }
            Kind::Other => {
                self.refuse(path, "is no plain file");
                Ok(Visit::Skip)
            }
        }
    }

    /// Bytes that one file may have.
    pub(super) const fn most_bytes(&self) -> u64 {
        self.limits.file_bytes
    }

    /// Notes a file or folder that this process can't read.
    pub(super) fn unreadable(&mut self, path: &str, why: &std::io::Error) {
        self.refuse(
            path,
            &format!("can't be read ({why}): mend its rights, or name it in --ignore"),
        );
    }

    /// Whether a file of this size is read; asked before its content is loaded.
    pub(super) fn accept_size(&mut self, path: &str, size: u64) -> Result<bool, TreeTooLarge> {
        if size > self.limits.file_bytes {
            let most = self.limits.file_bytes;
            self.refuse(path, &format!("has {size} bytes and exceeds limit fileBytes: at most {most} are read, split it"));
            return Ok(false);
        }
        self.bytes = self.bytes.saturating_add(size);
        if self.tree.files.len() >= self.limits.files {
            return Err(too_large(
                "files",
                format!(
                    "more than {} YAML files: set spec.path or spec.ignore, or split the repository",
                    self.limits.files
                ),
            ));
        }
        if self.bytes > self.limits.total_bytes {
            return Err(too_large(
                "treeBytes",
                format!(
                    "its YAML files have more than {} bytes: set spec.path or spec.ignore, or split the repository",
                    self.limits.total_bytes
                ),
            ));
        }
        Ok(true)
    }

    pub(super) fn add(&mut self, path: &str, content: Vec<u8>) {
        if content.starts_with(LFS_POINTER) {
            self.refuse(
                path,
                "is a Git LFS pointer, and LFS is not fetched: commit the file itself",
            );
            return;
        }
        self.tree.files.push(SourceFile {
            path: path.to_owned(),
            content,
        });
    }

    pub(super) fn refuse(&mut self, path: &str, why: &str) {
        self.tree.unattributable.insert(path.to_owned());
        self.tree
            .errors
            .push(SourceError::new(Code::UnsafeEntry, why).in_file(path));
    }

    /// Notes that the folder is not there.
    pub(super) fn path_missing(&mut self, path: &str, why: &str) {
        self.tree.path_missing = true;
        self.tree.errors.push(SourceError::new(
            Code::PathNotFound,
            format!(
                "spec.path '{path}' {why}: nothing is applied and nothing deleted until it is there"
            ),
        ));
    }

    pub(super) fn finish(mut self) -> Tree {
        self.tree.files.sort_by(|a, b| a.path.cmp(&b.path));
        SourceError::sort(&mut self.tree.errors);
        self.tree
    }
}

fn too_large(limit: &str, detail: String) -> TreeTooLarge {
    TreeTooLarge {
        limit: limit.to_owned(),
        detail,
    }
}

fn is_yaml(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    lower.ends_with(".yaml") || lower.ends_with(".yml")
}

/// Names that no honest tree has: those that lead elsewhere, and those that would break our messages.
fn is_unsafe_name(name: &str) -> bool {
    matches!(name, "" | "." | "..")
        || name.eq_ignore_ascii_case(".git")
        || name.contains(['/', '\\', '\0'])
        || name.chars().any(char::is_control)
}
