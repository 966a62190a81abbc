//! The verdict on an object before the API server sees it: the same as that of a strict dry run.
//!
//! Schema and rules come from [`crate::api::crds::all`], the very definitions that are installed. Three things only the
//! cluster can tell: rules that compare with the old object, admission policies, and whether a namespace is there.

mod metadata;
mod runnable;
mod schema;
mod shape;
mod walk;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube_cel::{CompiledSchema, ErrorKind, ValidationError, Validator, compile_schema};
use serde_json::Value;

use crate::api::gitsync::SyncedKind;
use crate::yaml::{Step, parse_path, path_text};

use schema::Schema;
pub use shape::{Items, Shape};
use walk::Nulls;

/// So many things wrong with one object are told. Each costs a look through the object; who has more wrote no object of
/// ours.
const MOST: usize = 100;

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
    /// Everything that is wrong with an object (or the first hundred things), as `kubectl apply` would be told; with the old object, rules that
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
        if found.len() > MOST {
            found.truncate(MOST);
            let message = format!("more than {MOST} things are wrong: these are the first");
            found.push(Finding::new(Fault::TooLong, &[], message));
        }
        if !found.iter().any(Finding::blocks_rules) {
            self.broken_rules(definition, object, bare, old, &mut found);
        }
        found
    }

    /// What no server refuses and no controller can run, by what the file alone says: an amount of a resource that there
    /// is none of, a variable that is reserved, a class's default over its cap. Asked of an object without findings.
    pub fn unrunnable(kind: SyncedKind, object: &Value) -> Vec<Finding> {
        runnable::find_wrong(kind, object)
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
        let wrong: Vec<Vec<Step>> = found.iter().map(|finding| finding.path.clone()).collect();
        for error in errors {
            let path = place_of_rule(&error);
            if !follows_from(&wrong, &path, &error) {
                found.push(Finding::new(Fault::Rule, &path, error.message));
            }
        }
    }
}

/// The field that a rule speaks of. Rules on the name stand at the root, where alone they can see it.
fn place_of_rule(error: &ValidationError) -> Vec<Step> {
    let path = parse_path(&error.field_path);
    if path.is_empty() && error.rule.contains("self.metadata.name") {
        return ["metadata", "name"]
            .map(|name| Step::Key(name.to_owned()))
            .into();
    }
    path
}

/// Whether a rule is broken only because what it looks at is wrong in itself, which is said already: it judges such a
/// value, or it could not be evaluated over one.
fn follows_from(wrong: &[Vec<Step>], path: &[Step], error: &ValidationError) -> bool {
    let unevaluated = error.kind == ErrorKind::EvaluationError;
    wrong
        .iter()
        .any(|known| path.starts_with(known) || (unevaluated && known.starts_with(path)))
}

#[cfg(test)]
mod tests;
