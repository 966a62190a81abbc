//! The one YAML door: reads hostile text with spans and budgets, writes our own values.
//!
//! Reading keeps the place of every key and value, so that an error found later (by a schema, by a rule) names the line
//! to edit. Scalars are read as `kubectl` reads them, whose library follows YAML 1.1: `yes`, `on` and `y` are true,
//! `010` is 8, and what is quoted stays text. Whoever applies the same file with kubectl gets the same object.
//!
//! Duplicate keys, unknown tags, keys that are no plain values and anything over the [`Limits`] are errors; an error
//! ends its document, the next one of the file is read again.

mod node;
mod read;
mod scalar;

use serde::Serialize;

pub use node::{Entry, Node, Place, Step, Value, parse_path, path_text};
pub use read::{Document, Limits, ReadError, read};

/// Writes one of our own values. The same value gives the same text, and it reads back as the same value.
///
/// # Errors
/// When the value can't be written as YAML: it has a map whose keys are no strings.
pub fn write<T: Serialize>(value: &T) -> Result<String, WriteError> {
    let mut value = serde_yaml::to_value(value).map_err(WriteError)?;
    let mut quotes = Quotes::beside(&value);
    quotes.mark(&mut value);
    let text = serde_yaml::to_string(&value).map_err(WriteError)?;
    Ok(quotes.put(text))
}

/// A value that can't be written.
#[derive(Debug, thiserror::Error)]
#[error("failed to write YAML")]
pub struct WriteError(#[source] serde_yaml::Error);

/// Texts that the writer, which knows YAML 1.2, would leave bare, and that kubectl would then read as a number or a
/// truth value: `1_000`, `010`; and texts with the line breaks that YAML 1.1 has beside the usual ones. The writer
/// can't be told to quote, so they travel through it under another name.
struct Quotes {
    prefix: String,
    texts: Vec<String>,
}

impl Quotes {
    /// With names that stand nowhere in the value.
    fn beside(value: &serde_yaml::Value) -> Self {
        let mut prefix = "quoted".to_owned();
        while contains(value, &prefix) {
            prefix.push('q');
        }
        let texts = Vec::new();
        Self { prefix, texts }
    }

    fn mark(&mut self, value: &mut serde_yaml::Value) {
        use serde_yaml::Value as Yaml;
        match value {
            Yaml::String(text) => {
                if let Some(quoted) = quoted(text) {
                    *text = format!("{}x{}x", self.prefix, self.texts.len());
                    self.texts.push(quoted);
                }
            }
            Yaml::Sequence(items) => items.iter_mut().for_each(|item| self.mark(item)),
            Yaml::Mapping(map) => {
                let entries = std::mem::take(map);
                for (mut key, mut item) in entries {
                    self.mark(&mut key);
                    self.mark(&mut item);
                    map.insert(key, item);
                }
            }
            _ => {}
        }
    }

    fn put(&self, mut text: String) -> String {
        for (index, quoted) in self.texts.iter().enumerate() {
            text = text.replacen(&format!("{}x{index}x", self.prefix), quoted, 1);
        }
        text
    }
}

/// Line breaks of YAML 1.1 that the writer takes for ordinary characters, as escapes.
const BREAKS: [(char, &str); 3] = [
    ('\u{85}', "\\u0085"),
    ('\u{2028}', "\\u2028"),
    ('\u{2029}', "\\u2029"),
];

/// The text in quotes, where the writer would leave them out or put the wrong ones.
fn quoted(text: &str) -> Option<String> {
    if text.contains(BREAKS.map(|(character, _)| character)) {
        // Escapes of JSON are escapes of YAML too.
        let escaped = serde_json::Value::from(text).to_string();
        return Some(BREAKS.iter().fold(escaped, |text, (character, escape)| {
            text.replace(*character, escape)
        }));
    }
    needs_quotes(text).then(|| format!("'{text}'"))
}

/// Whether a text looks like something else without quotes, to us but not to the writer.
fn needs_quotes(text: &str) -> bool {
    let bare = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"_.+-<".contains(&b));
    bare && (text == "<<" || !matches!(scalar::plain(text), Ok(Value::Text(_))))
}

fn contains(value: &serde_yaml::Value, text: &str) -> bool {
    use serde_yaml::Value as Yaml;
    match value {
        Yaml::String(string) => string.contains(text),
        Yaml::Sequence(items) => items.iter().any(|item| contains(item, text)),
        Yaml::Mapping(map) => map
            .iter()
            .any(|(key, item)| contains(key, text) || contains(item, text)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn text_that_looks_like_something_else_is_quoted() {
        let text = super::write(&json!({"yes": "1_000", "a": ["010", "on", "quotedx0x", "", "x"]}));
        assert_eq!(
            text.unwrap(),
            "'yes': '1_000'\na:\n- '010'\n- 'on'\n- quotedx0x\n- ''\n- x\n"
        );
    }

    #[test]
    fn a_line_break_of_old_yaml_is_written_as_an_escape() {
        let text = super::write(&json!(["\u{2028}", "a\u{85}\"b\u{2029}"])).unwrap();
        assert_eq!(text, "- \"\\u2028\"\n- \"a\\u0085\\\"b\\u2029\"\n");
        let documents = super::read(text.as_bytes(), super::Limits::default());
        let back = documents[0].as_ref().unwrap().root.to_json();
        assert_eq!(back, json!(["\u{2028}", "a\u{85}\"b\u{2029}"]));
    }
}
