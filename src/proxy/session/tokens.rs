//! Signed tokens: compact JWT with HMAC-SHA-256, of kinds that never pass for one another.
//!
//! Nothing in a token says how it is to be checked: the kind that is expected says it. Whatever could be written in two
//! ways is refused in all but one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::hmac;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::proxy::session::keys::{KeysError, Ring, Signed};

/// The one algorithm.
const ALGORITHM: &str = "HS256";
/// By how many seconds clocks may differ.
pub const SKEW: i64 = 30;
/// Longer ones are not looked at.
pub const LONGEST_TOKEN: usize = 8 * 1024;

/// What stands in a token.
pub trait Claims: Serialize + DeserializeOwned {
    /// Its kind.
    const KIND: Signed;
    /// What every kind has.
    fn common(&self) -> Common<'_>;
}

/// The claims that every kind has. Times are seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Common<'a> {
    /// Which installation.
    pub iss: &'a str,
    /// For which host.
    pub aud: &'a str,
    /// When it was made.
    pub iat: i64,
    /// When it ends.
    pub exp: i64,
}

/// Who must have made a token, and for whom.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Which installation: its auth host.
    pub issuer: &'a str,
    /// For which host.
    pub audience: &'a str,
}

/// Why a token is none. Nothing of the token is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not three parts of base64url, or too long.
    #[error("it is no compact JWT")]
    Form,
    /// The head is not exactly `typ`, `alg`, `kid`.
    #[error("its head is not one of ours")]
    Head,
    /// Another kind of token.
    #[error("it is a token of another kind")]
    Kind,
    /// No such key in the ring.
    #[error("its key is not in the ring")]
    Key,
    /// The signature is wrong.
    #[error("its signature is wrong")]
    Signature,
    /// The claims are not those of its kind.
    #[error("its claims are not those of its kind")]
    Claims,
    /// Made by another installation.
    #[error("it is of another installation")]
    Issuer,
    /// Made for another host.
    #[error("it is for another host")]
    Audience,
    /// Its time is over.
    #[error("it is over")]
    Over,
    /// Made in the future, or for longer than its kind lives.
    #[error("its times can't be")]
    Times,
}

/// Why a token can't be made.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// No keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The claims can't be written.
    #[error("failed to write the claims of a {0}")]
    Write(&'static str),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head<'a> {
    typ: &'a str,
    alg: &'a str,
    kid: &'a str,
}

/// Signs by the key whose time it is.
///
/// # Errors
/// When there is no key.
pub fn sign<C: Claims>(ring: &Ring, claims: &C, now: Timestamp) -> Result<String, SignError> {
    let key = ring.signing_now(now)?;
    let head = Head {
        typ: C::KIND.typ(),
        alg: ALGORITHM,
        kid: key.id().as_str(),
    };
    let unwritten = |_| SignError::Write(C::KIND.typ());
    let head = serde_json::to_vec(&head).map_err(unwritten)?;
    let claims = serde_json::to_vec(claims).map_err(unwritten)?;
    let mut token = URL_SAFE_NO_PAD.encode(head);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(claims, &mut token);
    let tag = hmac::sign(key.signing(C::KIND), token.as_bytes());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(tag, &mut token);
    Ok(token)
}

/// Verifies a token, and gives its claims and the name of its key.
///
/// # Errors
/// When it is not a live one of this kind for this audience.
pub fn verify<C: Claims>(
    ring: &Ring,
    token: &[u8],
    expected: Expected<'_>,
    now: Timestamp,
) -> Result<(C, String), TokenError> {
    if token.len() > LONGEST_TOKEN {
        return Err(TokenError::Form);
    }
    let token = std::str::from_utf8(token).map_err(|_| TokenError::Form)?;
    let (signed, tag) = token.rsplit_once('.').ok_or(TokenError::Form)?;
    let (head, claims) = signed.split_once('.').ok_or(TokenError::Form)?;
    let head = decode(head)?;
    let head: Head<'_> = serde_json::from_slice(&head).map_err(|_| TokenError::Head)?;
    if head.alg != ALGORITHM {
        return Err(TokenError::Head);
    }
    if head.typ != C::KIND.typ() {
        return Err(TokenError::Kind);
    }
    let key = ring.key(head.kid).ok_or(TokenError::Key)?;
    hmac::verify(key.signing(C::KIND), signed.as_bytes(), &decode(tag)?)
        .map_err(|_| TokenError::Signature)?;
    let claims: C = serde_json::from_slice(&decode(claims)?).map_err(|_| TokenError::Claims)?;
    check(claims.common(), C::KIND.longest_life(), expected, now)?;
    Ok((claims, key.id().to_string()))
}

/// Whether something is a token of ours by its looks: a kind that we make, a key that we know. A foreign value in
/// `Authorization` is the app's, and never an error.
pub fn looks_like_ours(ring: &Ring, token: &[u8]) -> bool {
    let head = token.split(|byte| *byte == b'.').next().unwrap_or_default();
    let Ok(head) = URL_SAFE_NO_PAD.decode(head) else {
        return false;
    };
    let kinds = [
        Signed::Session,
        Signed::Ticket,
        Signed::LoginRequest,
        Signed::Link,
    ];
    serde_json::from_slice::<Head<'_>>(&head).is_ok_and(|head| {
        kinds.iter().any(|kind| kind.typ() == head.typ) && ring.key(head.kid).is_some()
    })
}

/// base64url without padding, and with no bit that says nothing.
fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Form)
}

fn check(
    common: Common<'_>,
    longest_life: i64,
    expected: Expected<'_>,
    now: Timestamp,
) -> Result<(), TokenError> {
    if common.iss != expected.issuer {
        return Err(TokenError::Issuer);
    }
    if common.aud != expected.audience {
        return Err(TokenError::Audience);
    }
    check_times(common.iat, common.exp, longest_life, now)
}

/// Whether something made at `iat` for until `exp` lives. Shared with sealed values.
///
/// # Errors
/// When it is over, not yet made, or lives longer than its kind does.
pub fn check_times(
    iat: i64,
    exp: i64,
    longest_life: i64,
    now: Timestamp,
) -> Result<(), TokenError> {
    let now = now.as_second();
    let life = exp.checked_sub(iat).ok_or(TokenError::Times)?;
    if iat > now.saturating_add(SKEW) || !(0..=longest_life).contains(&life) {
        return Err(TokenError::Times);
    }
    if exp.saturating_add(SKEW) <= now {
        return Err(TokenError::Over);
    }
    Ok(())
}
