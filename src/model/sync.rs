//! What GitSync's steps hand to each other: errors with stable codes, the snapshot of a commit, the inventory, the plan.
//!
//! Pure values. `gitsync` makes snapshots and plans, `controllers/gitsync` carries them out, `cli` shows them.

mod code;
mod inventory;
mod plan;
mod warning;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use crate::api::gitsync::{SyncError, SyncedKind};

pub use code::{Code, Retry};
pub use inventory::{Inventory, InventoryEntry, InventoryError, Shards, inventory_name};
pub use plan::{
    Block, BlockReason, Change, Guard, Kept, KeptReason, Live, Manager, Plan, PlannedApply,
    PlannedDelete, set_digest,
};
pub use warning::SourceWarning;

impl SyncedKind {
    /// Every kind, in the order of applying: what others need comes first.
    pub const IN_ORDER: [Self; 4] = [
        Self::WorkspaceClass,
        Self::WorkspaceVariables,
        Self::Workspace,
        Self::GitSync,
    ];

    /// `kind` as it is written in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Workspace => "Workspace",
            Self::WorkspaceClass => "WorkspaceClass",
            Self::WorkspaceVariables => "WorkspaceVariables",
            Self::GitSync => "GitSync",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::IN_ORDER.into_iter().find(|kind| kind.name() == name)
    }

    /// The resource's name in URLs of the API.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Workspace => "workspaces",
            Self::WorkspaceClass => "workspaceclasses",
            Self::WorkspaceVariables => "workspacevariables",
            Self::GitSync => "gitsyncs",
        }
    }

    /// Whether its objects live in a namespace.
    pub const fn is_namespaced(self) -> bool {
        !matches!(self, Self::WorkspaceClass)
    }

    /// Whether a delete may take somebody's work along: counted by `prune.maxDeletes`.
    pub const fn is_stateful(self) -> bool {
        matches!(self, Self::Workspace)
    }

    /// Place in the order of applying; pruning goes the other way.
    pub const fn order(self) -> u8 {
        match self {
            Self::WorkspaceClass => 0,
            Self::WorkspaceVariables => 1,
            Self::Workspace => 2,
            Self::GitSync => 3,
        }
    }
}

/// Which object: kind, namespace, name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectId {
    /// Its kind.
    pub kind: SyncedKind,
    /// Its namespace; none for kinds of the whole cluster.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl ObjectId {
    /// Ids sort in the order of applying, then by namespace and name.
    fn rank(&self) -> (u8, Option<&str>, &str) {
        (self.kind.order(), self.namespace.as_deref(), &self.name)
    }
}

impl PartialOrd for ObjectId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ObjectId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind.name(), self.name),
            None => write!(f, "{} {}", self.kind.name(), self.name),
        }
    }
}

/// Something wrong with a file or an object, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceError {
    /// Which kind of error.
    pub code: Code,
    /// The file, from the root of the repository.
    pub file: Option<String>,
    /// Line, from 1.
    pub line: Option<u32>,
    /// Column, from 1.
    pub column: Option<u32>,
    /// The object, as far as it is known.
    pub object: Option<String>,
    /// What is wrong, and what to do.
    pub message: String,
}

impl SourceError {
    /// An error that is not of one file.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            file: None,
            line: None,
            column: None,
            object: None,
            message: message.into(),
        }
    }

    /// In this file.
    #[must_use]
    pub fn in_file(mut self, file: impl Into<String>) -> Self {
        self.file = Some(file.into());
        self
    }

    /// At this place of the file; both from 1.
    #[must_use]
    pub fn at(mut self, place: Option<(u32, u32)>) -> Self {
        if let Some((line, column)) = place {
            self.line = Some(line);
            self.column = Some(column);
        }
        self
    }

    /// Of this object.
    #[must_use]
    pub fn of(mut self, object: impl fmt::Display) -> Self {
        self.object = Some(object.to_string());
        self
    }

    /// Errors are reported by file, then by place; those of no file come first.
    pub fn sort(errors: &mut [Self]) {
        errors.sort_by(|a, b| {
            (&a.file, a.line, a.column, a.code, &a.object, &a.message)
                .cmp(&(&b.file, b.line, b.column, b.code, &b.object, &b.message))
        });
    }
}

impl fmt::Display for SourceError {
    /// `file:line:column: GS211 SchemaInvalid: Workspace team-a/x: message`, as compilers write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
            if let Some(line) = self.line {
                write!(f, "{line}:{}:", self.column.unwrap_or(1))?;
            }
            f.write_str(" ")?;
        }
        write!(f, "{} {}: ", self.code, self.code.reason())?;
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl From<&SourceError> for SyncError {
    fn from(error: &SourceError) -> Self {
        Self {
            code: error.code.to_string(),
            file: error.file.clone(),
            line: error.line,
            column: error.column,
            object: error.object.clone(),
            message: error.message.clone(),
        }
    }
}

/// A file that was read from the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Its path, from the root of the repository, with `/`.
    pub path: String,
    /// What is in it.
    pub content: Vec<u8>,
}

/// An object as a file of the repository wants it.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceObject {
    /// Which object.
    pub id: ObjectId,
    /// The file, from the root of the repository.
    pub file: String,
    /// Line on which the document begins.
    pub line: u32,
    /// What is to be applied: as written, with the namespace filled in and without `status` and what only a server sets.
    pub value: Value,
    /// Digest of `value`; the order of its keys does not matter.
    pub digest: String,
}

/// What one commit says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// The commit, as 40 hexadecimal digits; empty when a plain folder was read.
    pub commit: String,
    /// `main@sha1:<commit>`.
    pub revision: String,
    /// How many files were read.
    pub files: usize,
    /// `spec.path` is not in the tree: nothing was read, and nothing may be deleted for it.
    pub path_missing: bool,
    /// What is good.
    pub objects: BTreeMap<ObjectId, SourceObject>,
    /// What is in the tree but must not be applied as it stands: its live object stays as it is.
    pub held: BTreeSet<ObjectId>,
    /// Name and, if it is written, namespace in documents of kinds that aren't ours. A typo in `kind` must not look like
    /// a removal, so objects of that name are held too, whatever their kind.
    pub held_names: BTreeSet<(String, Option<String>)>,
    /// Files that can't be attributed to an object: while there are any, nothing is deleted.
    pub unattributable: BTreeSet<String>,
    /// All that is wrong, sorted.
    pub errors: Vec<SourceError>,
    /// What is not wrong and should be looked at, sorted: only where it was asked for.
    pub warnings: Vec<SourceWarning>,
}

impl Snapshot {
    /// Whether the tree speaks of this object, for good or ill.
    pub fn mentions(&self, id: &ObjectId) -> bool {
        self.objects.contains_key(id) || self.held.contains(id) || self.holds_name(id)
    }

    fn holds_name(&self, id: &ObjectId) -> bool {
        let same_name = (id.name.clone(), None)..;
        self.held_names
            .range(same_name)
            .take_while(|(name, _)| *name == id.name)
            .any(|(_, namespace)| {
                namespace.is_none() || id.namespace.is_none() || *namespace == id.namespace
            })
    }

    /// Takes an object out of what is applied, with the reason: for what only the cluster can tell, for example that a
    /// namespace does not accept this GitSync. Its live object stays as it is.
    pub fn refuse(&mut self, id: &ObjectId, code: Code, message: impl Into<String>) {
        let Some(object) = self.objects.remove(id) else {
            return;
        };
        self.held.insert(id.clone());
        self.errors.push(
            SourceError::new(code, message)
                .in_file(object.file)
                .at(Some((object.line, 1)))
                .of(id),
        );
        SourceError::sort(&mut self.errors);
    }

    /// Whether the tree holds no object at all.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.held.is_empty()
    }
}

/// The digest of a value, whatever the order of its keys.
pub fn value_digest(value: &Value) -> String {
    use sha2::{Digest, Sha256};
    let mut hasher = Sha256::new();
    feed(value, &mut |bytes| hasher.update(bytes));
    hex::encode(hasher.finalize())
}

/// Writes a value as JSON with sorted keys.
fn feed(value: &Value, sink: &mut impl FnMut(&[u8])) {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<&String, &Value> = map.iter().collect();
            sink(b"{");
            for (key, item) in sorted {
                sink(Value::String(key.clone()).to_string().as_bytes());
                sink(b":");
                feed(item, sink);
                sink(b",");
            }
            sink(b"}");
        }
        Value::Array(items) => {
            sink(b"[");
            for item in items {
                feed(item, sink);
                sink(b",");
            }
            sink(b"]");
        }
        plain => sink(plain.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_digest_does_not_depend_on_the_order_of_keys() {
        let one = json!({"a": 1, "b": {"c": [1, 2], "d": null}});
        let other = json!({"b": {"d": null, "c": [1, 2]}, "a": 1});
        assert_eq!(value_digest(&one), value_digest(&other));
        assert_ne!(
            value_digest(&one),
            value_digest(&json!({"a": 1, "b": {"c": [2, 1], "d": null}}))
        );
        assert_ne!(value_digest(&json!("1")), value_digest(&json!(1)));
    }

    #[test]
    fn an_error_reads_like_that_of_a_compiler() {
        let error = SourceError::new(Code::SchemaInvalid, "spec.prt: unknown field")
            .in_file("team-a/x.yaml")
            .at(Some((7, 3)))
            .of(ObjectId {
                kind: SyncedKind::Workspace,
                namespace: Some("team-a".into()),
                name: "x".into(),
            });
        assert_eq!(
            error.to_string(),
            "team-a/x.yaml:7:3: GS211 SchemaInvalid: Workspace team-a/x: spec.prt: unknown field"
        );
    }

    #[test]
    fn a_refused_object_is_still_mentioned() {
        let id = ObjectId {
            kind: SyncedKind::Workspace,
            namespace: Some("team-a".into()),
            name: "x".into(),
        };
        let object = SourceObject {
            id: id.clone(),
            file: "x.yaml".into(),
            line: 3,
            value: json!({}),
            digest: String::new(),
        };
        let mut snapshot = Snapshot {
            objects: [(id.clone(), object)].into(),
            ..Snapshot::default()
        };
        snapshot.refuse(&id, Code::NamespaceNotAllowed, "no");
        assert!(snapshot.objects.is_empty() && snapshot.mentions(&id) && !snapshot.is_empty());
        assert_eq!(snapshot.errors[0].line, Some(3));
    }
}
