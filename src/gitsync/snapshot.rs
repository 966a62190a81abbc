//! From the files of a tree to a snapshot: what is good, what is wrong and where. Pure.
//!
//! Each file is read by itself, and each document of it: an error stops what it stands in and nobody else.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::api::API_VERSION;
use crate::api::GROUP;
use crate::api::gitsync::SyncedKind;
use crate::gitsync::rules::ObjectRules;
use crate::gitsync::tree::Tree;
use crate::gitsync::verdict::{Finding, Verdict, prune_nulls};
use crate::model::sync::{
    Code, ObjectId, Snapshot, SourceError, SourceFile, SourceObject, value_digest,
};
use crate::yaml::{self, Document, Node, Place, ReadError, Step};

/// Where the files came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The commit; empty for a folder.
    pub commit: String,
    /// `main@sha1:<commit>`.
    pub revision: String,
}

/// Reads every file of a tree.
pub fn build(tree: Tree, source: Source, rules: &ObjectRules) -> Snapshot {
    let mut builder = Builder {
        rules,
        verdict: Verdict::default(),
        snapshot: Snapshot {
            commit: source.commit,
            revision: source.revision,
            files: tree.files.len(),
            path_missing: tree.path_missing,
            errors: tree.errors,
            unattributable: tree.unattributable,
            ..Snapshot::default()
        },
        places: BTreeMap::new(),
    };
    for file in &tree.files {
        builder.file(file);
    }
    builder.finish()
}

struct Builder<'a> {
    rules: &'a ObjectRules,
    verdict: Verdict,
    snapshot: Snapshot,
    /// Every place that defines an object, good or bad.
    places: BTreeMap<ObjectId, Vec<(String, Place)>>,
}

/// What a document is about.
enum Subject {
    /// One of our kinds, with a name.
    Ours(ObjectId),
    /// Another kind, with a name and perhaps a namespace.
    Foreign {
        object: String,
        name: String,
        namespace: Option<String>,
    },
}

impl Builder<'_> {
    fn file(&mut self, file: &SourceFile) {
        for document in yaml::read(&file.content, self.rules.yaml) {
            match document {
                Ok(document) if document.root.is_null() => {}
                Ok(document) => self.document(&file.path, &document),
                Err(error) => self.unreadable(&file.path, &error),
            }
        }
    }

    fn unreadable(&mut self, file: &str, error: &ReadError) {
        let message = match error.limit {
            Some(limit) => format!("exceeds limit {limit}: {error}"),
            None => error.to_string(),
        };
        self.unattributable(file, error.place, message);
    }

    /// Something that may be an object, and no telling which.
    fn unattributable(&mut self, file: &str, place: Place, message: impl Into<String>) {
        self.snapshot.unattributable.insert(file.to_owned());
        self.snapshot.errors.push(
            SourceError::new(Code::ParseFailed, message)
                .in_file(file)
                .at(Some(place.into())),
        );
    }

    fn document(&mut self, file: &str, document: &Document) {
        let root = &document.root;
        match subject(root, self.rules) {
            Err((place, message)) => self.unattributable(file, place, message),
            Ok(Subject::Foreign {
                object,
                name,
                namespace,
            }) => {
                self.snapshot.held_names.insert((name, namespace));
                self.snapshot.errors.push(
                    SourceError::new(
                        Code::KindNotAllowed,
                        format!(
                            "only kinds of {API_VERSION} are applied: check apiVersion and kind, or name the file in spec.ignore"
                        ),
                    )
                    .in_file(file)
                    .at(Some(root.place.into()))
                    .of(object),
                );
            }
            Ok(Subject::Ours(id)) => self.object(file, root, id),
        }
    }

    fn object(&mut self, file: &str, root: &Node, id: ObjectId) {
        self.places
            .entry(id.clone())
            .or_default()
            .push((file.to_owned(), root.place));
        let value = root.to_json();
        let before = self.snapshot.errors.len();
        if let Some(message) = self.rules.refuses_kind(id.kind) {
            self.refuse(file, root, &id, Code::KindNotAllowed, &["kind"], message);
        }
        if let Some(message) = id
            .namespace
            .as_deref()
            .and_then(|ns| self.rules.refuses_namespace(ns))
        {
            self.refuse(
                file,
                root,
                &id,
                Code::NamespaceNotAllowed,
                &["metadata", "namespace"],
                message,
            );
        }
        if id.kind == SyncedKind::Workspace
            && let Some(owner) = value.pointer("/spec/owner").and_then(Value::as_str)
            && let Some(message) = self.rules.refuses_owner(file, owner)
        {
            self.refuse(
                file,
                root,
                &id,
                Code::OwnerNotAllowed,
                &["spec", "owner"],
                message,
            );
        }
        for finding in self.verdict.findings(id.kind, &value, None) {
            self.finding(file, root, &id, &finding);
        }
        if self.snapshot.errors.len() > before {
            self.snapshot.held.insert(id);
            return;
        }
        let value = desired(value, &id);
        let object = SourceObject {
            digest: value_digest(&value),
            value,
            file: file.to_owned(),
            line: root.place.line,
            id: id.clone(),
        };
        self.snapshot.objects.insert(id, object);
    }

    fn refuse(
        &mut self,
        file: &str,
        root: &Node,
        id: &ObjectId,
        code: Code,
        path: &[&str],
        message: String,
    ) {
        let path: Vec<Step> = path
            .iter()
            .map(|name| Step::Key((*name).to_owned()))
            .collect();
        self.snapshot.errors.push(
            SourceError::new(code, message)
                .in_file(file)
                .at(Some(root.place_of(&path).into()))
                .of(id),
        );
    }

    fn finding(&mut self, file: &str, root: &Node, id: &ObjectId, finding: &Finding) {
        self.snapshot.errors.push(
            SourceError::new(Code::SchemaInvalid, finding.to_string())
                .in_file(file)
                .at(Some(root.place_of(&finding.path).into()))
                .of(id),
        );
    }

    /// An object that two places define is applied from neither: nobody can tell which one is meant.
    fn finish(mut self) -> Snapshot {
        for (id, places) in std::mem::take(&mut self.places) {
            if places.len() < 2 {
                continue;
            }
            self.snapshot.objects.remove(&id);
            for (index, (file, place)) in places.iter().enumerate() {
                let others: Vec<String> = places
                    .iter()
                    .enumerate()
                    .filter(|(other, _)| *other != index)
                    .take(3)
                    .map(|(_, (file, place))| format!("{file}:{}", place.line))
                    .collect();
                self.snapshot.errors.push(
                    SourceError::new(
                        Code::DuplicateObject,
                        format!("is defined in {} too: keep one of them; the live object stays as it is", others.join(", ")),
                    )
                    .in_file(file)
                    .at(Some((*place).into()))
                    .of(&id),
                );
            }
            self.snapshot.held.insert(id);
        }
        SourceError::sort(&mut self.snapshot.errors);
        self.snapshot
    }
}

/// What a document is about, or why nobody can tell.
fn subject(root: &Node, rules: &ObjectRules) -> Result<Subject, (Place, String)> {
    if !matches!(root.value, yaml::Value::Mapping(_)) {
        return Err((
            root.place,
            "this is no object: it begins with apiVersion, kind and metadata; name files of other tools in spec.ignore".to_owned(),
        ));
    }
    let text = |field: &str| -> Result<String, (Place, String)> {
        match root.get(field) {
            Some(entry) => match entry.node.as_text() {
                Some(text) if !text.is_empty() => Ok(text.to_owned()),
                _ => Err((
                    entry.place,
                    format!("{field} is no text: write for example {}", example(field)),
                )),
            },
            None => Err((root.place, missing(root, field))),
        }
    };
    let (api_version, kind) = (text("apiVersion")?, text("kind")?);
    let metadata = root.get("metadata");
    let entry = |field: &str| metadata.and_then(|entry| entry.node.get(field));
    let name = match entry("name") {
        Some(entry) => entry
            .node
            .as_text()
            .filter(|name| !name.is_empty())
            .ok_or((
                entry.place,
                "metadata.name is no text: write the name, in quotes if it looks like a number"
                    .to_owned(),
            ))?,
        None => {
            let place = metadata.map_or(root.place, |entry| entry.place);
            return Err((
                place,
                "metadata.name is missing: nobody can tell which object this is".to_owned(),
            ));
        }
    };
    let namespace = entry("namespace")
        .and_then(|entry| entry.node.as_text())
        .filter(|namespace| !namespace.is_empty());
    match SyncedKind::from_name(&kind) {
        Some(kind) if api_version == API_VERSION => Ok(Subject::Ours(ObjectId {
            kind,
            namespace: kind
                .is_namespaced()
                .then(|| namespace.unwrap_or(&rules.default_namespace).to_owned()),
            name: name.to_owned(),
        })),
        _ => Ok(Subject::Foreign {
            object: format!(
                "{kind} ({api_version}) {}{name}",
                namespace
                    .map(|namespace| format!("{namespace}/"))
                    .unwrap_or_default()
            ),
            name: name.to_owned(),
            namespace: namespace.map(ToOwned::to_owned),
        }),
    }
}

fn example(field: &str) -> String {
    match field {
        "apiVersion" => format!("apiVersion: {GROUP}/v1alpha1"),
        _ => "kind: Workspace".to_owned(),
    }
}

/// A missing field, with the key that may have been meant: `piVersion`, `Kind`.
fn missing(root: &Node, field: &str) -> String {
    let near = match &root.value {
        yaml::Value::Mapping(entries) => entries.iter().find(|entry| {
            let (key, field) = (entry.key.to_lowercase(), field.to_lowercase());
            field.contains(&key) || key.contains(&field)
        }),
        _ => None,
    };
    match near {
        Some(entry) if entry.key.len() > 2 => {
            format!("{field} is missing: did you mean it by '{}'?", entry.key)
        }
        _ => format!(
            "{field} is missing: this is no object; name files of other tools in spec.ignore"
        ),
    }
}

/// What is applied: as written, with the namespace filled in and without what only a server sets.
fn desired(mut value: Value, id: &ObjectId) -> Value {
    prune_nulls(id.kind, &mut value);
    let Some(map) = value.as_object_mut() else {
        return value;
    };
    map.shift_remove("status");
    if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.shift_remove("creationTimestamp");
        match &id.namespace {
            Some(namespace) => {
                metadata.insert("namespace".to_owned(), Value::String(namespace.clone()));
            }
            None => {
                metadata.shift_remove("namespace");
            }
        }
    }
    value
}

#[cfg(test)]
mod tests;
