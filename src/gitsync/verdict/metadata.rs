//! What may stand in `metadata` of a file, as the API server checks it.
//!
//! Stricter than the server in one point: what only a server or a controller sets (`uid`, `ownerReferences`, …) has no
//! place in a file. The server would refuse some of it later, by a conflict, and let the rest decide over deletion.

use serde_json::{Map, Value};

use super::{Fault, Finding, MOST};
use crate::model::names::{
    DnsLabel, DnsSubdomain, GITSYNC_NAME_LABEL, GITSYNC_NAMESPACE_LABEL, ORIGIN_ANNOTATION,
};
use crate::yaml::Step;

/// All annotations together, keys and values.
const ANNOTATIONS_BYTES: usize = 256 * 1024;

/// Fields of `metadata` that the server knows and files do not set.
const SERVER_SET: [&str; 11] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Everything that is wrong with `metadata`.
pub(super) fn find_wrong(object: &Value, is_namespaced: bool, found: &mut Vec<Finding>) {
    let at = |names: &[&str]| -> Vec<Step> {
        std::iter::once("metadata")
            .chain(names.iter().copied())
            .map(|name| Step::Key(name.to_owned()))
            .collect()
    };
    let Some(Value::Object(metadata)) = object.get("metadata") else {
        found.push(Finding::new(
            Fault::Required,
            &at(&["name"]),
            "is missing: every object has a name",
        ));
        return;
    };
    for (field, value) in metadata {
        if found.len() > MOST {
            break;
        }
        let path = at(&[field]);
        match field.as_str() {
            "name" => name(value, &path, found),
            "namespace" => namespace(value, is_namespaced, &path, found),
            "labels" => entries(value, &path, found, label),
            "annotations" => {
                entries(value, &path, found, annotation);
                annotations_size(value, &path, found);
            }
            "creationTimestamp" if value.is_null() => {}
            known if SERVER_SET.contains(&known) => found.push(Finding::new(
                Fault::Invalid,
                &path,
                "has no place in a file: the server or a controller sets it, take it out",
            )),
            _ => found.push(Finding::new(Fault::Unknown, &path, "unknown field")),
        }
    }
    if !metadata.contains_key("name") {
        found.push(Finding::new(
            Fault::Required,
            &at(&["name"]),
            "is missing: every object has a name",
        ));
    }
}

fn name(value: &Value, path: &[Step], found: &mut Vec<Finding>) {
    match value {
        Value::String(text) => {
            if let Err(error) = DnsSubdomain::new(text.clone()) {
                found.push(Finding::new(Fault::Invalid, path, error.to_string()));
            }
        }
        other => found.push(not_text(other, path)),
    }
}

fn namespace(value: &Value, is_namespaced: bool, path: &[Step], found: &mut Vec<Finding>) {
    match value {
        // The server ignores the namespace of what has none.
        Value::Null => {}
        Value::String(text) if text.is_empty() || !is_namespaced => {}
        Value::String(text) => {
            if let Err(error) = DnsLabel::new(text.clone()) {
                found.push(Finding::new(Fault::Invalid, path, error.to_string()));
            }
        }
        other => found.push(not_text(other, path)),
    }
}

fn not_text(value: &Value, path: &[Step]) -> Finding {
    let hint = match value {
        Value::Number(_) | Value::Bool(_) => ": put it into quotes",
        _ => "",
    };
    Finding::new(Fault::Type, path, format!("must be text{hint}"))
}

/// Labels or annotations: text by qualified names.
fn entries(
    value: &Value,
    path: &[Step],
    found: &mut Vec<Finding>,
    check: impl Fn(&str, &str) -> Option<String>,
) {
    let map: &Map<String, Value> = match value {
        Value::Null => return,
        Value::Object(map) => map,
        _ => {
            found.push(Finding::new(Fault::Type, path, "must be a mapping"));
            return;
        }
    };
    for (key, value) in map {
        if found.len() > MOST {
            break;
        }
        let mut path = path.to_vec();
        path.push(Step::Key(key.clone()));
        match value {
            Value::String(text) => {
                if let Some(message) = check(key, text) {
                    found.push(Finding::new(Fault::Invalid, &path, message));
                }
            }
            Value::Null => {}
            other => found.push(not_text(other, &path)),
        }
    }
}

fn label(key: &str, value: &str) -> Option<String> {
    if key == GITSYNC_NAME_LABEL || key == GITSYNC_NAMESPACE_LABEL {
        return Some("is set by the controller only: take it out".to_owned());
    }
    if let Some(message) = qualified_name(key) {
        return Some(message);
    }
    let fits = value.len() <= 63 && (value.is_empty() || is_name_part(value));
    (!fits).then(|| {
        "the value of a label has at most 63 letters, digits, '-', '_' and '.', a letter or digit first and last"
            .to_owned()
    })
}

fn annotation(key: &str, _: &str) -> Option<String> {
    if key == ORIGIN_ANNOTATION {
        return Some("is set by the controller only: take it out".to_owned());
    }
    qualified_name(&key.to_lowercase())
}

fn annotations_size(value: &Value, path: &[Step], found: &mut Vec<Finding>) {
    let Value::Object(map) = value else {
        return;
    };
    let size: usize = map
        .iter()
        .map(|(key, value)| key.len() + value.as_str().map_or(0, str::len))
        .sum();
    if size > ANNOTATIONS_BYTES {
        found.push(Finding::new(
            Fault::TooLong,
            path,
            format!("have {size} bytes together, at most {ANNOTATIONS_BYTES} are allowed"),
        ));
    }
}

/// Whether a key is `name` or `prefix/name`.
fn qualified_name(key: &str) -> Option<String> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if let Some(prefix) = prefix
        && DnsSubdomain::new(prefix).is_err()
    {
        return Some(format!("'{prefix}' before the '/' is no DNS name"));
    }
    (name.len() > 63 || !is_name_part(name)).then(|| {
        format!(
            "'{name}' is no key: write at most 63 letters, digits, '-', '_' and '.', a letter or digit first and last"
        )
    })
}

fn is_name_part(text: &str) -> bool {
    let outer = |c: char| c.is_ascii_alphanumeric();
    !text.is_empty()
        && text
            .chars()
            .all(|c| outer(c) || matches!(c, '-' | '_' | '.'))
        && text.starts_with(outer)
        && text.ends_with(outer)
}
