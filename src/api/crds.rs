//! The CustomResourceDefinitions as they are written to crds/: what the derive gives, plus what it can't say.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use crate::api::{GitSync, Workspace, WorkspaceClass};

/// All definitions, in the order in which they are installed.
pub fn all() -> Vec<CustomResourceDefinition> {
    [WorkspaceClass::crd(), Workspace::crd(), GitSync::crd()]
        .into_iter()
        .map(finish)
        .collect()
}

/// Takes away what the derive adds to optional fields, and gives `status` a default.
///
/// A default in a spec shows up as a difference in tools that compare Git with the cluster. Without a status
/// default, tools that wait call a fresh object current, so `apply && wait` would return before we looked.
fn finish(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let Some(root) = version
            .schema
            .as_mut()
            .and_then(|s| s.open_api_v3_schema.as_mut())
        else {
            continue;
        };
        strip(root);
        if let Some(status) = root.properties.as_mut().and_then(|p| p.get_mut("status")) {
            status.default = Some(JSON(serde_json::json!({ "observedGeneration": -1 })));
        }
    }
    crd
}

/// Takes away defaults of empty lists, and `nullable`: with it some fields would accept null and others, whose values
/// are listed, would not. Without it the server drops a null where a field may be left out. Formats of unsigned numbers
/// go too, since the server does not know them and warns; the least value says the same.
fn strip(schema: &mut JSONSchemaProps) {
    schema.default = None;
    schema.nullable = None;
    if schema
        .format
        .as_deref()
        .is_some_and(|format| format.starts_with("uint"))
    {
        schema.format = None;
    }
    for property in schema.properties.iter_mut().flat_map(|p| p.values_mut()) {
        strip(property);
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(item)) => strip(item),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(strip),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(value)) = &mut schema.additional_properties {
        strip(value);
    }
}
