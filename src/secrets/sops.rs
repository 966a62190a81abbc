//! SOPS documents (`format: Sops`), as getsops/sops writes them: only opened here, and only where everything is sealed.
//!
//! The data key is in one age file for each recipient. Each leaf is AES-256-GCM with the path of its keys as additional
//! data; a MAC over all leaves in the order of the document is sealed in the same way. Empty values and nulls are neither
//! sealed nor counted by SOPS, and items of a list can change places unseen, so both are refused.

mod leaf;
mod metadata;

use sha2::{Digest as _, Sha512};
use zeroize::Zeroizing;

use self::leaf::Leaf;
use self::metadata::Metadata;
use crate::secrets::document::Document;
use crate::secrets::document::read::wipe;
use crate::secrets::error::SetError;
use crate::secrets::identity::{Fingerprint, Identities};
use crate::secrets::open::LONGEST_SEALED;
use crate::secrets::set::OpenedSet;
use crate::yaml::{self, Entry, Limits, Node, Place, Value};

const LIMITS: Limits = Limits {
    documents: 1,
    nodes: 10_000,
    text: 2 * LONGEST_SEALED,
    depth: 8,
};

/// What SOPS begins its hash with where plaintext leaves are not counted (`MACOnlyEncryptedInitialization`).
const ONLY_SEALED: [u8; 32] = [
    0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34, 0xf3, 0xd1, 0x47, 0xbe, 0x0b,
    0x0b, 0x97, 0x5b, 0x3b, 0xf4, 0x4f, 0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69,
];

/// The key that all leaves are sealed with.
type DataKey = Zeroizing<[u8; 32]>;

/// Opens a SOPS document.
///
/// # Errors
/// When it is none that may be used.
pub(super) fn open_sops(
    sealed: &str,
    identities: &Identities,
    last: Option<&Fingerprint>,
) -> Result<OpenedSet, SetError> {
    let root = parse(sealed)?;
    let metadata = Metadata::of(&root)?;
    let (key, by) = metadata.data_key(identities, last)?;
    let mut tree = Tree {
        key: &key,
        hash: Sha512::new(),
    };
    if metadata.only_sealed {
        tree.hash.update(ONLY_SEALED);
    }
    let mut opened = tree.open(&root)?;
    let document = match is_whole(&metadata, tree) {
        // Only what is whole is looked at.
        true => Document::of(&opened),
        false => Err(damaged("its MAC")),
    };
    wipe(&mut opened);
    let document = document?;
    Ok(OpenedSet { document, by })
}

fn is_whole(metadata: &Metadata<'_>, tree: Tree<'_>) -> bool {
    let written =
        Leaf::parse(metadata.mac).and_then(|mac| mac.open(tree.key, metadata.last_modified));
    let own = hex::encode_upper(tree.hash.finalize());
    written.is_some_and(|written| *written == own.as_bytes())
}

/// Looks at a SOPS document as far as anybody can who holds no identity.
///
/// # Errors
/// When [`open_sops`] would refuse it whoever holds what.
pub(super) fn inspect_sops(sealed: &str) -> Result<(), SetError> {
    let root = parse(sealed)?;
    let metadata = Metadata::of(&root)?;
    metadata.inspect()?;
    Leaf::parse(metadata.mac).ok_or(damaged("its MAC"))?;
    let Value::Mapping(entries) = &root.value else {
        return Err(metadata::none());
    };
    let mut own = entries.iter().filter(|entry| entry.key != metadata::KEY);
    own.try_for_each(inspect_entry)
}

fn inspect_entry(entry: &Entry) -> Result<(), SetError> {
    match &entry.node.value {
        Value::Mapping(entries) if !entries.is_empty() => {
            entries.iter().try_for_each(inspect_entry)
        }
        Value::Text(text) if Leaf::parse(text).is_some() => Ok(()),
        _ => Err(open_value(entry.place)),
    }
}

fn parse(sealed: &str) -> Result<Node, SetError> {
    if sealed.len() > LONGEST_SEALED {
        return Err(SetError::LimitExceeded {
            what: "bytes of sealed text",
            found: sealed.len(),
            most: LONGEST_SEALED,
        });
    }
    let mut documents = yaml::read(sealed.as_bytes(), LIMITS).into_iter();
    match (documents.next(), documents.next()) {
        (Some(Ok(document)), None) => Ok(document.root),
        (Some(Err(error)), _) if error.limit.is_none() => Err(damaged("its YAML")),
        (None, _) => Err(metadata::none()),
        _ => Err(unsupported(
            "a text of several documents, or of very many values",
            "seal one document for each set",
        )),
    }
}

/// What is opened of a tree, and what it amounts to.
struct Tree<'a> {
    key: &'a DataKey,
    hash: Sha512,
}

impl Tree<'_> {
    fn open(&mut self, root: &Node) -> Result<Node, SetError> {
        let Value::Mapping(entries) = &root.value else {
            return Err(metadata::none());
        };
        let own = entries.iter().filter(|entry| entry.key != metadata::KEY);
        let entries = own
            .map(|entry| self.entry(entry, ""))
            .collect::<Result<_, _>>()?;
        Ok(Node {
            place: root.place,
            value: Value::Mapping(entries),
        })
    }

    fn entry(&mut self, entry: &Entry, above: &str) -> Result<Entry, SetError> {
        let path = format!("{above}{}:", entry.key);
        let value = match &entry.node.value {
            Value::Mapping(entries) if !entries.is_empty() => {
                let entries = entries.iter().map(|entry| self.entry(entry, &path));
                Value::Mapping(entries.collect::<Result<_, _>>()?)
            }
            Value::Text(text) => self
                .leaf(text, &path)
                .ok_or_else(|| match Leaf::parse(text) {
                    Some(_) => damaged("one of its values"),
                    None => open_value(entry.place),
                })?,
            _ => return Err(open_value(entry.place)),
        };
        Ok(Entry {
            key: entry.key.clone(),
            place: entry.place,
            node: Node {
                place: entry.node.place,
                value,
            },
        })
    }

    fn leaf(&mut self, text: &str, path: &str) -> Option<Value> {
        let leaf = Leaf::parse(text)?;
        let plaintext = leaf.open(self.key, path)?;
        self.hash.update(&*plaintext);
        leaf.value(plaintext)
    }
}

/// A value that anybody can read, or add.
fn open_value(place: Place) -> SetError {
    SetError::InvalidContent {
        place,
        key: None,
        problem: "this value is not sealed, is empty or is a list, which SOPS does not protect: seal every value, or use format: Age",
    }
}

fn damaged(part: &'static str) -> SetError {
    SetError::IntegrityFailed { part }
}

fn unsupported(what: &'static str, instead: &'static str) -> SetError {
    SetError::UnsupportedFormat { what, instead }
}

#[cfg(test)]
mod tests;
