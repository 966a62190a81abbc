//! From a [`Document`] to its plaintext, always the same for the same content.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

use crate::secrets::binding::{Audience, Scope};
use crate::secrets::document::{DEFAULT_MODE, Document, File};
use crate::yaml::{self, WriteError};

impl Document {
    /// The plaintext. It reads back as the same document.
    ///
    /// # Errors
    /// When the YAML door can't write it, which no document is known to cause.
    pub fn write(&self) -> Result<Zeroizing<Vec<u8>>, WriteError> {
        yaml::write(&Written(self)).map(|text| Zeroizing::new(text.into_bytes()))
    }
}

/// Not the document itself: whoever has one must not be able to write it by mistake.
struct Written<'a>(&'a Document);

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(document) = self;
        let mut map = serializer.serialize_map(None)?;
        let binding = &document.binding;
        let parts = [("namespace", &binding.namespace), ("name", &binding.name)];
        let parts = parts
            .into_iter()
            .filter_map(|(key, part)| Some((key, part.as_ref()?)));
        // In this order: namespace before name, as in every reference.
        map.serialize_entry("binding", &Ordered(parts.collect()))?;
        match document.scope {
            Scope::Strict => {}
            Scope::Namespace => map.serialize_entry("scope", "Namespace")?,
            Scope::Cluster => map.serialize_entry("scope", "Cluster")?,
        }
        match &document.audience {
            Audience::Listed => {}
            Audience::Owner(owner) => {
                map.serialize_entry("appliesTo", &BTreeMap::from([("owner", owner)]))?;
            }
            Audience::Namespace => {
                map.serialize_entry("appliesTo", &BTreeMap::from([("namespace", true)]))?;
            }
        }
        if let Some(serial) = document.serial {
            map.serialize_entry("serial", &serial)?;
        }
        if !document.env.is_empty() {
            let env = document.env.iter();
            let env = env.map(|(name, value)| (name.as_str(), value.expose()));
            map.serialize_entry("env", &env.collect::<BTreeMap<_, _>>())?;
        }
        if !document.files.is_empty() {
            let files = document.files.iter();
            let files = files.map(|(path, file)| (path.as_str(), WrittenFile(file)));
            map.serialize_entry("files", &files.collect::<BTreeMap<_, _>>())?;
        }
        map.end()
    }
}

struct Ordered<'a>(Vec<(&'static str, &'a String)>);

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

struct WrittenFile<'a>(&'a File);

impl Serialize for WrittenFile<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(file) = self;
        let mut map = serializer.serialize_map(None)?;
        if file.mode != DEFAULT_MODE {
            map.serialize_entry("mode", &format!("{:04o}", file.mode))?;
        }
        let content = file.content.expose();
        match std::str::from_utf8(content)
            .ok()
            .filter(|text| is_plain(text))
        {
            Some(text) => map.serialize_entry("content", text)?,
            None => {
                let encoded = Zeroizing::new(STANDARD.encode(content));
                map.serialize_entry("b64", &*encoded)?;
            }
        }
        map.end()
    }
}

/// What YAML carries byte for byte: no carriage return, no other control character.
fn is_plain(text: &str) -> bool {
    text.chars()
        .all(|c| c == '\n' || c == '\t' || !c.is_control())
        && !text.contains('\u{feff}')
}
