//! A structural schema, compiled once: what our definitions use of OpenAPI, and nothing else.
//!
//! Written by hand rather than taken from a JSON Schema crate: the API server's dialect (pruned nulls, list maps,
//! int-or-string, unknown fields by name) is not JSON Schema, and errors need the path of the field, not of the schema.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use regex::Regex;
use serde_json::Value;

use crate::api::shared::form_in_words;

/// What kind of value a schema wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Object,
    Array,
    Text,
    Integer,
    Number,
    Bool,
    IntOrText,
    Any,
}

impl Type {
    /// In words, for messages.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Object => "a mapping",
            Self::Array => "a list",
            Self::Text => "text",
            Self::Integer => "a whole number",
            Self::Number => "a number",
            Self::Bool => "true or false",
            Self::IntOrText => "a whole number or text",
            Self::Any => "anything",
        }
    }
}

/// How items of a list are told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ListType {
    /// Not at all.
    Atomic,
    /// No item twice.
    Set,
    /// By these keys.
    Map(Vec<String>),
}

/// A compiled schema.
#[derive(Debug)]
pub(super) struct Schema {
    pub(super) type_: Type,
    pub(super) nullable: bool,
    pub(super) keeps_unknown: bool,
    pub(super) properties: BTreeMap<String, Schema>,
    pub(super) additional: Option<Box<Schema>>,
    pub(super) items: Option<Box<Schema>>,
    pub(super) list: ListType,
    pub(super) required: Vec<String>,
    pub(super) allowed: Vec<Value>,
    pub(super) pattern: Option<Regex>,
    /// Whether it is a moment, as the API server reads them.
    pub(super) is_time: bool,
    /// What to say of a text that does not have the form of the pattern.
    pub(super) form: &'static str,
    pub(super) minimum: Option<f64>,
    pub(super) maximum: Option<f64>,
    pub(super) length: (Option<usize>, Option<usize>),
    pub(super) items_count: (Option<usize>, Option<usize>),
    pub(super) properties_count: (Option<usize>, Option<usize>),
}

impl Schema {
    /// Compiles a schema; what it uses beyond our subset is named in `unsupported`.
    pub(super) fn compile(source: &JSONSchemaProps, unsupported: &mut Vec<String>) -> Self {
        note_unsupported(source, unsupported);
        let mut compile = |schema: &JSONSchemaProps| Self::compile(schema, unsupported);
        let properties = source
            .properties
            .iter()
            .flatten()
            .map(|(name, property)| (name.clone(), compile(property)))
            .collect();
        let items = match &source.items {
            Some(JSONSchemaPropsOrArray::Schema(item)) => Some(Box::new(compile(item))),
            _ => None,
        };
        let additional = match &source.additional_properties {
            Some(JSONSchemaPropsOrBool::Schema(value)) => Some(Box::new(compile(value))),
            _ => None,
        };
        let pattern = source.pattern.as_deref().map(Regex::new);
        if let Some(Err(error)) = &pattern {
            unsupported.push(format!("pattern: {error}"));
        }
        Self {
            type_: type_of(source),
            nullable: source.nullable == Some(true),
            keeps_unknown: source.x_kubernetes_preserve_unknown_fields == Some(true)
                || source.additional_properties == Some(JSONSchemaPropsOrBool::Bool(true)),
            properties,
            additional,
            items,
            list: match source.x_kubernetes_list_type.as_deref() {
                Some("set") => ListType::Set,
                Some("map") => ListType::Map(
                    source
                        .x_kubernetes_list_map_keys
                        .clone()
                        .unwrap_or_default(),
                ),
                _ => ListType::Atomic,
            },
            required: source.required.clone().unwrap_or_default(),
            allowed: source
                .enum_
                .iter()
                .flatten()
                .map(|json| json.0.clone())
                .collect(),
            pattern: pattern.and_then(Result::ok),
            is_time: source.format.as_deref() == Some("date-time"),
            form: source
                .pattern
                .as_deref()
                .and_then(form_in_words)
                .unwrap_or_default(),
            minimum: source.minimum,
            maximum: source.maximum,
            length: bounds(source.min_length, source.max_length),
            items_count: bounds(source.min_items, source.max_items),
            properties_count: bounds(source.min_properties, source.max_properties),
        }
    }

    /// The schema of a property, named or any.
    pub(super) fn property(&self, name: &str) -> Option<&Self> {
        self.properties.get(name).or(self.additional.as_deref())
    }
}

fn bounds(min: Option<i64>, max: Option<i64>) -> (Option<usize>, Option<usize>) {
    let size = |bound: i64| usize::try_from(bound).ok();
    (min.and_then(size), max.and_then(size))
}

fn type_of(source: &JSONSchemaProps) -> Type {
    if source.x_kubernetes_int_or_string == Some(true) {
        return Type::IntOrText;
    }
    match source.type_.as_deref() {
        Some("object") => Type::Object,
        Some("array") => Type::Array,
        Some("string") => Type::Text,
        Some("integer") => Type::Integer,
        Some("number") => Type::Number,
        Some("boolean") => Type::Bool,
        _ => Type::Any,
    }
}

/// Names what the walker does not check. A test keeps this empty for our definitions.
fn note_unsupported(source: &JSONSchemaProps, unsupported: &mut Vec<String>) {
    let checks = [
        (source.ref_path.is_some(), "$ref"),
        (source.all_of.is_some(), "allOf"),
        (source.any_of.is_some(), "anyOf"),
        (source.one_of.is_some(), "oneOf"),
        (source.not.is_some(), "not"),
        (source.pattern_properties.is_some(), "patternProperties"),
        (source.dependencies.is_some(), "dependencies"),
        (source.unique_items == Some(true), "uniqueItems"),
        (source.multiple_of.is_some(), "multipleOf"),
        (source.exclusive_maximum == Some(true), "exclusiveMaximum"),
        (source.exclusive_minimum == Some(true), "exclusiveMinimum"),
        (
            source.x_kubernetes_embedded_resource == Some(true),
            "x-kubernetes-embedded-resource",
        ),
        (
            matches!(source.items, Some(JSONSchemaPropsOrArray::Schemas(_))),
            "items: [...]",
        ),
        (
            source.additional_properties == Some(JSONSchemaPropsOrBool::Bool(false)),
            "additionalProperties: false",
        ),
    ];
    unsupported.extend(
        checks
            .iter()
            .filter(|(used, _)| *used)
            .map(|(_, name)| (*name).to_owned()),
    );
    // The API server ignores formats it does not know, those of numbers among them; the others it checks.
    if let (Some("string"), Some(format)) = (source.type_.as_deref(), source.format.as_deref())
        && format != "date-time"
    {
        unsupported.push(format!("format: {format}"));
    }
    if let Some(pattern) = &source.pattern
        && form_in_words(pattern).is_none()
    {
        unsupported.push(format!("pattern without words: {pattern}"));
    }
    // Go's \d, \w, \s and \b are ASCII, those of the regex crate are not.
    if let Some(pattern) = &source.pattern
        && ["\\d", "\\w", "\\s", "\\b", "\\D", "\\W", "\\S", "\\B"]
            .iter()
            .any(|class| pattern.contains(class))
    {
        unsupported.push(format!("pattern with a class: {pattern}"));
    }
}
