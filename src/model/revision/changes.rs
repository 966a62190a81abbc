//! What differs between two pod templates, as the author of a Workspace calls it.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, PodTemplateSpec};
use serde::Serialize;
use serde_json::Value;
use workstead_link::{PLAN_VARIABLE, SECRETS_VARIABLE};

use crate::api::workspace::{ChangeEffect, PendingChange};
use crate::model::inside;
use crate::model::names::MAIN_CONTAINER;

/// What differs between the pinned template and the one that would be made now, by field.
pub fn pending_changes(
    pinned: &PodTemplateSpec,
    rendered: &PodTemplateSpec,
    restart_asked: bool,
) -> Vec<PendingChange> {
    if pinned == rendered {
        return Vec::new();
    }
    let effect = change_effect(restart_asked);
    let mut fields = differing_fields(&to_value(pinned), &to_value(rendered));
    let sealed = sealed_names(pinned, rendered);
    for field in &mut fields {
        *field = as_users_call_it(field, &sealed);
    }
    // The plan is one variable to Kubernetes, and several fields to whoever wrote the Workspace.
    let told = format!("spec.env[{PLAN_VARIABLE}]");
    if let Some(at) = fields.iter().position(|field| *field == told) {
        fields.remove(at);
        fields.extend(inside::plan_changes(plan_of(pinned), plan_of(rendered)));
    }
    fields.sort();
    fields.dedup();
    fields
        .into_iter()
        .map(|field| PendingChange { field, effect })
        .collect()
}

/// The plan in a template, as it stands there.
pub(crate) fn plan_of(template: &PodTemplateSpec) -> Option<&str> {
    let main = |container: &&Container| container.name == MAIN_CONTAINER;
    let container = template.spec.as_ref()?.containers.iter().find(main)?;
    let variables = container.env.as_deref().unwrap_or_default();
    let plan = variables.iter().find(|one| one.name == PLAN_VARIABLE)?;
    plan.value.as_deref()
}

/// When a change of what was pinned takes effect.
pub fn change_effect(restart_asked: bool) -> ChangeEffect {
    if restart_asked {
        ChangeEffect::RestartNow
    } else {
        ChangeEffect::NextStart
    }
}

/// What differs between two objects, by field. Items of lists that have a name are told apart by it.
pub fn differing_fields(before: &Value, after: &Value) -> Vec<String> {
    let mut fields = Vec::new();
    walk("", before, after, &mut fields);
    fields
}

fn to_value<T: Serialize>(value: &T) -> Value {
    // Kubernetes types always serialize: their maps have text keys.
    serde_json::to_value(value).unwrap_or(Value::Null)
}

fn walk(path: &str, before: &Value, after: &Value, fields: &mut Vec<String>) {
    if before == after {
        return;
    }
    match (before, after) {
        (Value::Object(one), Value::Object(other)) => {
            let keys = one
                .keys()
                .chain(other.keys().filter(|key| !one.contains_key(*key)));
            for key in keys {
                let inner = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                let none = Value::Null;
                walk(
                    &inner,
                    one.get(key).unwrap_or(&none),
                    other.get(key).unwrap_or(&none),
                    fields,
                );
            }
        }
        (Value::Array(one), Value::Array(other)) if by_name(one) && by_name(other) => {
            let name_of =
                |item: &Value| item.get("name").and_then(Value::as_str).map(str::to_owned);
            let find = |list: &[Value], name: &str| {
                list.iter()
                    .find(|item| name_of(item).as_deref() == Some(name))
                    .cloned()
                    .unwrap_or(Value::Null)
            };
            let mut names: Vec<String> = one.iter().chain(other).filter_map(name_of).collect();
            names.sort();
            names.dedup();
            for name in names {
                walk(
                    &format!("{path}[{name}]"),
                    &find(one, &name),
                    &find(other, &name),
                    fields,
                );
            }
        }
        // What appears or goes as a whole is one difference.
        _ => fields.push(path.to_owned()),
    }
}

fn by_name(list: &[Value]) -> bool {
    !list.is_empty()
        && list
            .iter()
            .all(|item| item.get("name").is_some_and(Value::is_string))
}

/// Names of variables that come from a Secret before or after.
fn sealed_names(pinned: &PodTemplateSpec, rendered: &PodTemplateSpec) -> BTreeSet<String> {
    let specs = [pinned, rendered]
        .into_iter()
        .filter_map(|template| template.spec.as_ref());
    let containers = specs.flat_map(|spec| &spec.containers);
    let variables = containers.flat_map(|container| container.env.iter().flatten());
    variables
        .filter(|variable| variable.value_from.is_some())
        .map(|variable| variable.name.clone())
        .collect()
}

/// Whether a field of the template carries what sealed sets and Secrets bring: that is many fields, and one to whoever
/// wrote the Workspace.
fn is_of_variables(field: &str, sealed: &BTreeSet<String>) -> bool {
    let main = format!("spec.containers[{MAIN_CONTAINER}].");
    let named = field
        .strip_prefix(&main)
        .and_then(|rest| rest.strip_prefix("env["));
    let name = named.and_then(|rest| rest.split(']').next());
    // Which of them are secret is told to the first process, and differs with them.
    name.is_some_and(|name| sealed.contains(name) || name == SECRETS_VARIABLE)
        || field.starts_with("spec.volumes[files]")
        || field.starts_with(&format!("{main}volumeMounts[files]"))
}

/// The field of the Workspace that a field of the template comes from; else the field of the pod.
fn as_users_call_it(field: &str, sealed: &BTreeSet<String>) -> String {
    if is_of_variables(field, sealed) {
        return "spec.variables".to_owned();
    }
    let main = format!("spec.containers[{MAIN_CONTAINER}].");
    let Some(rest) = field.strip_prefix(&main) else {
        return match field.strip_prefix("spec.") {
            Some("terminationGracePeriodSeconds") => "spec.timeouts.stopping".to_owned(),
            Some(rest) => format!("pod.{rest}"),
            None => format!("pod.{field}"),
        };
    };
    let top = rest.split(['.', '[']).next().unwrap_or_default();
    match top {
        "image" => "spec.image".to_owned(),
        "command" | "args" => "spec.command".to_owned(),
        "resources" => format!("spec.{rest}"),
        "env" => format!("spec.{}", rest.strip_suffix(".value").unwrap_or(rest)),
        _ => format!("pod.{rest}"),
    }
}
