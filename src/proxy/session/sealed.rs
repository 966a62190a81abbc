//! Sealed values: ChaCha20-Poly1305 under a key of the ring. Only we read them, and only in the cookie they were made for.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::aead::{Aad, NONCE_LEN, Nonce};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::model::entropy::Entropy;
use crate::proxy::session::keys::{KeysError, Ring, Sealed};
use crate::proxy::session::tokens::{TokenError, check_times};

/// A value that is sealed. Times are seconds since 1970.
pub trait Value: Serialize + DeserializeOwned {
    /// Its kind.
    const KIND: Sealed;
    /// When it was made.
    fn issued_at(&self) -> i64;
    /// When it ends.
    fn expires_at(&self) -> i64;
    /// What is no text, and stands behind the JSON.
    fn tail(&self) -> &[u8] {
        &[]
    }
    /// Takes what stood behind the JSON.
    fn take_tail(&mut self, _bytes: &[u8]) {}
}

/// Why a value can't be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// No keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// It can't be written.
    #[error("failed to write a {0}")]
    Write(&'static str),
    /// The library refused.
    #[error("failed to seal a {0}")]
    Seal(&'static str),
}

/// Seals by the key whose time it is: `<kid>.<base64url>`. It opens only as the same kind, `bound` to the same text.
///
/// # Errors
/// When there is no key.
pub fn seal<V: Value>(
    ring: &Ring,
    value: &V,
    bound: &str,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<String, SealError> {
    let key = ring.signing_now(now)?;
    let kind = V::KIND.typ();
    let json = Zeroizing::new(serde_json::to_vec(value).map_err(|_| SealError::Write(kind))?);
    // JSON has no zero byte.
    let mut bytes = Zeroizing::new([json.as_slice(), &[0], value.tail()].concat());
    let mut nonce = [0; NONCE_LEN];
    entropy.fill(&mut nonce);
    let aad = aad(V::KIND, key.id().as_str(), bound);
    let tag = key
        .sealing(V::KIND)
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(aad),
            &mut bytes,
        )
        .map_err(|_| SealError::Seal(kind))?;
    let whole = [&nonce, bytes.as_slice(), tag.as_ref()].concat();
    Ok(format!("{}.{}", key.id(), URL_SAFE_NO_PAD.encode(whole)))
}

/// Opens what [`seal`] made.
///
/// # Errors
/// When it is not a live value of this kind, bound to this text.
pub fn open<V: Value>(
    ring: &Ring,
    sealed: &[u8],
    bound: &str,
    now: Timestamp,
) -> Result<V, TokenError> {
    let sealed = std::str::from_utf8(sealed).map_err(|_| TokenError::Form)?;
    let (id, body) = sealed.split_once('.').ok_or(TokenError::Form)?;
    let key = ring.key(id).ok_or(TokenError::Key)?;
    let body = URL_SAFE_NO_PAD.decode(body).map_err(|_| TokenError::Form)?;
    let mut body = Zeroizing::new(body);
    let (nonce, sealed) = body
        .split_at_mut_checked(NONCE_LEN)
        .ok_or(TokenError::Form)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| TokenError::Form)?;
    let aad = aad(V::KIND, id, bound);
    let plain = key
        .sealing(V::KIND)
        .open_in_place(nonce, Aad::from(aad), sealed)
        .map_err(|_| TokenError::Signature)?;
    let end = plain.iter().position(|byte| *byte == 0);
    let (json, tail) = end
        .and_then(|end| plain.split_at_checked(end))
        .ok_or(TokenError::Claims)?;
    let mut value: V = serde_json::from_slice(json).map_err(|_| TokenError::Claims)?;
    value.take_tail(tail.get(1..).unwrap_or_default());
    let (iat, exp) = (value.issued_at(), value.expires_at());
    check_times(iat, exp, V::KIND.longest_life(), now)?;
    Ok(value)
}

/// None of the three has a zero byte: no two lists of them read the same.
fn aad(kind: Sealed, id: &str, bound: &str) -> Vec<u8> {
    [kind.typ(), id, bound].join("\0").into_bytes()
}
