//! For tests: trees of objects that no honest Git would write, as a hostile server can put them into a pack. Nothing
//! touches the disk.

use std::sync::atomic::AtomicBool;

use git2::{ObjectType, Odb, Oid, Repository};

use super::remote::Wanted;
use super::{FetchError, read};
use crate::api::gitsync::GitReference;
use crate::gitsync::rules::TreeRules;
use crate::gitsync::tree::Tree;

/// An object of a repository.
#[derive(Clone, Debug)]
pub enum RawObject {
    /// A file's content.
    Blob(Vec<u8>),
    /// A folder, written as Git writes it, whatever its entries say.
    Folder(Vec<RawEntry>),
    /// A folder, as these very bytes.
    Bytes(Vec<u8>),
}

/// An entry of a folder.
#[derive(Clone, Debug)]
pub struct RawEntry {
    /// Its mode, as octal digits.
    pub mode: Vec<u8>,
    /// Its name.
    pub name: Vec<u8>,
    /// Which of the objects before; otherwise one that is not there.
    pub object: Option<usize>,
}

/// Reads a commit whose root is the last object, by the rules of a fetch.
///
/// # Errors
/// As a fetch does.
pub fn read_objects(objects: &[RawObject], rules: &TreeRules) -> Result<Tree, FetchError> {
    let broken = |error: git2::Error| FetchError::repository(&error);
    let odb = Odb::new().map_err(broken)?;
    odb.add_new_mempack_backend(1).map_err(broken)?;
    let mut ids: Vec<Oid> = Vec::new();
    for object in objects {
        let id = match object {
            RawObject::Blob(content) => odb.write(ObjectType::Blob, content),
            RawObject::Folder(entries) => odb.write(ObjectType::Tree, &folder(entries, &ids)),
            RawObject::Bytes(bytes) => odb.write(ObjectType::Tree, bytes),
        };
        ids.push(id.map_err(broken)?);
    }
    let root = ids.last().copied().unwrap_or_else(missing);
    let commit = format!("tree {root}\nauthor a <a> 0 +0000\ncommitter a <a> 0 +0000\n\nx\n");
    let commit = odb
        .write(ObjectType::Commit, commit.as_bytes())
        .map_err(broken)?;
    let repository = Repository::from_odb(odb).map_err(broken)?;
    read::read_tree(&repository, commit, rules, &AtomicBool::new(false))
}

/// What would be asked of a remote.
///
/// # Errors
/// When no remote is asked for it.
pub fn refspecs(reference: &GitReference) -> Result<Vec<String>, FetchError> {
    Wanted::of(reference).map(|wanted| wanted.refspecs())
}

fn folder(entries: &[RawEntry], ids: &[Oid]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        let id = entry.object.and_then(|index| ids.get(index).copied());
        bytes.extend_from_slice(&entry.mode);
        bytes.push(b' ');
        bytes.extend_from_slice(&entry.name);
        bytes.push(0);
        bytes.extend_from_slice(id.unwrap_or_else(missing).as_bytes());
    }
    bytes
}

/// The id of nothing.
fn missing() -> Oid {
    Oid::ZERO_SHA1
}
