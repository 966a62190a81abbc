//! Serials only rise: an old text from the history of a repository does not come back unseen.

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::secrets::document::Document;
use crate::secrets::error::{Serial, SetError};
use crate::secrets::identity::{Identities, Identity};

/// What a tag is made for, so that the key of an identity signs nothing else.
const PURPOSE: &[u8] = b"workstead.dev/v1 content of a set";

/// What was accepted before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Before {
    /// The digest of the sealed text.
    pub digest: String,
    /// The highest serial of all that were ever accepted.
    pub serial: Option<u64>,
    /// What was in it.
    pub content: Option<ContentTag>,
}

/// Says whether two texts have the same content, to who holds the identity; nothing to anybody else. A mere digest could be
/// guessed at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentTag {
    by: String,
    tag: String,
}

impl ContentTag {
    /// The tag of a content. None where it can't be written, which no document is known to cause.
    pub fn of(document: &Document, identity: &Identity) -> Option<Self> {
        let mut hmac = Hmac::<Sha256>::new_from_slice(identity.to_text().as_bytes()).ok()?;
        hmac.update(PURPOSE);
        hmac.update(&document.write().ok()?);
        let mut tag = hex::encode(hmac.finalize().into_bytes());
        tag.truncate(32);
        Some(Self {
            by: identity.fingerprint().to_string(),
            tag,
        })
    }

    /// Whether it is that of this content. Not, if the identity that made it is gone.
    pub fn is_of(&self, document: &Document, identities: &Identities) -> bool {
        let made_it = |identity: &&Identity| identity.fingerprint().to_string() == self.by;
        let identity = identities.iter().find(made_it);
        identity
            .and_then(|identity| Self::of(document, identity))
            .as_ref()
            == Some(self)
    }

    /// Reads what [`ContentTag::to_text`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let (by, tag) = text.split_once(':')?;
        Some(Self {
            by: by.to_owned(),
            tag: tag.to_owned(),
        })
    }

    /// Whose identity made it.
    pub fn fingerprint(&self) -> &str {
        &self.by
    }

    /// For a status.
    pub fn to_text(&self) -> String {
        format!("{}:{}", self.by, self.tag)
    }
}

/// Whether a text may follow what was accepted before, and the highest serial from now on. `allowed` is the digest of the one
/// text that an administrator lets in whatever its serial.
///
/// # Errors
/// When it is older, or another one of the same serial.
pub fn accept(
    document: &Document,
    digest: &str,
    before: &Before,
    allowed: Option<&str>,
    identities: &Identities,
) -> Result<Option<u64>, SetError> {
    let found = document.serial;
    let Some(accepted) = before.serial else {
        return Ok(found);
    };
    let rises = found.is_some_and(|found| found > accepted);
    let is_resealed = found == Some(accepted)
        && before
            .content
            .as_ref()
            .is_some_and(|content| content.is_of(document, identities));
    if rises || is_resealed || digest == before.digest || allowed == Some(digest) {
        return Ok(found.max(Some(accepted)));
    }
    Err(SetError::Replayed {
        found: Serial(found),
        accepted,
        digest: digest.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(serial: &str, value: &str) -> Document {
        let text = format!("binding: {{namespace: a, name: b}}\n{serial}\nenv: {{A: \"{value}\"}}");
        Document::read(text.as_bytes())
            .map_err(|error| error.to_string())
            .unwrap()
    }

    #[test]
    fn a_serial_only_rises_unless_an_administrator_names_that_very_text() {
        let (one, other) = (Identity::generate(), Identity::generate());
        let identities = Identities::of(vec![one.clone()]).unwrap();
        let before = Before {
            digest: "old".to_owned(),
            serial: Some(7),
            content: ContentTag::of(&set("serial: 7", "same"), &one),
        };
        let replayed = Err("WV102");
        for (what, document, digest, allowed, expected) in [
            ("higher", set("serial: 8", "x"), "new", None, Ok(Some(8))),
            ("lower", set("serial: 6", "x"), "new", None, replayed),
            ("none", set("", "x"), "new", None, replayed),
            (
                "another one of the same",
                set("serial: 7", "x"),
                "new",
                None,
                replayed,
            ),
            (
                "sealed again",
                set("serial: 7", "same"),
                "new",
                None,
                Ok(Some(7)),
            ),
            (
                "the same text",
                set("serial: 7", "same"),
                "old",
                None,
                Ok(Some(7)),
            ),
            (
                "let in",
                set("serial: 6", "x"),
                "new",
                Some("new"),
                Ok(Some(7)),
            ),
            (
                "another one let in",
                set("serial: 6", "x"),
                "new",
                Some("newer"),
                replayed,
            ),
        ] {
            let found = accept(&document, digest, &before, allowed, &identities);
            assert_eq!(found.map_err(|error| error.code()), expected, "{what}");
        }
        let first = accept(&set("", "x"), "new", &Before::default(), None, &identities);
        assert_eq!(first, Ok(None));
        // Whose identity is gone can't say any more that it is the same.
        let others = Identities::of(vec![other]).unwrap();
        let found = accept(&set("serial: 7", "same"), "new", &before, None, &others);
        assert_eq!(found.map_err(|error| error.code()), replayed);
    }

    #[test]
    fn a_tag_tells_contents_apart_and_is_another_one_for_each_identity() {
        let (one, other) = (Identity::generate(), Identity::generate());
        let tag = |value: &str, identity| ContentTag::of(&set("", value), identity).unwrap();
        assert_eq!(tag("x", &one), tag("x", &one));
        assert_ne!(tag("x", &one), tag("y2", &one));
        assert_ne!(tag("x", &one).tag, tag("x", &other).tag);
        let read = ContentTag::parse(&tag("x", &one).to_text());
        assert_eq!(read, Some(tag("x", &one)));
        assert_eq!(read.unwrap().fingerprint(), one.fingerprint().to_string());
    }
}
