//! What aliases stand for, and what a copy of it costs.

use std::collections::BTreeMap;

use super::super::node::{Node, Value};

/// The anchored values of a document. The parser numbers anchors from 1.
#[derive(Default)]
pub(super) struct Anchors(BTreeMap<usize, Anchored>);

/// An anchored value, with what a copy of it costs.
pub(super) struct Anchored {
    pub(super) node: Node,
    pub(super) nodes: usize,
    pub(super) text: usize,
    pub(super) height: usize,
}

impl Anchors {
    /// Keeps a copy of a value, if it has an anchor, and says how many values and bytes of text that are. They have to be
    /// paid for: anchors inside anchors would otherwise keep the same values many times.
    pub(super) fn keep(&mut self, anchor: usize, node: &Node) -> (usize, usize) {
        if anchor == 0 {
            return (0, 0);
        }
        let (nodes, text, height) = weigh(node);
        self.0.insert(
            anchor,
            Anchored {
                node: node.clone(),
                nodes,
                text,
                height,
            },
        );
        (nodes, text)
    }

    /// What an alias stands for; none while the value it names is still being read.
    pub(super) fn get(&self, anchor: usize) -> Option<&Anchored> {
        self.0.get(&anchor)
    }
}

/// Values, bytes of text and height of a node.
fn weigh(node: &Node) -> (usize, usize, usize) {
    match &node.value {
        Value::Text(text) => (1, text.len(), 0),
        Value::Sequence(items) => sum(items.iter(), 0),
        Value::Mapping(entries) => sum(
            entries.iter().map(|entry| &entry.node),
            entries.iter().map(|entry| entry.key.len()).sum(),
        ),
        _ => (1, 0, 0),
    }
}

fn sum<'a>(nodes: impl Iterator<Item = &'a Node>, keys: usize) -> (usize, usize, usize) {
    nodes.fold((1, keys, 1), |(count, text, height), node| {
        let (inner, inner_text, inner_height) = weigh(node);
        (
            count + inner,
            text + inner_text,
            height.max(inner_height + 1),
        )
    })
}
