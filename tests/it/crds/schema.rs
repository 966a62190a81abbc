//! Looking into the schemas.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;

/// A CEL rule of a schema.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    pub kind: String,
    pub path: String,
    pub message: String,
}

/// The schema of the only version.
pub fn root(definition: &CustomResourceDefinition) -> Value {
    let schema = definition.spec.versions[0].schema.clone().unwrap();
    serde_json::to_value(schema.open_api_v3_schema.unwrap()).unwrap()
}

/// Every rule, with the path of what it judges.
pub fn rules(definition: &CustomResourceDefinition) -> Vec<Rule> {
    let kind = &definition.spec.names.kind;
    let mut found = Vec::new();
    walk("", &root(definition), &mut |path, schema| {
        for rule in list(&schema["x-kubernetes-validations"]) {
            found.push(Rule {
                kind: kind.clone(),
                path: path.to_owned(),
                message: rule["message"].as_str().unwrap_or_default().to_owned(),
            });
        }
    });
    found
}

/// Fields without a description.
pub fn undescribed(definition: &CustomResourceDefinition) -> Vec<String> {
    let mut found = Vec::new();
    walk("", &root(definition), &mut |path, schema| {
        let is_own = !matches!(path, ".apiVersion" | ".kind" | ".metadata");
        let is_item = path.ends_with("[]") || path.ends_with("{}");
        if is_own && !is_item && schema["description"].as_str().is_none_or(str::is_empty) {
            found.push(path.to_owned());
        }
    });
    found
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn walk(path: &str, schema: &Value, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, schema);
    if let Some(properties) = schema["properties"].as_object() {
        for (name, property) in properties {
            walk(&format!("{path}.{name}"), property, visit);
        }
    }
    if schema["items"].is_object() {
        walk(&format!("{path}[]"), &schema["items"], visit);
    }
    if schema["additionalProperties"].is_object() {
        walk(
            &format!("{path}{{}}"),
            &schema["additionalProperties"],
            visit,
        );
    }
}
