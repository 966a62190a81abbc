//! The tree of a document while it grows: collections that are open, keys that wait for their values, `<<`.

use std::collections::BTreeMap;

use serde_saphyr::granit_parser::{ScalarStyle, Tag};

use super::super::node::{Entry, Node, Place, Value};
use super::anchors::{Anchored, Anchors};
use super::{ReadError, scalar_value};

/// A document so far.
#[derive(Default)]
pub(super) struct Tree {
    /// Open collections, the innermost last.
    frames: Vec<Frame>,
    anchors: Anchors,
    root: Option<Node>,
}

/// A collection that is being read.
struct Frame {
    place: Place,
    anchor: usize,
    kind: Collection,
}

/// A list or a mapping so far.
enum Collection {
    Sequence(Vec<Node>),
    Mapping {
        entries: Vec<Entry>,
        /// Keys so far, with their places: a search through the entries would take quadratic time.
        keys: BTreeMap<String, Place>,
        /// The key whose value comes next.
        key: Option<Key>,
        /// Values of `<<`, in order.
        merges: Vec<Node>,
    },
}

/// A key that waits for its value.
enum Key {
    Merge,
    Name(String, Place),
}

impl Tree {
    /// The root. A document without a value has one that is null.
    pub(super) fn into_root(self, end: Place) -> Node {
        let value = Value::Null;
        self.root.unwrap_or(Node { place: end, value })
    }

    /// How many collections are open.
    pub(super) fn depth(&self) -> usize {
        self.frames.len()
    }

    /// What an alias stands for.
    pub(super) fn anchored(&self, anchor: usize) -> Option<&Anchored> {
        self.anchors.get(anchor)
    }

    /// Begins a list.
    pub(super) fn open_sequence(&mut self, place: Place, anchor: usize) {
        let kind = Collection::Sequence(Vec::new());
        self.frames.push(Frame {
            place,
            anchor,
            kind,
        });
    }

    /// Begins a mapping.
    pub(super) fn open_mapping(&mut self, place: Place, anchor: usize) {
        let kind = Collection::Mapping {
            entries: Vec::new(),
            keys: BTreeMap::new(),
            key: None,
            merges: Vec::new(),
        };
        self.frames.push(Frame {
            place,
            anchor,
            kind,
        });
    }

    /// Ends the innermost collection; gives what [`Tree::add`] gives.
    pub(super) fn close(&mut self) -> Result<(usize, usize), ReadError> {
        let Some(frame) = self.frames.pop() else {
            return Ok((0, 0));
        };
        let anchor = frame.anchor;
        let node = finish(frame)?;
        self.add(anchor, node)
    }

    /// Adds a finished value, and keeps it if it has an anchor. Gives the values and bytes of text of the copy that it keeps.
    pub(super) fn add(&mut self, anchor: usize, node: Node) -> Result<(usize, usize), ReadError> {
        let kept = self.anchors.keep(anchor, &node);
        self.hand(node).map(|()| kept)
    }

    /// Whether the next node is a key.
    pub(super) fn expects_key(&self) -> bool {
        matches!(
            self.frames.last(),
            Some(Frame {
                kind: Collection::Mapping { key: None, .. },
                ..
            })
        )
    }

    /// Takes a scalar as a key, if one is expected.
    pub(super) fn takes_key(
        &mut self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        at: Place,
    ) -> Result<bool, ReadError> {
        let Some(Frame {
            kind:
                Collection::Mapping {
                    keys,
                    key: key @ None,
                    merges,
                    ..
                },
            ..
        }) = self.frames.last_mut()
        else {
            return Ok(false);
        };
        if text == "<<" && style == ScalarStyle::Plain && tag.is_none() {
            if !merges.is_empty() {
                return Err(ReadError::new(
                    at,
                    "key '<<' is written twice: list the mappings, as in '<<: [*a, *b]'",
                ));
            }
            *key = Some(Key::Merge);
            return Ok(true);
        }
        let name = match scalar_value(text, style, tag).map_err(|why| ReadError::new(at, why))? {
            Value::Text(text) => text,
            Value::Bool(bool) => bool.to_string(),
            Value::Number(number) => number.to_string(),
            _ => return Err(ReadError::new(at, "a key can't be empty: write its name")),
        };
        if let Some(first) = keys.insert(name.clone(), at) {
            return Err(ReadError::new(
                at,
                format!(
                    "key '{name}' is written twice, first on line {}: keep one of them",
                    first.line
                ),
            ));
        }
        *key = Some(Key::Name(name, at));
        Ok(true)
    }

    /// Hands a finished node to the collection around it, or makes it the root.
    pub(super) fn hand(&mut self, node: Node) -> Result<(), ReadError> {
        match self.frames.last_mut().map(|frame| &mut frame.kind) {
            None => self.root = Some(node),
            Some(Collection::Sequence(items)) => items.push(node),
            Some(Collection::Mapping {
                entries,
                key,
                merges,
                ..
            }) => match key.take() {
                Some(Key::Merge) => merges.push(node),
                Some(Key::Name(key, place)) => entries.push(Entry { key, place, node }),
                None => {
                    return Err(ReadError::new(
                        node.place,
                        "a key can't be a list or a mapping",
                    ));
                }
            },
        }
        Ok(())
    }
}

/// A finished collection; `<<` is merged in below what is written out.
fn finish(frame: Frame) -> Result<Node, ReadError> {
    let place = frame.place;
    let value = match frame.kind {
        Collection::Sequence(items) => Value::Sequence(items),
        Collection::Mapping {
            mut entries,
            mut keys,
            merges,
            ..
        } => {
            for merge in merges {
                merge_into(&mut entries, &mut keys, merge)?;
            }
            Value::Mapping(entries)
        }
    };
    Ok(Node { place, value })
}

fn merge_into(
    entries: &mut Vec<Entry>,
    keys: &mut BTreeMap<String, Place>,
    source: Node,
) -> Result<(), ReadError> {
    let sources = match source.value {
        Value::Mapping(_) => vec![source],
        Value::Sequence(items) => items,
        _ => {
            return Err(ReadError::new(
                source.place,
                "'<<' merges a mapping or a list of mappings",
            ));
        }
    };
    for source in sources {
        let Value::Mapping(merged) = source.value else {
            return Err(ReadError::new(source.place, "'<<' merges mappings only"));
        };
        for entry in merged {
            if !keys.contains_key(&entry.key) {
                keys.insert(entry.key.clone(), entry.place);
                entries.push(entry);
            }
        }
    }
    Ok(())
}
