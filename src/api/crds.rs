//! The CustomResourceDefinitions as they are written to crds/: what the derive gives, plus what it can't say.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::api::{GitSync, Workspace, WorkspaceClass, WorkspaceVariables};

/// All definitions, in the order in which they are installed.
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![
        finished::<WorkspaceClass>(),
        finished::<WorkspaceVariables>(),
        finished::<Workspace>(),
        finished::<GitSync>(),
    ]
}

/// Takes away what the derive adds to optional fields, gives fields back their own descriptions, and `status` a default.
///
/// A default in a spec shows up as a difference in tools that compare Git with the cluster. Without a status
/// default, tools that wait call a fresh object current, so `apply && wait` would return before we looked.
fn finished<K: CustomResourceExt + JsonSchema>() -> CustomResourceDefinition {
    let mut crd = K::crd();
    let written = as_written::<K>();
    for version in &mut crd.spec.versions {
        let Some(root) = version
            .schema
            .as_mut()
            .and_then(|s| s.open_api_v3_schema.as_mut())
        else {
            continue;
        };
        strip(root);
        describe(root, &written);
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

/// The schema before the derive makes it structural: there a field still has the text that stands at the field.
fn as_written<K: JsonSchema>() -> Value {
    SchemaSettings::openapi3()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator()
        .into_root_schema_for::<K>()
        .to_value()
}

/// Gives each field the text that was written for it.
///
/// Where a field may be left out and its values are listed, the derive puts the type's text over the field's. A field
/// without a text of its own keeps the type's.
fn describe(schema: &mut JSONSchemaProps, written: &Value) {
    if let Some(text) = written.get("description").and_then(Value::as_str) {
        schema.description = Some(text.to_owned());
    }
    let fields = written.get("properties");
    for (name, property) in schema.properties.iter_mut().flatten() {
        if let Some(written) = fields.and_then(|fields| fields.get(name)) {
            describe(property, written);
        }
    }
    if let Some(JSONSchemaPropsOrArray::Schema(item)) = &mut schema.items
        && let Some(written) = written.get("items")
    {
        describe(item, written);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(value)) = &mut schema.additional_properties
        && let Some(written) = written.get("additionalProperties")
    {
        describe(value, written);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The description of the field at a path.
    fn description_at<'a>(definition: &'a Value, path: &[&str]) -> Option<&'a str> {
        let root = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        path.iter()
            .fold(root, |schema, name| &schema["properties"][*name])["description"]
            .as_str()
    }

    #[test]
    fn a_field_of_listed_values_shows_its_own_text() {
        let definition = serde_json::to_value(finished::<Workspace>()).unwrap();
        for (path, own) in [
            (["spec", "desiredState"], "Left out, the run state is free"),
            (["status", "actualState"], "What it is now."),
            (["status", "desiredState"], "What it is going to be"),
        ] {
            let shown = description_at(&definition, &path).unwrap();
            assert!(shown.contains(own), "{path:?} shows {shown:?}");
        }
    }

    #[test]
    fn a_field_without_a_text_shows_that_of_its_type() {
        #[derive(JsonSchema)]
        #[allow(dead_code)]
        struct Spec {
            wanted: Option<crate::api::workspace::DesiredState>,
        }
        let mut schema = JSONSchemaProps {
            properties: Some(
                [(
                    "wanted".to_owned(),
                    JSONSchemaProps {
                        description: Some("The type's text.".to_owned()),
                        ..JSONSchemaProps::default()
                    },
                )]
                .into(),
            ),
            ..JSONSchemaProps::default()
        };
        describe(&mut schema, &as_written::<Spec>());
        let wanted = &schema.properties.unwrap()["wanted"];
        assert_eq!(wanted.description.as_deref(), Some("The type's text."));
    }

    #[test]
    fn every_text_at_a_field_is_shown() {
        fn shown(schema: &Value, written: &Value, path: &str, hidden: &mut Vec<String>) {
            let own = &written["description"];
            if own.is_string() && *own != schema["description"] {
                hidden.push(path.to_owned());
            }
            for (name, field) in written["properties"].as_object().into_iter().flatten() {
                let path = format!("{path}.{name}");
                shown(&schema["properties"][name], field, &path, hidden);
            }
            for below in ["items", "additionalProperties"] {
                if written[below].is_object() {
                    shown(
                        &schema[below],
                        &written[below],
                        &format!("{path}[]"),
                        hidden,
                    );
                }
            }
        }
        fn hidden<K: CustomResourceExt + JsonSchema>() -> Vec<String> {
            let definition = serde_json::to_value(finished::<K>()).unwrap();
            let root = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            let mut hidden = Vec::new();
            shown(root, &as_written::<K>(), "", &mut hidden);
            hidden
        }
        let hidden = [
            hidden::<WorkspaceClass>(),
            hidden::<WorkspaceVariables>(),
            hidden::<Workspace>(),
            hidden::<GitSync>(),
        ]
        .concat();
        assert!(hidden.is_empty(), "{hidden:#?}");
    }
}
