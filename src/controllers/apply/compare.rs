//! Comparing what we want with what is there, as JSON.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// A short digest of a JSON value. Fields come in the order of their types, so equal values have equal digests.
pub fn digest(value: &Value) -> String {
    let bytes = value.to_string();
    let mut text = hex::encode(Sha256::digest(bytes.as_bytes()));
    text.truncate(32);
    text
}

pub(super) fn set_annotation(object: &mut Value, key: &str, value: &str) {
    set_field(
        object,
        &["metadata", "annotations", key],
        Value::String(value.to_owned()),
    );
}

pub(super) fn set_field(object: &mut Value, path: &[&str], value: Value) {
    let mut at = object;
    for (depth, name) in path.iter().enumerate() {
        if !at.is_object() {
            *at = Value::Object(serde_json::Map::new());
        }
        let Some(fields) = at.as_object_mut() else {
            return;
        };
        if depth + 1 == path.len() {
            fields.insert((*name).to_owned(), value);
            return;
        }
        at = fields.entry((*name).to_owned()).or_insert(Value::Null);
    }
}

/// A field of an object, null where it has none; the empty path names nothing.
pub(super) fn at<'a>(object: &'a Value, path: &[&str]) -> &'a Value {
    if path.is_empty() {
        return &Value::Null;
    }
    path.iter()
        .try_fold(object, |at, name| at.get(*name))
        .unwrap_or(&Value::Null)
}

/// An object without one of its fields; an empty path takes nothing away.
pub(super) fn without(object: &Value, path: &[&str]) -> Value {
    let mut rest = object.clone();
    if let Some((name, parents)) = path.split_last() {
        let parent = parents
            .iter()
            .try_fold(&mut rest, |at, name| at.get_mut(*name));
        if let Some(Value::Object(fields)) = parent {
            fields.remove(*name);
        }
    }
    rest
}

/// The part of a live object that a sent one speaks of. A list of another length is taken whole.
pub(super) fn part_of(live: &Value, sent: &Value) -> Value {
    match (live, sent) {
        (Value::Object(live), Value::Object(sent)) => sent
            .iter()
            .map(|(name, wanted)| {
                let part = live
                    .get(name)
                    .map_or(Value::Null, |shown| part_of(shown, wanted));
                (name.clone(), part)
            })
            .collect(),
        (Value::Array(live), Value::Array(sent)) if live.len() == sent.len() => live
            .iter()
            .zip(sent)
            .map(|(shown, wanted)| part_of(shown, wanted))
            .collect(),
        _ => live.clone(),
    }
}

/// Whether a live object has everything that would be sent.
pub(super) fn covers(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            wanted.iter().all(|(name, wanted)| match live.get(name) {
                Some(shown) => covers(shown, wanted),
                // The API server leaves empty values out.
                None => is_empty(wanted),
            })
        }
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len()
                && live
                    .iter()
                    .zip(wanted)
                    .all(|(shown, wanted)| covers(shown, wanted))
        }
        _ => live == wanted,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_live_object_covers_what_is_wanted_when_it_only_has_more() {
        let wanted = json!({"spec": {"ports": [{"port": 80}], "selector": {"a": "b"}, "ips": []}});
        let live = json!({"spec": {"ports": [{"port": 80, "protocol": "TCP"}], "selector": {"a": "b"}, "type": "ClusterIP"}});
        assert!(covers(&live, &wanted));
        let drifted =
            json!({"spec": {"ports": [{"port": 81, "protocol": "TCP"}], "selector": {"a": "b"}}});
        assert!(!covers(&drifted, &wanted));
        let longer =
            json!({"spec": {"ports": [{"port": 80}, {"port": 81}], "selector": {"a": "b"}}});
        assert!(!covers(&longer, &wanted));
    }

    #[test]
    fn the_part_that_we_sent_is_compared_as_the_server_keeps_it() {
        let sent = json!({"cpu": "1000m", "list": [{"name": "a"}]});
        let kept = part_of(
            &json!({"cpu": "1", "list": [{"name": "a", "x": 1}], "other": 2}),
            &sent,
        );
        assert_eq!(kept, json!({"cpu": "1", "list": [{"name": "a"}]}));
        let injected = json!({"cpu": "1", "list": [{"name": "a"}, {"name": "sidecar"}]});
        assert_ne!(part_of(&injected, &sent), kept);
    }

    #[test]
    fn a_field_that_never_changes_is_left_out_of_the_comparison() {
        let claim = json!({"spec": {"storageClassName": "fast", "accessModes": []}});
        let rest = json!({"spec": {"accessModes": []}});
        assert_eq!(without(&claim, &["spec", "storageClassName"]), rest);
        assert_eq!(without(&rest, &["spec", "storageClassName"]), rest);
        assert_eq!(without(&claim, &["status", "phase"]), claim);
        assert_eq!(without(&claim, &[]), claim);
    }

    #[test]
    fn a_field_is_found_by_its_path_and_what_is_not_there_is_null() {
        let service = json!({"spec": {"selector": {"a": "b"}}});
        assert_eq!(at(&service, &["spec", "selector"]), &json!({"a": "b"}));
        assert_eq!(at(&service, &["spec", "ports"]), &Value::Null);
        assert_eq!(at(&service, &["status", "ports"]), &Value::Null);
        assert_eq!(at(&service, &[]), &Value::Null);
    }

    #[test]
    fn fields_are_set_through_what_is_missing() {
        let mut object = json!({"metadata": {"name": "w"}});
        set_annotation(&mut object, "a/b", "c");
        assert_eq!(
            object,
            json!({"metadata": {"name": "w", "annotations": {"a/b": "c"}}})
        );
    }
}
