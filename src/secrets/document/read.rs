//! From plaintext to a [`Document`]. What it does not know it refuses: a typing error in `appliesTo` must not become a set
//! that is open to more.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroize as _;

use crate::model::variables::{FilePath, VariableName};
use crate::secrets::binding::{Audience, Binding, Scope};
use crate::secrets::document::{
    ContentError, DEFAULT_MODE, Document, Draft, File, HIGHEST_SERIAL, LONGEST_VARIABLE, MOST_KEYS,
};
use crate::secrets::error::SetError;
use crate::secrets::text::{SecretBytes, SecretText};
use crate::yaml::{self, Entry, Limits, Node, Place, Value};

/// What the YAML of a set may cost. Nothing in it is nested deeper than `files.PATH.content`.
const LIMITS: Limits = Limits {
    documents: 1,
    nodes: 10_000,
    text: 2 * 1024 * 1024,
    depth: 8,
};

const FIELDS: [&str; 6] = ["binding", "scope", "appliesTo", "serial", "env", "files"];

/// What is wrong with a path that [`file_and_folder`] finds.
const BOTH: &str = "another file is below it, as if it were a folder";

impl Draft {
    /// Reads what somebody wrote to have it sealed.
    ///
    /// # Errors
    /// When it is no such document. The error names a line and a key, and no value.
    pub fn read(plaintext: &[u8]) -> Result<Self, SetError> {
        let mut root = parse(plaintext)?;
        let read = draft_of(&root);
        wipe(&mut root);
        read
    }
}

impl Document {
    /// Reads a plaintext.
    ///
    /// # Errors
    /// When it is no such document. The error names a line and a key, and no value.
    pub fn read(plaintext: &[u8]) -> Result<Self, SetError> {
        let mut root = parse(plaintext)?;
        let read = Self::of(&root);
        wipe(&mut root);
        read
    }

    /// Whether it is one that [`Document::read`] takes, where it was not read but put together.
    ///
    /// # Errors
    /// The key that is wrong, and what is wrong with it.
    pub fn check(&self) -> Result<(), ContentError> {
        let keys = self.env.len() + self.files.len();
        if keys > MOST_KEYS {
            return Err(ContentError::Count(keys));
        }
        for (name, value) in &self.env {
            check_value(name, value.expose()).map_err(|problem| ContentError::Key {
                key: name.to_string(),
                problem,
            })?;
        }
        match file_and_folder(&self.files) {
            Some(path) => Err(ContentError::Key {
                key: path.to_string(),
                problem: BOTH,
            }),
            None => Ok(()),
        }
    }

    /// Reads what was opened leaf by leaf.
    pub(in crate::secrets) fn of(root: &Node) -> Result<Self, SetError> {
        of_root(root)
    }
}

fn parse(plaintext: &[u8]) -> Result<Node, SetError> {
    let mut documents = yaml::read(plaintext, LIMITS).into_iter();
    match (documents.next(), documents.next()) {
        (Some(Ok(document)), None) => Ok(document.root),
        // What the reader says may repeat the text that it read.
        (Some(Err(error)), _) => Err(match error.limit {
            Some(_) => wrong(
                error.place,
                None,
                "there is too much of it for a set: split it",
            ),
            None => wrong(error.place, None, "this is no YAML that can be read"),
        }),
        (None, _) => Err(SetError::BindingMissing),
        (Some(Ok(mut document)), Some(_)) => {
            wipe(&mut document.root);
            let begin = Place { line: 1, column: 1 };
            Err(wrong(
                begin,
                None,
                "it is more than one YAML document: a set is one",
            ))
        }
    }
}

/// Best effort: what the reader held on its way is not wiped.
pub(in crate::secrets) fn wipe(node: &mut Node) {
    match &mut node.value {
        Value::Text(text) => text.zeroize(),
        Value::Sequence(items) => items.iter_mut().for_each(wipe),
        Value::Mapping(entries) => entries.iter_mut().for_each(|entry| wipe(&mut entry.node)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The fields of a set, all of which it knows.
fn fields(root: &Node) -> Result<&[Entry], SetError> {
    let Value::Mapping(entries) = &root.value else {
        return Err(wrong(
            root.place,
            None,
            "a set is a mapping that begins with binding",
        ));
    };
    if let Some(other) = entries.iter().find(|entry| !FIELDS.contains(&&*entry.key)) {
        let problem =
            "a set has binding, scope, appliesTo, serial, env and files, and nothing else";
        return Err(at(other, problem));
    }
    Ok(entries)
}

fn of_root(root: &Node) -> Result<Document, SetError> {
    let Some(binding) = fields(root)?.first().filter(|entry| entry.key == "binding") else {
        return Err(SetError::BindingMissing);
    };
    let scope = root.get("scope").map(of_scope).transpose()?;
    if !of_binding(binding)?.is_whole(scope.unwrap_or_default()) {
        return Err(SetError::BindingMissing);
    }
    let draft = draft_of(root)?;
    Ok(Document {
        binding: draft.binding.unwrap_or_default(),
        scope: draft.scope.unwrap_or_default(),
        audience: draft.audience.unwrap_or_default(),
        serial: draft.serial,
        env: draft.env,
        files: draft.files,
    })
}

fn draft_of(root: &Node) -> Result<Draft, SetError> {
    fields(root)?;
    let draft = Draft {
        binding: root.get("binding").map(of_binding).transpose()?,
        scope: root.get("scope").map(of_scope).transpose()?,
        audience: root.get("appliesTo").map(of_audience).transpose()?,
        serial: root.get("serial").map(of_serial).transpose()?,
        env: root.get("env").map(of_env).transpose()?.unwrap_or_default(),
        files: root
            .get("files")
            .map(of_files)
            .transpose()?
            .unwrap_or_default(),
    };
    let keys = draft.env.len() + draft.files.len();
    if keys > MOST_KEYS {
        return Err(SetError::LimitExceeded {
            what: "variables and files",
            found: keys,
            most: MOST_KEYS,
        });
    }
    Ok(draft)
}

fn of_binding(entry: &Entry) -> Result<Binding, SetError> {
    let mut binding = Binding::default();
    for part in mapping(entry)? {
        let text = part.node.as_text().filter(|text| !text.is_empty());
        let text = text.ok_or_else(|| at(part, "it is a text"))?.to_owned();
        match &*part.key {
            "namespace" => binding.namespace = Some(text),
            "name" => binding.name = Some(text),
            _ => {
                return Err(at(
                    part,
                    "a binding has namespace and name, and nothing else",
                ));
            }
        }
    }
    Ok(binding)
}

fn of_scope(entry: &Entry) -> Result<Scope, SetError> {
    match entry.node.as_text() {
        Some("Strict") => Ok(Scope::Strict),
        Some("Namespace") => Ok(Scope::Namespace),
        Some("Cluster") => Ok(Scope::Cluster),
        _ => Err(at(entry, "it is Strict, Namespace or Cluster")),
    }
}

fn of_audience(entry: &Entry) -> Result<Audience, SetError> {
    let problem = "it is {owner: …} or {namespace: true}";
    let [part] = mapping(entry)? else {
        return Err(at(entry, problem));
    };
    match (&*part.key, &part.node.value) {
        ("owner", Value::Text(owner)) if !owner.is_empty() => Ok(Audience::Owner(owner.clone())),
        ("namespace", Value::Bool(true)) => Ok(Audience::Namespace),
        _ => Err(at(part, problem)),
    }
}

fn of_serial(entry: &Entry) -> Result<u64, SetError> {
    let number = match &entry.node.value {
        Value::Number(number) => number.as_u64(),
        _ => None,
    };
    number
        .filter(|number| *number <= HIGHEST_SERIAL)
        .ok_or_else(|| at(entry, "it is a whole number from 0 to 9007199254740991"))
}

fn of_env(entry: &Entry) -> Result<BTreeMap<VariableName, SecretText>, SetError> {
    let mut env = BTreeMap::new();
    for variable in mapping(entry)? {
        let name = VariableName::parse(&variable.key).map_err(|problem| at(variable, problem))?;
        let Some(value) = variable.node.as_text() else {
            return Err(at(variable, "its value is no text: put it in quotes"));
        };
        check_value(&name, value).map_err(|problem| at(variable, problem))?;
        env.insert(name, SecretText::new(value.to_owned()));
    }
    Ok(env)
}

fn of_files(entry: &Entry) -> Result<BTreeMap<FilePath, File>, SetError> {
    let mut files: BTreeMap<FilePath, File> = BTreeMap::new();
    for file in mapping(entry)? {
        let path = FilePath::parse(&file.key).map_err(|problem| at(file, problem))?;
        files.insert(path, of_file(file)?);
    }
    let both = file_and_folder(&files);
    match both.and_then(|path| {
        mapping(entry)
            .ok()?
            .iter()
            .find(|file| file.key == path.as_str())
    }) {
        Some(file) => Err(at(file, BOTH)),
        None => Ok(files),
    }
}

/// Whether Linux takes a variable.
pub(in crate::secrets) fn check_value(
    name: &VariableName,
    value: &str,
) -> Result<(), &'static str> {
    if value.contains('\0') {
        return Err("its value has a NUL: make it a file");
    }
    if name.as_str().len() + 1 + value.len() > LONGEST_VARIABLE {
        return Err("its value is longer than Linux takes, 128 KiB: make it a file");
    }
    Ok(())
}

/// A path that is a file and a folder, which can't be.
fn file_and_folder<T>(files: &BTreeMap<FilePath, T>) -> Option<&FilePath> {
    let folder_of = |path: &FilePath, other: &FilePath| {
        let below = other.as_str().strip_prefix(path.as_str());
        below.is_some_and(|below| below.starts_with('/'))
    };
    files
        .keys()
        .find(|path| files.keys().any(|other| folder_of(path, other)))
}

fn of_file(entry: &Entry) -> Result<File, SetError> {
    let (mut mode, mut content) = (DEFAULT_MODE, None);
    for part in mapping(entry)? {
        let text = part.node.as_text();
        let text =
            text.ok_or_else(|| at(entry, "mode, content and b64 are texts: put them in quotes"))?;
        let found = match &*part.key {
            "mode" => {
                mode = of_mode(text).ok_or_else(|| {
                    at(
                        entry,
                        "its mode is three or four octal digits up to 0777, in quotes",
                    )
                })?;
                continue;
            }
            "content" => text.as_bytes().to_vec(),
            "b64" => {
                let dense: zeroize::Zeroizing<String> =
                    zeroize::Zeroizing::new(text.split_ascii_whitespace().collect());
                let decoded = STANDARD.decode(dense.as_bytes());
                decoded.map_err(|_| at(entry, "its b64 is no Base64"))?
            }
            _ => {
                return Err(at(
                    entry,
                    "a file has mode, and content or b64, and nothing else",
                ));
            }
        };
        if content.replace(SecretBytes::new(found)).is_some() {
            return Err(at(entry, "it has content and b64: write one of them"));
        }
    }
    let content = content.ok_or_else(|| at(entry, "it has neither content nor b64"))?;
    Ok(File { mode, content })
}

fn of_mode(text: &str) -> Option<u16> {
    let is_octal =
        (3..=4).contains(&text.len()) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let mode = u16::from_str_radix(text, 8).ok().filter(|_| is_octal)?;
    (mode <= 0o777).then_some(mode)
}

fn mapping(entry: &Entry) -> Result<&[Entry], SetError> {
    match &entry.node.value {
        Value::Mapping(entries) => Ok(entries),
        Value::Null => Ok(&[]),
        _ => Err(at(entry, "it is a mapping")),
    }
}

fn at(entry: &Entry, problem: &'static str) -> SetError {
    wrong(entry.place, Some(&entry.key), problem)
}

fn wrong(place: Place, key: Option<&str>, problem: &'static str) -> SetError {
    SetError::InvalidContent {
        place,
        key: key.map(shown),
        problem,
    }
}

/// A key may be a value that stands in the wrong place: only what could be a name is repeated.
fn shown(key: &str) -> String {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "._-/~".contains(c);
    if key.len() <= 64 && key.chars().all(is_name) {
        key.to_owned()
    } else {
        "a key that is no name".to_owned()
    }
}
