//! From text to documents, within limits.

use std::collections::BTreeMap;

use serde_saphyr::granit_parser::{
    ErrorKind, Event, Options, Parser, ScalarStyle, Span, StrInput, Tag,
};

use super::node::{Entry, Node, Place, Value};
use super::scalar;

/// What a file may cost at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Documents of a file.
    pub documents: usize,
    /// Values of a file, those behind aliases counted at each use.
    pub nodes: usize,
    /// Bytes of text in a file, that behind aliases counted at each use.
    pub text: usize,
    /// How deep values may be nested.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            documents: 1_000,
            nodes: 100_000,
            text: 8 * 1024 * 1024,
            depth: 64,
        }
    }
}

/// One document of a file. An empty one has a root that is null.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Its value.
    pub root: Node,
}

/// Why a document can't be read, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ReadError {
    /// Where.
    pub place: Place,
    /// Why, and what to do.
    pub message: String,
    /// The name of the limit that was exceeded, if it was one.
    pub limit: Option<&'static str>,
}

impl ReadError {
    fn new(place: Place, message: impl Into<String>) -> Self {
        Self {
            place,
            message: message.into(),
            limit: None,
        }
    }

    fn limit(place: Place, name: &'static str, message: String) -> Self {
        Self {
            place,
            message,
            limit: Some(name),
        }
    }
}

/// Reads every document of a file. An error ends its document, not the file, unless it is a limit of the file.
pub fn read(content: &[u8], limits: Limits) -> Vec<Result<Document, ReadError>> {
    let text = match std::str::from_utf8(content) {
        Ok(text) => text,
        Err(error) => return vec![Err(not_utf8(content, error.valid_up_to()))],
    };
    let mut options = Options::default();
    options.emit_comments = false;
    // One more than the limit: ours is the one that is reported.
    options.flow_nesting_limit = limits.depth + 1;
    options.block_nesting_limit = limits.depth + 1;
    let mut reader = Reader {
        parser: Parser::new_from_str_with_options(text, options),
        limits,
        nodes: 0,
        text: 0,
    };
    let mut documents = Vec::new();
    loop {
        match reader.next_document() {
            Ok(Some(document)) => documents.push(Ok(document)),
            Ok(None) => return documents,
            Err(error) => {
                let ends = error.limit.is_some();
                documents.push(Err(error));
                if ends || !matches!(reader.parser.proceed_next_document(), Ok(true)) {
                    return documents;
                }
            }
        }
        if documents.len() > limits.documents {
            documents.truncate(limits.documents);
            documents.push(Err(ReadError::limit(
                Place { line: 1, column: 1 },
                "documents",
                format!(
                    "the file has more than {} documents: split it",
                    limits.documents
                ),
            )));
            return documents;
        }
    }
}

fn not_utf8(content: &[u8], valid: usize) -> ReadError {
    let before = content.get(..valid).unwrap_or_default();
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|b| **b != b'\n').count() + 1;
    ReadError::new(
        place(line, column),
        "the file is not UTF-8 text: save it as UTF-8",
    )
}

fn place(line: usize, column: usize) -> Place {
    Place {
        line: u32::try_from(line).unwrap_or(u32::MAX),
        column: u32::try_from(column).unwrap_or(u32::MAX),
    }
}

fn start(span: &Span) -> Place {
    place(span.start.line(), span.start.col() + 1)
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    limits: Limits,
    nodes: usize,
    text: usize,
}

/// A collection that is being read.
struct Frame {
    place: Place,
    anchor: usize,
    kind: Collection,
}

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

enum Key {
    Merge,
    Name(String, Place),
}

/// An anchored value, with what a copy of it costs.
struct Anchored {
    node: Node,
    nodes: usize,
    text: usize,
    height: usize,
}

impl Reader<'_> {
    fn next_document(&mut self) -> Result<Option<Document>, ReadError> {
        let mut frames: Vec<Frame> = Vec::new();
        let mut anchors: BTreeMap<usize, Anchored> = BTreeMap::new();
        let mut root = None;
        while let Some(next) = self.parser.next_event() {
            let (event, span) = next.map_err(|error| {
                let at = place(error.marker().line(), error.marker().col() + 1);
                match error.kind() {
                    ErrorKind::RecursionLimitExceeded => self.too_deep(at),
                    _ => ReadError::new(at, error.info()),
                }
            })?;
            let at = start(&span);
            match event {
                Event::StreamStart | Event::DocumentStart(..) => {}
                Event::StreamEnd => return Ok(None),
                Event::DocumentEnd => {
                    let value = Value::Null;
                    let root = root.unwrap_or(Node { place: at, value });
                    return Ok(Some(Document { root }));
                }
                Event::Scalar(text, style, anchor, tag) => {
                    self.spend(at, 1, text.len())?;
                    if starts_key(&mut frames, &text, style, tag.as_deref(), at)? {
                        continue;
                    }
                    let value = scalar_value(&text, style, tag.as_deref())
                        .map_err(|message| ReadError::new(at, message))?;
                    let node = Node { place: at, value };
                    keep(&mut anchors, anchor, &node);
                    close(&mut frames, &mut root, node)?;
                }
                Event::SequenceStart(_, anchor, tag) => {
                    self.open(&mut frames, at, tag.as_deref(), "seq")?;
                    frames.push(Frame {
                        place: at,
                        anchor,
                        kind: Collection::Sequence(Vec::new()),
                    });
                }
                Event::MappingStart(_, anchor, tag) => {
                    self.open(&mut frames, at, tag.as_deref(), "map")?;
                    frames.push(Frame {
                        place: at,
                        anchor,
                        kind: Collection::Mapping {
                            entries: Vec::new(),
                            keys: BTreeMap::new(),
                            key: None,
                            merges: Vec::new(),
                        },
                    });
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    let Some(frame) = frames.pop() else {
                        continue;
                    };
                    let anchor = frame.anchor;
                    let node = finish(frame)?;
                    keep(&mut anchors, anchor, &node);
                    close(&mut frames, &mut root, node)?;
                }
                Event::Alias(id) => {
                    if expects_key(&frames) {
                        return Err(ReadError::new(
                            at,
                            "an alias can't be a key: write the key out",
                        ));
                    }
                    let Some(anchored) = anchors.get(&id) else {
                        return Err(ReadError::new(
                            at,
                            "the alias stands inside the value it names",
                        ));
                    };
                    self.spend(at, anchored.nodes, anchored.text)?;
                    self.check_depth(at, frames.len() + anchored.height)?;
                    let node = anchored.node.clone();
                    close(&mut frames, &mut root, node)?;
                }
                _ => return Err(ReadError::new(at, "this YAML can't be read")),
            }
        }
        Ok(None)
    }

    /// Counts a collection and refuses it as a key, below an unknown tag, or too deep.
    fn open(
        &mut self,
        frames: &mut [Frame],
        at: Place,
        tag: Option<&Tag>,
        expected: &str,
    ) -> Result<(), ReadError> {
        self.spend(at, 1, 0)?;
        self.check_depth(at, frames.len() + 1)?;
        if expects_key(frames) {
            return Err(ReadError::new(
                at,
                "a key can't be a list or a mapping: quote it if it is a text, as in \"{{ name }}\"",
            ));
        }
        match tag.map(Tag::core_suffix) {
            None => Ok(()),
            Some(Some(suffix)) if suffix == expected => Ok(()),
            Some(_) => Err(unknown_tag(at, tag)),
        }
    }

    fn spend(&mut self, at: Place, nodes: usize, text: usize) -> Result<(), ReadError> {
        self.nodes = self.nodes.saturating_add(nodes);
        self.text = self.text.saturating_add(text);
        if self.nodes > self.limits.nodes {
            let most = self.limits.nodes;
            return Err(ReadError::limit(
                at,
                "nodes",
                format!(
                    "the file has more than {most} values, counting those behind aliases: split it"
                ),
            ));
        }
        if self.text > self.limits.text {
            let most = self.limits.text;
            return Err(ReadError::limit(
                at,
                "text",
                format!(
                    "the file has more than {most} bytes of text, counting that behind aliases: split it"
                ),
            ));
        }
        Ok(())
    }

    fn check_depth(&self, at: Place, depth: usize) -> Result<(), ReadError> {
        if depth <= self.limits.depth {
            return Ok(());
        }
        Err(self.too_deep(at))
    }

    fn too_deep(&self, at: Place) -> ReadError {
        ReadError::limit(
            at,
            "depth",
            format!("values are nested more than {} deep", self.limits.depth),
        )
    }
}

fn keep(anchors: &mut BTreeMap<usize, Anchored>, anchor: usize, node: &Node) {
    if anchor == 0 {
        return;
    }
    let (nodes, text, height) = weigh(node);
    anchors.insert(
        anchor,
        Anchored {
            node: node.clone(),
            nodes,
            text,
            height,
        },
    );
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

/// Whether the next node is a key.
fn expects_key(frames: &[Frame]) -> bool {
    matches!(
        frames.last(),
        Some(Frame {
            kind: Collection::Mapping { key: None, .. },
            ..
        })
    )
}

/// Takes a scalar as a key, if one is expected.
fn starts_key(
    frames: &mut [Frame],
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
    }) = frames.last_mut()
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
fn close(frames: &mut [Frame], root: &mut Option<Node>, node: Node) -> Result<(), ReadError> {
    match frames.last_mut().map(|frame| &mut frame.kind) {
        None => *root = Some(node),
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

fn scalar_value(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    let is_plain = style == ScalarStyle::Plain;
    match tag {
        None if is_plain => scalar::plain(text),
        None => Ok(Value::Text(text.to_owned())),
        Some(tag) => match tag.core_suffix() {
            Some(suffix) => scalar::tagged(suffix, text, is_plain),
            // The lone `!` means "no guessing": it stays text.
            None if tag.original() == "!" => Ok(Value::Text(text.to_owned())),
            None => Err(unknown_tag_text(tag)),
        },
    }
}

fn unknown_tag(at: Place, tag: Option<&Tag>) -> ReadError {
    ReadError::new(at, tag.map(unknown_tag_text).unwrap_or_default())
}

fn unknown_tag_text(tag: &Tag) -> String {
    format!("tag {} has no meaning here: take it away", tag.original())
}

#[cfg(test)]
mod tests;
