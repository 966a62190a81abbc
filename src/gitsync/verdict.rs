//! The verdict on an object before the API server sees it: the same as that of a strict dry run.
//!
//! Schema and rules come from [`crate::api::crds::all`], the very definitions that are installed. Three things only the
//! cluster can tell: rules that compare with the old object, admission policies, and whether a namespace is there.

mod metadata;
mod schema;
mod walk;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube_cel::{CompiledSchema, Validator, compile_schema};
use serde_json::Value;

use crate::api::gitsync::SyncedKind;
use crate::yaml::{Step, parse_path, path_text};

use schema::Schema;
use walk::Nulls;

/// What kind of fault; some keep the server from evaluating rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// A field that the schema doesn't know.
    Unknown,
    /// A value of another type.
    Type,
    /// A field is missing.
    Required,
    /// A value that is not one of those allowed.
    Enum,
    /// Too long, or too many.
    TooLong,
    /// An item that is there twice.
    Duplicate,
    /// Anything else about a value.
    Invalid,
    /// A rule of the kind is broken.
    Rule,
}

/// One thing wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind of fault.
    pub fault: Fault,
    /// Which field.
    pub path: Vec<Step>,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Finding {
    fn new(fault: Fault, path: &[Step], message: impl Into<String>) -> Self {
        Self {
            fault,
            path: path.to_vec(),
            message: message.into(),
        }
    }

    /// Whether the server then leaves the rules alone: they could not be evaluated on such a value.
    const fn blocks_rules(&self) -> bool {
        matches!(
            self.fault,
            Fault::Type | Fault::Required | Fault::Enum | Fault::TooLong
        )
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = path_text(&self.path);
        if !path.is_empty() {
            write!(f, "{path}: ")?;
        }
        f.write_str(&self.message)
    }
}

struct Definition {
    schema: Schema,
    rules: CompiledSchema,
}

static DEFINITIONS: LazyLock<BTreeMap<SyncedKind, Definition>> = LazyLock::new(|| {
    crate::api::crds::all()
        .iter()
        .filter_map(|crd| {
            let kind = SyncedKind::from_name(&crd.spec.names.kind)?;
            Some((kind, compile(crd, &mut Vec::new())?))
        })
        .collect()
});

fn compile(crd: &CustomResourceDefinition, unsupported: &mut Vec<String>) -> Option<Definition> {
    let source = crd.spec.versions.first()?.schema.as_ref()?;
    let source = source.open_api_v3_schema.as_ref()?;
    let json = serde_json::to_value(source).ok()?;
    let rules = compile_schema(&json);
    unsupported.extend(rules.compilation_errors().iter().map(ToString::to_string));
    Some(Definition {
        schema: Schema::compile(source, unsupported),
        rules,
    })
}

/// Takes fields away that are null and may not be: left out, as the server reads them when an object is created. Applied
/// on the server's side they would be refused instead.
pub(super) fn prune_nulls(kind: SyncedKind, object: &mut Value) {
    if let (Some(definition), Value::Object(map)) = (DEFINITIONS.get(&kind), object) {
        for (field, value) in map {
            if let Some(schema) = definition.schema.property(field)
                && field != "metadata"
            {
                walk::prune_nulls(schema, value, Nulls::Forbidden);
            }
        }
    }
}

/// Gives verdicts. Make one for many objects: it holds the functions that rules call.
pub struct Verdict {
    rules: Validator,
}

impl Default for Verdict {
    fn default() -> Self {
        Self {
            rules: Validator::new(),
        }
    }
}

impl Verdict {
    /// Everything that is wrong with an object, as `kubectl apply` would be told; with the old object, rules that
    /// compare are evaluated too.
    pub fn findings(&self, kind: SyncedKind, object: &Value, old: Option<&Value>) -> Vec<Finding> {
        let mut found = Vec::new();
        let Some(definition) = DEFINITIONS.get(&kind) else {
            found.push(Finding::new(
                Fault::Invalid,
                &[Step::Key("kind".to_owned())],
                "this kind has no definition",
            ));
            return found;
        };
        metadata::find_wrong(object, kind.is_namespaced(), &mut found);
        // The server's own fields are checked above; `status` is dropped before the schema is looked at.
        let mut bare = object.clone();
        if let Value::Object(map) = &mut bare {
            map.retain(|field, _| !matches!(field.as_str(), "apiVersion" | "kind" | "metadata"));
        }
        walk::find_unknown(&definition.schema, &bare, &mut found);
        if let Value::Object(map) = &mut bare {
            map.shift_remove("status");
        }
        walk::prune_nulls(&definition.schema, &mut bare, Nulls::Forbidden);
        walk::find_wrong(&definition.schema, &bare, &mut found);
        if !found.iter().any(Finding::blocks_rules) {
            self.broken_rules(definition, object, bare, old, &mut found);
        }
        found
    }

    fn broken_rules(
        &self,
        definition: &Definition,
        object: &Value,
        mut bare: Value,
        old: Option<&Value>,
        found: &mut Vec<Finding>,
    ) {
        walk::prune_nulls(&definition.schema, &mut bare, Nulls::All);
        if let (Value::Object(map), Some(metadata)) = (&mut bare, object.get("metadata")) {
            map.insert("metadata".to_owned(), metadata.clone());
        }
        let Err(errors) = self.rules.validate_compiled(&definition.rules, &bare, old) else {
            return;
        };
        for error in errors {
            let path = parse_path(&error.field_path);
            found.push(Finding::new(Fault::Rule, &path, error.message));
        }
    }
}

#[cfg(test)]
mod tests;
