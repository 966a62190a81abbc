//! Values with the places where they were written.

use std::fmt::Write as _;

/// A place in a file: line and column from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl From<Place> for (u32, u32) {
    fn from(place: Place) -> Self {
        (place.line, place.column)
    }
}

/// A value and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub value: Value,
}

/// A value of a document.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A number.
    Number(serde_json::Number),
    /// A text.
    Text(String),
    /// A sequence.
    Sequence(Vec<Node>),
    /// A mapping, in the order of writing.
    Mapping(Vec<Entry>),
}

/// A key of a mapping with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub place: Place,
    /// Its value.
    pub node: Node,
}

/// A step from a value to one inside it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// To the value of a key.
    Key(String),
    /// To an item, from 0.
    Index(usize),
}

impl Node {
    /// As JSON; keys keep their order.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(bool) => Json::Bool(*bool),
            Value::Number(number) => Json::Number(number.clone()),
            Value::Text(text) => Json::String(text.clone()),
            Value::Sequence(items) => Json::Array(items.iter().map(Self::to_json).collect()),
            Value::Mapping(entries) => Json::Object(
                entries
                    .iter()
                    .map(|entry| (entry.key.clone(), entry.node.to_json()))
                    .collect(),
            ),
        }
    }

    /// Whether it is `null` or nothing.
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// The value of a key, if it is a mapping.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Mapping(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Where the value of a path stands: the key that leads to it, or the item. Of a path that is not there, the
    /// nearest part that is: a missing field is shown where it should be written.
    pub fn place_of(&self, path: &[Step]) -> Place {
        let mut node = self;
        let mut place = self.place;
        for step in path {
            let next = match (step, &node.value) {
                (Step::Key(key), Value::Mapping(_)) => {
                    node.get(key).map(|entry| (entry.place, &entry.node))
                }
                (Step::Index(index), Value::Sequence(items)) => {
                    items.get(*index).map(|item| (item.place, item))
                }
                _ => None,
            };
            let Some((found, inner)) = next else {
                break;
            };
            place = found;
            node = inner;
        }
        place
    }
}

/// A path as the API server writes it: `spec.endpoints[0].port`, `metadata.labels[app.kubernetes.io/name]`.
pub fn path_text(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        // Writing to a String can't fail.
        let _ = match step {
            Step::Index(index) => write!(text, "[{index}]"),
            Step::Key(key) if key.contains(['.', '[', ']', '/']) => write!(text, "[{key}]"),
            Step::Key(key) if text.is_empty() => write!(text, "{key}"),
            Step::Key(key) => write!(text, ".{key}"),
        };
    }
    text
}

/// The steps of a path that an API server or a rule wrote. What can't be read ends it: a shorter path still leads near.
pub fn parse_path(text: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = text.strip_prefix('.').unwrap_or(text);
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let Some((key, after)) = inner.split_once(']') else {
                break;
            };
            let bare = key.trim_matches(['"', '\'']);
            steps.push(match bare.parse() {
                Ok(index) if bare == key => Step::Index(index),
                _ => Step::Key(bare.to_owned()),
            });
            rest = after.strip_prefix('.').unwrap_or(after);
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            let (key, after) = rest.split_at(end);
            if !key.is_empty() {
                steps.push(Step::Key(key.to_owned()));
            }
            rest = after.strip_prefix('.').unwrap_or(after);
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_written_and_read_as_the_api_server_does() {
        let path = [
            Step::Key("spec".into()),
            Step::Key("endpoints".into()),
            Step::Index(3),
            Step::Key("port".into()),
        ];
        assert_eq!(path_text(&path), "spec.endpoints[3].port");
        assert_eq!(parse_path("spec.endpoints[3].port"), path);
        assert_eq!(parse_path(".spec.endpoints[3].port"), path);
        let labels = [
            Step::Key("metadata".into()),
            Step::Key("labels".into()),
            Step::Key("app.kubernetes.io/name".into()),
        ];
        assert_eq!(
            path_text(&labels),
            "metadata.labels[app.kubernetes.io/name]"
        );
        assert_eq!(parse_path(&path_text(&labels)), labels);
        assert_eq!(parse_path("spec[unclosed"), [Step::Key("spec".into())]);
        assert_eq!(parse_path("]..["), [Step::Key("]".into())]);
    }
}
