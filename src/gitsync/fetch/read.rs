//! Reads a tree from the object database. Nothing is checked out: no symlink, hook or `.git` trick has a place to act.

use std::sync::atomic::{AtomicBool, Ordering};

use git2::{ObjectType, Odb, Oid, Repository};

use super::FetchError;
use crate::gitsync::rules::TreeRules;
use crate::gitsync::tree::{Collector, Kind, Tree, Visit};

/// Modes of entries, as trees hold them.
const MODE_SYMLINK: i32 = 0o120_000;
const MODE_SUBMODULE: i32 = 0o160_000;

/// Reads the files of a commit that the rules let through.
pub(super) fn read_tree(
    repository: &Repository,
    commit: Oid,
    rules: &TreeRules,
    expired: &AtomicBool,
) -> Result<Tree, FetchError> {
    let broken = |error: git2::Error| FetchError::repository(&error);
    let mut collector =
        Collector::new(rules).map_err(|error| FetchError::Request(error.message))?;
    let root = repository.find_commit(commit).map_err(broken)?.tree_id();
    let Some(start) = find_folder(repository, root, &rules.path, &mut collector)? else {
        return Ok(collector.finish());
    };
    let odb = repository.odb().map_err(broken)?;
    let mut folders = vec![(start, rules.path.clone(), 0)];
    while let Some((id, prefix, depth)) = folders.pop() {
        if expired.load(Ordering::Relaxed) {
            return Err(FetchError::Remote(
                "time was up while reading the tree".to_owned(),
            ));
        }
        let tree = repository.find_tree(id).map_err(broken)?;
        for entry in &tree {
            let name = String::from_utf8_lossy(entry.name_bytes());
            let path = match prefix.is_empty() {
                true => name.into_owned(),
                false => format!("{prefix}/{name}"),
            };
            let kind = kind_of(entry.kind(), entry.filemode_raw());
            match collector.visit(&path, kind, depth + 1)? {
                Visit::Skip => {}
                Visit::Enter => folders.push((entry.id(), path, depth + 1)),
                Visit::Read => read_blob(&odb, entry.id(), &path, &mut collector)?,
            }
        }
    }
    Ok(collector.finish())
}

fn kind_of(object: Option<ObjectType>, mode: i32) -> Kind {
    match (object, mode) {
        (_, MODE_SYMLINK) => Kind::Symlink,
        (_, MODE_SUBMODULE) | (Some(ObjectType::Commit), _) => Kind::Submodule,
        (Some(ObjectType::Tree), _) => Kind::Folder,
        (Some(ObjectType::Blob), _) => Kind::File,
        _ => Kind::Other,
    }
}

/// The size comes first, from the object's header: a blob may inflate to more than memory holds.
fn read_blob(
    odb: &Odb<'_>,
    id: Oid,
    path: &str,
    collector: &mut Collector,
) -> Result<(), FetchError> {
    let broken = |error: git2::Error| FetchError::repository(&error);
    let (size, kind) = odb.read_header(id).map_err(broken)?;
    if kind != ObjectType::Blob {
        collector.refuse(path, "is no file, whatever its entry says");
        return Ok(());
    }
    if collector.accept_size(path, size as u64)? {
        let object = odb.read(id).map_err(broken)?;
        collector.add(path, object.data().to_vec());
    }
    Ok(())
}

/// The tree of the folder that the rules name. A part that is a symlink is not followed.
fn find_folder(
    repository: &Repository,
    root: Oid,
    path: &str,
    collector: &mut Collector,
) -> Result<Option<Oid>, FetchError> {
    let broken = |error: git2::Error| FetchError::repository(&error);
    let mut id = root;
    for part in path.split('/').filter(|part| !part.is_empty()) {
        let tree = repository.find_tree(id).map_err(broken)?;
        let entry = tree.get_name(part);
        match entry.map(|entry| (kind_of(entry.kind(), entry.filemode_raw()), entry.id())) {
            Some((Kind::Folder, inner)) => id = inner,
            Some((Kind::Symlink, _)) => {
                collector.path_missing(
                    path,
                    "leads through a symlink, and symlinks are not followed",
                );
                return Ok(None);
            }
            Some(_) => {
                collector.path_missing(path, "is no folder in this commit");
                return Ok(None);
            }
            None => {
                collector.path_missing(path, "is not in this commit");
                return Ok(None);
            }
        }
    }
    Ok(Some(id))
}
