//! Whose fields are whose, and where a live object differs from what Git says. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::{Map, Value};

use crate::api::gitsync::SyncedKind;
use crate::gitsync::verdict::{Items, Shape};
use crate::model::names::GITSYNC_MANAGER;

/// Managers under which client-side `kubectl apply` leaves its fields. They are taken over once, when an object is
/// adopted: else a field that Git drops later would stay for ever, as theirs.
const CLIENT_SIDE: [&str; 2] = ["kubectl-client-side-apply", "before-first-apply"];
const APPLY: &str = "Apply";
const UPDATE: &str = "Update";
/// Differences that are named.
const MAX_FIELDS: usize = 10;

/// The managed fields of an object after taking over what client-side apply owned; none when there is nothing to do.
///
/// Only for an object that we do not manage yet: later on `kubectl apply` is a writer like any other, and the fields
/// that Git leaves out are free for it.
pub fn take_over(managed: &[ManagedFieldsEntry]) -> Option<Vec<ManagedFieldsEntry>> {
    if managed.iter().any(is_ours) {
        return None;
    }
    let (theirs, mut rest): (Vec<_>, Vec<_>) = managed.iter().cloned().partition(is_client_side);
    let first = theirs.first()?;
    let mut fields = Map::new();
    for entry in &theirs {
        if let Some(Value::Object(set)) = entry.fields_v1.as_ref().map(|f| &f.0) {
            unite(&mut fields, set);
        }
    }
    rest.push(ManagedFieldsEntry {
        manager: Some(GITSYNC_MANAGER.to_owned()),
        operation: Some(APPLY.to_owned()),
        fields_v1: Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::FieldsV1(
            Value::Object(fields),
        )),
        ..first.clone()
    });
    Some(rest)
}

fn is_ours(entry: &ManagedFieldsEntry) -> bool {
    entry.manager.as_deref() == Some(GITSYNC_MANAGER) && entry.operation.as_deref() == Some(APPLY)
}

fn is_client_side(entry: &ManagedFieldsEntry) -> bool {
    entry.operation.as_deref() == Some(UPDATE)
        && entry.subresource.as_deref().unwrap_or_default().is_empty()
        && entry
            .manager
            .as_deref()
            .is_some_and(|manager| CLIENT_SIDE.contains(&manager))
}

/// A field set is a tree whose leaves are empty objects: the union of two is the union of their keys.
fn unite(into: &mut Map<String, Value>, other: &Map<String, Value>) {
    for (key, value) in other {
        match (into.get_mut(key), value) {
            (Some(Value::Object(mine)), Value::Object(theirs)) => unite(mine, theirs),
            (Some(_), _) => {}
            (None, _) => {
                into.insert(key.clone(), value.clone());
            }
        }
    }
}

/// A place in an object, as keys of the managed field sets: `f:spec`, `f:env`, `k:{"name":"A"}`.
pub type FieldPath = Vec<String>;

/// Where the live object does not say what Git says; fields that Git leaves out do not count. At most ten.
pub fn differences(kind: SyncedKind, desired: &Value, live: &Value) -> Vec<FieldPath> {
    let mut found = Vec::new();
    compare(desired, live, Shape::of(kind), &mut Vec::new(), &mut found);
    found.truncate(MAX_FIELDS);
    found
}

fn compare(
    desired: &Value,
    live: &Value,
    shape: Shape,
    at: &mut FieldPath,
    found: &mut Vec<FieldPath>,
) {
    match (desired, live) {
        (Value::Object(wanted), Value::Object(there)) => {
            for (key, value) in wanted {
                // An apply takes a null as the absence of the field.
                if value.is_null() && !there.contains_key(key) {
                    continue;
                }
                at.push(format!("f:{key}"));
                match there.get(key) {
                    Some(other) => compare(value, other, shape.field(key), at, found),
                    None => found.push(at.clone()),
                }
                at.pop();
            }
        }
        (Value::Array(wanted), Value::Array(there)) => {
            compare_lists(wanted, there, shape, at, found);
        }
        (wanted, there) if same(wanted, there) => {}
        _ => found.push(at.clone()),
    }
}

/// What the schema says of a list decides: whether it is one value, or whether others may have added items of their own.
fn compare_lists(
    wanted: &[Value],
    there: &[Value],
    shape: Shape,
    at: &mut FieldPath,
    found: &mut Vec<FieldPath>,
) {
    match shape.items() {
        Items::Atomic => {
            let equal = wanted.len() == there.len()
                && wanted.iter().zip(there).all(|(w, t)| is_equal(w, t));
            if !equal {
                found.push(at.clone());
            }
        }
        Items::Set => {
            let is_there = |item: &Value| there.iter().any(|other| is_equal(item, other));
            if !wanted.iter().all(is_there) {
                found.push(at.clone());
            }
        }
        Items::Map(keys) => {
            for item in wanted {
                let key = key_of(item, keys);
                at.push(format!("k:{key}"));
                match there.iter().find(|other| key_of(other, keys) == key) {
                    Some(other) => compare(item, other, shape.item(), at, found),
                    None => found.push(at.clone()),
                }
                at.pop();
            }
        }
    }
}

/// What tells an item of a list apart, as managed field sets write it.
fn key_of(item: &Value, keys: &[String]) -> Value {
    let of = |key: &String| Some((key.clone(), item.get(key)?.clone()));
    Value::Object(keys.iter().filter_map(of).collect())
}

/// Whether two values are one, a field more included; a null is a field that is not there.
fn is_equal(wanted: &Value, there: &Value) -> bool {
    match (wanted, there) {
        (Value::Object(w), Value::Object(t)) => {
            let wanted = w.iter().filter(|(_, value)| !value.is_null());
            wanted.clone().count() == t.values().filter(|value| !value.is_null()).count()
                && wanted
                    .into_iter()
                    .all(|(key, value)| t.get(key).is_some_and(|other| is_equal(value, other)))
        }
        (Value::Array(w), Value::Array(t)) => {
            w.len() == t.len() && w.iter().zip(t).all(|(w, t)| is_equal(w, t))
        }
        _ => same(wanted, there),
    }
}

/// Numbers are the same when they count the same: `1` and `1.0`.
fn same(wanted: &Value, there: &Value) -> bool {
    match (wanted, there) {
        (Value::Number(w), Value::Number(t)) => w == t || w.as_f64() == t.as_f64(),
        _ => wanted == there,
    }
}

/// A place as people write it: `spec.env[name=A].value`.
pub fn path_text(path: &[String]) -> String {
    let mut text = String::new();
    for part in path {
        if let Some(field) = part.strip_prefix("f:") {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(field);
        } else if let Some(key) = part.strip_prefix("k:") {
            let key: Map<String, Value> = serde_json::from_str(key).unwrap_or_default();
            let parts: Vec<String> = key
                .iter()
                .map(|(name, value)| match value.as_str() {
                    Some(value) => format!("{name}={value}"),
                    None => format!("{name}={value}"),
                })
                .collect();
            text.push_str(&format!("[{}]", parts.join(",")));
        }
    }
    text
}

/// Who wrote the live value at these places: who owns one of them, or else whoever wrote last. Us never: what differs
/// from Git was not written by us.
pub fn last_writer(managed: &[ManagedFieldsEntry], paths: &[FieldPath]) -> Option<String> {
    let others = || {
        managed
            .iter()
            .filter(|entry| !is_ours(entry) && entry.subresource.as_deref() != Some("status"))
    };
    let owner = others().find(|entry| {
        let Some(set) = entry.fields_v1.as_ref().map(|f| &f.0) else {
            return false;
        };
        paths.iter().any(|path| owns(set, path))
    });
    // A field that was removed has no owner any more.
    owner
        .or_else(|| others().max_by_key(|entry| entry.time.as_ref().map(|time| time.0)))
        .and_then(|entry| entry.manager.clone())
}

fn owns(set: &Value, path: &[String]) -> bool {
    let mut here = set;
    for part in path {
        let Some(next) = child(here, part) else {
            return false;
        };
        here = next;
    }
    true
}

/// Keys of list items are JSON inside a string: compared as values, since whitespace is the server's choice.
fn child<'a>(set: &'a Value, part: &str) -> Option<&'a Value> {
    let map = set.as_object()?;
    if let Some(found) = map.get(part) {
        return Some(found);
    }
    let wanted: Value = serde_json::from_str(part.strip_prefix("k:")?).ok()?;
    map.iter()
        .find(|(key, _)| {
            key.strip_prefix("k:")
                .and_then(|text| serde_json::from_str::<Value>(text).ok())
                .is_some_and(|key| key == wanted)
        })
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, Time};
    use serde_json::json;

    use super::*;

    fn entry(manager: &str, operation: &str, fields: Value, second: i64) -> ManagedFieldsEntry {
        ManagedFieldsEntry {
            manager: Some(manager.into()),
            operation: Some(operation.into()),
            api_version: Some("workstead.dev/v1alpha1".into()),
            fields_type: Some("FieldsV1".into()),
            fields_v1: Some(FieldsV1(fields)),
            time: Some(Time(Timestamp::from_second(second).unwrap())),
            subresource: None,
        }
    }

    fn texts(desired: Value, live: Value) -> Vec<String> {
        differences(SyncedKind::Workspace, &desired, &live)
            .iter()
            .map(|path| path_text(path))
            .collect()
    }

    #[test]
    fn what_git_leaves_out_is_free() {
        let desired = json!({"spec": {"image": "a", "env": [{"name": "A", "value": "1"}]}});
        let live = json!({
            "spec": {
                "image": "a",
                "desiredState": "Stopped",
                "env": [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}],
            },
            "status": {"actualState": "Running"},
        });
        assert!(texts(desired, live).is_empty());
    }

    #[test]
    fn changed_missing_and_retyped_fields_are_named() {
        let desired = json!({"spec": {
            "image": "a",
            "storage": {"size": "1Gi"},
            "command": ["sh", "-c"],
            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
        }});
        let live = json!({"spec": {
            "image": "b",
            "command": ["sh"],
            "env": [{"name": "A", "value": "9"}],
        }});
        assert_eq!(
            texts(desired, live),
            [
                "spec.image",
                "spec.storage",
                "spec.command",
                "spec.env[name=A].value",
                "spec.env[name=B]"
            ]
        );
    }

    #[test]
    fn an_item_that_somebody_added_to_a_list_that_is_one_value_is_drift() {
        let secrets = |names: &[&str]| {
            let items: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
            json!({"spec": {"imagePullSecrets": items}})
        };
        let of = |wanted: &[&str], there: &[&str]| {
            let found = differences(
                SyncedKind::WorkspaceClass,
                &secrets(wanted),
                &secrets(there),
            );
            found.iter().map(|path| path_text(path)).collect::<Vec<_>>()
        };
        assert!(of(&["a", "b"], &["a", "b"]).is_empty());
        for there in [&["a", "b", "mine"][..], &["b", "a"], &["a"]] {
            assert_eq!(of(&["a", "b"], there), ["spec.imagePullSecrets"]);
        }
        // Beside it, the same in a map of the other kind is free.
        let env = |names: &[&str]| {
            let items: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
            json!({"spec": {"env": items}})
        };
        assert!(texts(env(&["A"]), env(&["B", "A"])).is_empty());
    }

    #[test]
    fn lists_without_names_are_one_value() {
        let rule = |extra: bool| {
            let mut item = json!({"path": "a", "owners": ["x"]});
            if extra {
                item["more"] = json!(1);
            }
            json!({"spec": {"owners": [item]}})
        };
        assert!(texts(rule(false), rule(false)).is_empty());
        assert_eq!(texts(rule(false), rule(true)), ["spec.owners"]);
        assert_eq!(texts(json!({"l": []}), json!({"l": [1]})), ["l"]);
    }

    #[test]
    fn numbers_compare_by_what_they_count_and_null_is_absence() {
        assert!(texts(json!({"a": 1, "b": null}), json!({"a": 1.0})).is_empty());
        assert_eq!(texts(json!({"a": 1}), json!({"a": "1"})), ["a"]);
    }

    #[test]
    fn client_side_fields_are_taken_over_once() {
        let managed = [
            entry(
                "kubectl-client-side-apply",
                "Update",
                json!({"f:spec": {"f:image": {}, "f:env": {".": {}}}}),
                1,
            ),
            entry(
                "before-first-apply",
                "Update",
                json!({"f:spec": {"f:args": {}}}),
                2,
            ),
            entry(
                "workstead/cli",
                "Apply",
                json!({"f:spec": {"f:desiredState": {}}}),
                3,
            ),
        ];
        let taken = take_over(&managed).unwrap();
        assert_eq!(taken.len(), 2);
        let ours = taken.iter().find(|e| is_ours(e)).unwrap();
        assert_eq!(
            ours.fields_v1.as_ref().unwrap().0,
            json!({"f:spec": {"f:image": {}, "f:env": {".": {}}, "f:args": {}}})
        );
        assert_eq!(take_over(&taken), None);
        assert_eq!(take_over(&managed[2..]), None);
    }

    #[test]
    fn once_we_manage_an_object_kubectl_keeps_what_it_adds() {
        let managed = [
            entry(
                GITSYNC_MANAGER,
                "Apply",
                json!({"f:spec": {"f:image": {}}}),
                1,
            ),
            entry(
                "kubectl-client-side-apply",
                "Update",
                json!({"f:spec": {"f:desiredState": {}}}),
                2,
            ),
        ];
        assert_eq!(take_over(&managed), None);
    }

    #[test]
    fn the_writer_of_a_field_is_its_owner_or_else_the_last_one() {
        let managed = [
            entry(GITSYNC_MANAGER, "Apply", json!({"f:spec": {}}), 9),
            entry(
                "kubectl-edit",
                "Update",
                json!({"f:spec": {"f:env": {"k:{\"name\": \"A\"}": {"f:value": {}}}}}),
                1,
            ),
            entry("other", "Update", json!({"f:metadata": {}}), 2),
        ];
        let changed = differences(
            SyncedKind::Workspace,
            &json!({"spec": {"env": [{"name": "A", "value": "1"}]}}),
            &json!({"spec": {"env": [{"name": "A", "value": "2"}]}}),
        );
        assert_eq!(
            last_writer(&managed, &changed).as_deref(),
            Some("kubectl-edit")
        );
        let removed = differences(
            SyncedKind::Workspace,
            &json!({"spec": {"image": "a"}}),
            &json!({"spec": {}}),
        );
        assert_eq!(last_writer(&managed, &removed).as_deref(), Some("other"));
        assert_eq!(last_writer(&managed[..1], &removed), None);
    }
}
