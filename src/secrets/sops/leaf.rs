//! One value: `ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]`.

use aes_gcm::aead::consts::U32;
use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::aes::Aes256;
use aes_gcm::{AesGcm, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::DataKey;
use crate::yaml::Value;

/// Where the nonce and the tag have the lengths that SOPS gives them.
const NONCE: usize = 32;
const TAG: usize = 16;

/// A sealed value.
pub(super) struct Leaf<'a> {
    /// With the tag behind it.
    sealed: Vec<u8>,
    nonce: Vec<u8>,
    kind: &'a str,
}

impl<'a> Leaf<'a> {
    /// Reads a value, if it is a sealed one.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let inner = text.strip_prefix("ENC[AES256_GCM,")?.strip_suffix(']')?;
        let mut parts = inner.split(',');
        let mut next = |name: &str| parts.next()?.strip_prefix(name)?.strip_prefix(':');
        let (data, nonce, tag, kind) = (next("data")?, next("iv")?, next("tag")?, next("type")?);
        let mut sealed = STANDARD.decode(data).ok()?;
        let (nonce, tag) = (STANDARD.decode(nonce).ok()?, STANDARD.decode(tag).ok()?);
        if parts.next().is_some() || nonce.len() != NONCE || tag.len() != TAG {
            return None;
        }
        sealed.extend(tag);
        Some(Self {
            sealed,
            nonce,
            kind,
        })
    }

    /// Its plaintext, if key and additional data are those that it was sealed with.
    pub(super) fn open(&self, key: &DataKey, additional: &str) -> Option<Zeroizing<Vec<u8>>> {
        let cipher = AesGcm::<Aes256, U32>::new_from_slice(&**key).ok()?;
        let payload = Payload {
            msg: &self.sealed,
            aad: additional.as_bytes(),
        };
        let opened = cipher.decrypt(Nonce::from_slice(&self.nonce), payload);
        opened.ok().map(Zeroizing::new)
    }

    /// The plaintext as its type says.
    pub(super) fn value(&self, plaintext: Zeroizing<Vec<u8>>) -> Option<Value> {
        let text = std::str::from_utf8(&plaintext).ok()?;
        match (self.kind, text) {
            ("str", text) => Some(Value::Text(text.to_owned())),
            ("int", text) => text
                .parse::<i64>()
                .ok()
                .map(|number| Value::Number(number.into())),
            ("bool", "True") => Some(Value::Bool(true)),
            ("bool", "False") => Some(Value::Bool(false)),
            // No field of a set is one.
            _ => None,
        }
    }
}
