//! Holds a value against a schema, as the API server does, and names every field that is wrong.

use jiff::Timestamp;
use serde_json::{Map, Number, Value};

use super::schema::{ListType, Schema, Type};
use super::{Fault, Finding, MOST};
use crate::yaml::Step;

/// Longest value that a message repeats.
const SHOWN: usize = 60;

/// Fields that the schema doesn't know, whatever the rest is like: the server looks for them first.
pub(super) fn find_unknown(schema: &Schema, value: &Value, found: &mut Vec<Finding>) {
    unknown(schema, value, &mut Vec::new(), found);
}

fn unknown(schema: &Schema, value: &Value, path: &mut Vec<Step>, found: &mut Vec<Finding>) {
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                if found.len() > MOST {
                    return;
                }
                path.push(Step::Key(name.clone()));
                match schema.property(name) {
                    Some(property) => unknown(property, inner, path, found),
                    None if schema.keeps_unknown || schema.type_ != Type::Object => {}
                    None => found.push(Finding::new(
                        Fault::Unknown,
                        path,
                        unknown_field(schema, name),
                    )),
                }
                path.pop();
            }
        }
        Value::Array(items) => {
            let Some(schema) = &schema.items else {
                return;
            };
            for (index, item) in items.iter().enumerate() {
                path.push(Step::Index(index));
                unknown(schema, item, path, found);
                path.pop();
            }
        }
        _ => {}
    }
}

fn unknown_field(schema: &Schema, name: &str) -> String {
    let near = schema
        .properties
        .keys()
        .map(|known| (distance(known, name), known))
        .min();
    match near {
        Some((distance, known)) if distance <= 2.max(name.chars().count() / 4) => {
            format!("unknown field: did you mean '{known}'?")
        }
        _ => "unknown field".to_owned(),
    }
}

/// How many letters differ (Levenshtein), whatever their case. Both are short: field names, and what stands for one.
fn distance(known: &str, written: &str) -> usize {
    let known: Vec<char> = known.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=known.len()).collect();
    for (line, letter) in written.to_lowercase().chars().take(64).enumerate() {
        let mut diagonal = line;
        let mut left = line + 1;
        for (cell, other) in row.iter_mut().skip(1).zip(&known) {
            let change = diagonal + usize::from(*other != letter);
            diagonal = *cell;
            left = change.min(left + 1).min(diagonal + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = line + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

/// Which fields that are null are taken away.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Nulls {
    /// Those that may not be null, as the server does before it looks at anything else.
    Forbidden,
    /// All, as the server does before it evaluates the rules of a field.
    All,
}

/// Takes fields away that are null.
pub(super) fn prune_nulls(schema: &Schema, value: &mut Value, which: Nulls) {
    match value {
        Value::Object(map) => {
            map.retain(|name, inner| {
                let may_be = schema.property(name).is_none_or(|p| p.nullable);
                !inner.is_null() || (may_be && which == Nulls::Forbidden)
            });
            for (name, inner) in map {
                if let Some(property) = schema.property(name) {
                    prune_nulls(property, inner, which);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = &schema.items {
                items
                    .iter_mut()
                    .for_each(|item| prune_nulls(schema, item, which));
            }
        }
        _ => {}
    }
}

/// Everything that is wrong with a value, unknown fields aside.
pub(super) fn find_wrong(schema: &Schema, value: &Value, found: &mut Vec<Finding>) {
    Walk {
        path: Vec::new(),
        found,
    }
    .value(schema, value);
}

struct Walk<'a> {
    path: Vec<Step>,
    found: &'a mut Vec<Finding>,
}

impl Walk<'_> {
    fn report(&mut self, fault: Fault, message: impl Into<String>) {
        self.found.push(Finding::new(fault, &self.path, message));
    }

    fn value(&mut self, schema: &Schema, value: &Value) {
        if self.found.len() > MOST {
            return;
        }
        let may_be_null = schema.nullable || schema.type_ == Type::Any;
        if value.is_null() && may_be_null && schema.allowed.is_empty() {
            return;
        }
        let is_allowed_null = value.is_null() && may_be_null;
        if !is_allowed_null && !fits(schema.type_, value) {
            self.report(Fault::Type, wrong_type(schema.type_, value));
            return;
        }
        if !schema.allowed.is_empty() && !schema.allowed.contains(value) {
            self.report(Fault::Enum, not_allowed(&schema.allowed, value));
        }
        match value {
            Value::Object(map) => self.object(schema, map),
            Value::Array(items) => self.array(schema, items),
            Value::String(text) => self.text(schema, text),
            Value::Number(number) => self.number(schema, number),
            _ => {}
        }
    }

    fn object(&mut self, schema: &Schema, map: &Map<String, Value>) {
        for name in &schema.required {
            if !map.contains_key(name) {
                self.path.push(Step::Key(name.clone()));
                self.report(Fault::Required, "is missing");
                self.path.pop();
            }
        }
        self.size("entry", "entries", map.len(), schema.properties_count);
        for (name, inner) in map {
            if let Some(property) = schema.property(name) {
                self.path.push(Step::Key(name.clone()));
                self.value(property, inner);
                self.path.pop();
            }
        }
    }

    fn array(&mut self, schema: &Schema, items: &[Value]) {
        self.size("item", "items", items.len(), schema.items_count);
        self.duplicates(schema, items);
        let Some(schema) = &schema.items else {
            return;
        };
        for (index, item) in items.iter().enumerate() {
            self.path.push(Step::Index(index));
            self.value(schema, item);
            self.path.pop();
        }
    }

    fn duplicates(&mut self, schema: &Schema, items: &[Value]) {
        let mut seen = std::collections::BTreeMap::new();
        for (index, item) in items.iter().enumerate() {
            let (identity, words) = match &schema.list {
                ListType::Atomic => return,
                ListType::Set => (item.to_string(), shown(item)),
                ListType::Map(keys) => {
                    let parts: Vec<&Value> = keys
                        .iter()
                        .map(|k| item.get(k).unwrap_or(&Value::Null))
                        .collect();
                    let named: Vec<String> = keys
                        .iter()
                        .zip(&parts)
                        .map(|(k, v)| format!("{k} {}", shown(v)))
                        .collect();
                    (format!("{parts:?}"), named.join(", "))
                }
            };
            if self.found.len() > MOST {
                return;
            }
            if let Some(first) = seen.insert(identity, index) {
                self.path.push(Step::Index(index));
                self.report(
                    Fault::Duplicate,
                    format!("{words} is there already, as item {first}: give each its own"),
                );
                self.path.pop();
            }
        }
    }

    fn text(&mut self, schema: &Schema, text: &str) {
        let length = text.chars().count();
        match schema.length {
            (Some(1), _) if length == 0 => self.report(Fault::Invalid, "is empty: write a value"),
            (Some(min), _) if length < min => {
                self.report(
                    Fault::Invalid,
                    format!("has {length} characters, at least {min} are needed"),
                );
            }
            (_, Some(max)) if length > max => {
                self.report(
                    Fault::TooLong,
                    format!("has {length} characters, at most {max} are allowed"),
                );
            }
            _ => {}
        }
        if schema.is_time && text.parse::<Timestamp>().is_err() {
            let text = shown(&Value::String(text.to_owned()));
            self.report(
                Fault::Invalid,
                format!("{text} is no time: write for example 2026-03-01T12:00:00Z"),
            );
        }
        if let Some(pattern) = &schema.pattern
            && !pattern.is_match(text)
        {
            let text = shown(&Value::String(text.to_owned()));
            self.report(Fault::Invalid, format!("{text} {}", schema.form));
        }
    }

    fn number(&mut self, schema: &Schema, number: &Number) {
        let Some(value) = number.as_f64() else {
            return;
        };
        if let Some(min) = schema.minimum.filter(|min| value < *min) {
            self.report(
                Fault::Invalid,
                format!("{number} is too small: {min} is the least"),
            );
        }
        if let Some(max) = schema.maximum.filter(|max| value > *max) {
            self.report(
                Fault::Invalid,
                format!("{number} is too large: {max} is the most"),
            );
        }
    }

    fn size(
        &mut self,
        one: &str,
        many: &str,
        count: usize,
        bounds: (Option<usize>, Option<usize>),
    ) {
        let words = if count == 1 { one } else { many };
        if let Some(max) = bounds.1.filter(|max| count > *max) {
            self.report(
                Fault::TooLong,
                format!("has {count} {words}, at most {max} are allowed"),
            );
        }
        if let Some(min) = bounds.0.filter(|min| count < *min) {
            self.report(
                Fault::Invalid,
                format!("has {count} {words}, at least {min} are needed"),
            );
        }
    }
}

fn fits(type_: Type, value: &Value) -> bool {
    // A float without a fraction counts as an integer for the server, but what 64 bits with a sign can't hold does not.
    const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;
    let whole = |number: &Number| {
        number.is_i64()
            || number
                .as_f64()
                .is_some_and(|f| f.fract() == 0.0 && f.abs() < TWO_TO_63)
    };
    match (type_, value) {
        (Type::Any, _)
        | (Type::Object, Value::Object(_))
        | (Type::Array, Value::Array(_))
        | (Type::Text | Type::IntOrText, Value::String(_))
        | (Type::Bool, Value::Bool(_))
        | (Type::Number, Value::Number(_)) => true,
        (Type::Integer | Type::IntOrText, Value::Number(number)) => whole(number),
        _ => false,
    }
}

fn wrong_type(type_: Type, value: &Value) -> String {
    let hint = match (type_, value) {
        (Type::Text, Value::Number(_) | Value::Bool(_)) => ": put it into quotes",
        (Type::Integer | Type::Number | Type::Bool, Value::String(_)) => {
            ": write it without quotes"
        }
        (Type::Array, _) => ": begin each item with '- '",
        _ => "",
    };
    let is = match value {
        Value::Null => "empty".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        plain => shown(plain),
    };
    format!("must be {}, is {is}{hint}", type_.words())
}

fn not_allowed(allowed: &[Value], value: &Value) -> String {
    let names: Vec<String> = allowed
        .iter()
        .map(|value| {
            value
                .as_str()
                .map_or_else(|| value.to_string(), ToOwned::to_owned)
        })
        .collect();
    format!("{} is not one of {}", shown(value), names.join(", "))
}

/// A value for a message, cut where it is long.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= SHOWN {
        return text;
    }
    let cut: String = text.chars().take(SHOWN).collect();
    format!("{cut}…")
}
