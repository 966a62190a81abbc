//! What one file says, by itself: nobody else's mistake is in it.

use serde_json::Value;

use crate::api::gitsync::SyncedKind;
use crate::api::{API_VERSION, GROUP};
use crate::gitsync::rules::ObjectRules;
use crate::gitsync::verdict::{Finding, Verdict, prune_nulls};
use crate::model::plaintext::suspicion;
use crate::model::sync::{
    Code, ObjectId, SourceError, SourceFile, SourceObject, SourceWarning, value_digest,
};
use crate::model::variables::VariableName;
use crate::yaml::{self, Document, Node, Place, ReadError, Step, path_text};

/// What one file says.
#[derive(Default)]
pub(super) struct Reading {
    pub(super) objects: Vec<Found>,
    /// Name and, if written, namespace in documents of other kinds.
    pub(super) held_names: Vec<(String, Option<String>)>,
    pub(super) errors: Vec<SourceError>,
    pub(super) warnings: Vec<SourceWarning>,
    pub(super) is_unattributable: bool,
}

impl Reading {
    /// Names the file by another name.
    pub(super) fn call(&mut self, file: &str) {
        for error in &mut self.errors {
            error.file = Some(file.to_owned());
        }
        for warning in &mut self.warnings {
            file.clone_into(&mut warning.file);
        }
        for object in self
            .objects
            .iter_mut()
            .filter_map(|found| found.object.as_mut())
        {
            file.clone_into(&mut object.file);
        }
    }
}

/// An object that a document defines.
pub(super) struct Found {
    pub(super) id: ObjectId,
    pub(super) place: Place,
    /// What to apply; none when it must not be.
    pub(super) object: Option<SourceObject>,
}

/// Reads a file.
pub(super) fn read(file: &SourceFile, rules: &ObjectRules, verdict: &Verdict) -> Reading {
    let mut reader = Reader {
        file: &file.path,
        rules,
        verdict,
        reading: Reading::default(),
    };
    for document in yaml::read(&file.content, rules.yaml) {
        match document {
            Ok(document) if document.root.is_null() => {}
            Ok(document) => reader.document(&document),
            Err(error) => reader.unreadable(&error),
        }
    }
    reader.reading
}

struct Reader<'a> {
    file: &'a str,
    rules: &'a ObjectRules,
    verdict: &'a Verdict,
    reading: Reading,
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

impl Reader<'_> {
    fn unreadable(&mut self, error: &ReadError) {
        let message = match error.limit {
            Some(limit) => format!("exceeds limit {limit}: {error}"),
            None => error.to_string(),
        };
        self.unattributable(error.place, message);
    }

    /// Something that may be an object, and no telling which.
    fn unattributable(&mut self, place: Place, message: impl Into<String>) {
        self.reading.is_unattributable = true;
        self.report(SourceError::new(Code::ParseFailed, message), place);
    }

    fn report(&mut self, error: SourceError, place: Place) {
        let error = error.in_file(self.file).at(Some(place.into()));
        self.reading.errors.push(error);
    }

    fn document(&mut self, document: &Document) {
        let root = &document.root;
        match subject(root, self.rules) {
            Err((place, message)) => self.unattributable(place, message),
            Ok(Subject::Foreign {
                object,
                name,
                namespace,
            }) => {
                self.reading.held_names.push((name, namespace));
                let error = SourceError::new(
                    Code::KindNotAllowed,
                    format!(
                        "only kinds of {API_VERSION} are applied: check apiVersion and kind, or name the file in spec.ignore"
                    ),
                );
                self.report(error.of(object), root.place);
            }
            Ok(Subject::Ours(id)) => self.object(root, id),
        }
    }

    fn object(&mut self, root: &Node, id: ObjectId) {
        let value = root.to_json();
        let before = self.reading.errors.len();
        self.hold_to_rules(root, &id, &value);
        for finding in self.verdict.findings(id.kind, &value, None) {
            self.finding(root, &id, &finding);
        }
        if self.rules.must_run && self.reading.errors.len() == before {
            for finding in Verdict::unrunnable(id.kind, &value) {
                self.finding(root, &id, &finding);
            }
        }
        if self.rules.must_run && id.kind == SyncedKind::Workspace {
            self.warn_of_plaintext(root, &id, &value);
        }
        let is_good = self.reading.errors.len() == before;
        let object = is_good.then(|| {
            let value = desired(value, &id);
            SourceObject {
                digest: value_digest(&value),
                value,
                file: self.file.to_owned(),
                line: root.place.line,
                id: id.clone(),
            }
        });
        self.reading.objects.push(Found {
            id,
            place: root.place,
            object,
        });
    }

    fn hold_to_rules(&mut self, root: &Node, id: &ObjectId, value: &Value) {
        if let Some(message) = self.rules.refuses_kind(id.kind) {
            self.refuse(root, id, Code::KindNotAllowed, &["kind"], message);
        }
        let namespace = id.namespace.as_deref();
        if let Some(message) = namespace.and_then(|name| self.rules.refuses_namespace(name)) {
            let path = ["metadata", "namespace"];
            self.refuse(root, id, Code::NamespaceNotAllowed, &path, message);
        }
        if id.kind == SyncedKind::Workspace
            && let Some(owner) = value.pointer("/spec/owner").and_then(Value::as_str)
            && let Some(message) = self.rules.refuses_owner(self.file, owner)
        {
            self.refuse(root, id, Code::OwnerNotAllowed, &["spec", "owner"], message);
        }
    }

    /// Values that look like secrets and can be read by whoever reads the file. No value is repeated.
    fn warn_of_plaintext(&mut self, root: &Node, id: &ObjectId, value: &Value) {
        let variables = value.pointer("/spec/env").and_then(Value::as_array);
        for (index, variable) in variables.into_iter().flatten().enumerate() {
            let text = |field: &str| variable.get(field).and_then(Value::as_str);
            let (Some(name), Some(value)) = (text("name"), text("value")) else {
                continue;
            };
            let Some(suspicion) = suspicion(name, value) else {
                continue;
            };
            // What is no name may be a value that was written in the wrong place.
            let shown = VariableName::parse(name).map_or("the variable", |_| name);
            let key = |key: &str| Step::Key(key.to_owned());
            let path = [key("spec"), key("env"), Step::Index(index), key("value")];
            let (line, column) = root.place_of(&path).into();
            self.reading.warnings.push(SourceWarning {
                file: self.file.to_owned(),
                line,
                column,
                object: id.to_string(),
                message: format!(
                    "{}: {shown} stands here in plain text, and {suspicion}: seal it (workstead seal), and change it where it comes from if it was ever committed",
                    path_text(&path)
                ),
            });
        }
    }

    fn refuse(&mut self, root: &Node, id: &ObjectId, code: Code, path: &[&str], message: String) {
        let path: Vec<Step> = path
            .iter()
            .map(|name| Step::Key((*name).to_owned()))
            .collect();
        self.report(SourceError::new(code, message).of(id), root.place_of(&path));
    }

    fn finding(&mut self, root: &Node, id: &ObjectId, finding: &Finding) {
        let error = SourceError::new(Code::SchemaInvalid, finding.to_string()).of(id);
        self.report(error, root.place_of(&finding.path));
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
    if let Some(entry) = root.get("kind").filter(|_| is_list(root, &kind)) {
        return Err((
            entry.place,
            "a list of objects is no object: write its items as documents separated by ---"
                .to_owned(),
        ));
    }
    let name = name(root)?;
    let namespace = root
        .get("metadata")
        .and_then(|metadata| metadata.node.get("namespace")?.node.as_text())
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

/// What `metadata.name` says.
fn name(root: &Node) -> Result<&str, (Place, String)> {
    let metadata = root.get("metadata");
    let Some(entry) = metadata.and_then(|entry| entry.node.get("name")) else {
        return Err((
            metadata.map_or(root.place, |entry| entry.place),
            "metadata.name is missing: nobody can tell which object this is".to_owned(),
        ));
    };
    entry
        .node
        .as_text()
        .filter(|name| !name.is_empty())
        .ok_or_else(|| {
            (
                entry.place,
                "metadata.name is no text: write the name, in quotes if it looks like a number"
                    .to_owned(),
            )
        })
}

/// Whether it is what `kubectl get -o yaml` prints for several objects.
fn is_list(root: &Node, kind: &str) -> bool {
    kind.ends_with("List") && root.get("items").is_some()
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
