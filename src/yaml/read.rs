//! From text to documents, within limits.

mod anchors;
mod remedy;
mod tree;

use serde_saphyr::granit_parser::{
    ErrorKind, Event, Options, Parser, ScalarStyle, Span, StrInput, Tag,
};

use self::tree::Tree;
use super::node::{Node, Place, Value};
use super::scalar;

/// What a file may cost at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Documents of a file.
    pub documents: usize,
    /// Values of a file, those behind aliases counted at each use, and those of an anchor once more: a copy is kept.
    pub nodes: usize,
    /// Bytes of text in a file, counted in the same way.
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
        source: text,
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
    source: &'a str,
    limits: Limits,
    nodes: usize,
    text: usize,
}

impl Reader<'_> {
    fn next_document(&mut self) -> Result<Option<Document>, ReadError> {
        let mut tree = Tree::default();
        while let Some(next) = self.parser.next_event() {
            let (event, span) = next.map_err(|error| {
                let at = place(error.marker().line(), error.marker().col() + 1);
                match error.kind() {
                    ErrorKind::RecursionLimitExceeded => self.too_deep(at),
                    kind => {
                        let (at, message) = remedy::explain(self.source, at, kind, &error.info());
                        ReadError::new(at, message)
                    }
                }
            })?;
            let at = start(&span);
            match event {
                Event::StreamEnd => return Ok(None),
                Event::DocumentEnd => {
                    return Ok(Some(Document {
                        root: tree.into_root(at),
                    }));
                }
                event => self.take(&mut tree, event, at)?,
            }
        }
        Ok(None)
    }

    /// Grows the tree by what one event says.
    fn take(&mut self, tree: &mut Tree, event: Event<'_>, at: Place) -> Result<(), ReadError> {
        match event {
            Event::StreamStart | Event::DocumentStart(..) => Ok(()),
            Event::Scalar(text, style, anchor, tag) => {
                self.spend(at, 1, text.len())?;
                if tree.takes_key(&text, style, tag.as_deref(), at)? {
                    return Ok(());
                }
                let value = scalar_value(&text, style, tag.as_deref())
                    .map_err(|message| ReadError::new(at, message))?;
                let (nodes, text) = tree.add(anchor, Node { place: at, value })?;
                self.spend(at, nodes, text)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.check_collection(tree, at, tag.as_deref(), "seq")?;
                tree.open_sequence(at, anchor);
                Ok(())
            }
            Event::MappingStart(_, anchor, tag) => {
                self.check_collection(tree, at, tag.as_deref(), "map")?;
                tree.open_mapping(at, anchor);
                Ok(())
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let (nodes, text) = tree.close()?;
                self.spend(at, nodes, text)
            }
            Event::Alias(id) => {
                if tree.expects_key() {
                    return Err(ReadError::new(
                        at,
                        "an alias can't be a key: write the key out",
                    ));
                }
                let Some(anchored) = tree.anchored(id) else {
                    return Err(ReadError::new(
                        at,
                        "the alias stands inside the value it names",
                    ));
                };
                self.spend(at, anchored.nodes, anchored.text)?;
                self.check_depth(at, tree.depth() + anchored.height)?;
                let node = anchored.node.clone();
                tree.hand(node)
            }
            _ => Err(ReadError::new(at, "this YAML can't be read")),
        }
    }

    /// Counts a collection and refuses it as a key, below an unknown tag, or too deep.
    fn check_collection(
        &mut self,
        tree: &Tree,
        at: Place,
        tag: Option<&Tag>,
        expected: &str,
    ) -> Result<(), ReadError> {
        self.spend(at, 1, 0)?;
        self.check_depth(at, tree.depth() + 1)?;
        if tree.expects_key() {
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
                    "the file has more than {most} values, counting those behind anchors and aliases: split it"
                ),
            ));
        }
        if self.text > self.limits.text {
            let most = self.limits.text;
            return Err(ReadError::limit(
                at,
                "text",
                format!(
                    "the file has more than {most} bytes of text, counting that behind anchors and aliases: split it"
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
