//! The provider's keys, and signatures by them. What a token says of its algorithm is held against a list, and against
//! the kind of the key: no secret of ours and no public text is ever taken for a key.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Keys of a set beyond these are left out.
const MOST_KEYS: usize = 64;
/// Longer tokens are not looked at.
const LONGEST_TOKEN: usize = 64 * 1024;

/// A set of keys.
#[derive(Clone, Debug, Default)]
pub struct KeySet(Vec<Key>);

#[derive(Clone, Debug, Deserialize)]
struct Key {
    kty: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default, rename = "use")]
    usage: Option<String>,
    #[serde(default)]
    crv: Option<String>,
    #[serde(default)]
    n: Option<String>,
    #[serde(default)]
    e: Option<String>,
    #[serde(default)]
    x: Option<String>,
    #[serde(default)]
    y: Option<String>,
}

/// Why a token is not the provider's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// No compact JWT.
    #[error("it is no compact JWT")]
    Form,
    /// The head asks for something that we don't do.
    #[error("its head asks for '{0}', which is not understood")]
    Head(&'static str),
    /// Not on the list.
    #[error("it is signed by '{0}', which is not on the list of algorithms")]
    Algorithm(String),
    /// No key of the provider fits.
    #[error("no key of the provider fits it")]
    UnknownKey,
    /// The signature is wrong.
    #[error("its signature is wrong")]
    Wrong,
}

/// What an algorithm needs of a key.
enum Scheme {
    Rsa(&'static RsaParameters),
    Curve {
        kty: &'static str,
        crv: &'static str,
        by: &'static dyn VerificationAlgorithm,
    },
}

/// The list. Never `none`, and no HMAC: its key would be a secret that both sides have.
fn scheme(alg: &str) -> Option<Scheme> {
    let curve = |kty, crv, by| Some(Scheme::Curve { kty, crv, by });
    match alg {
        "RS256" => Some(Scheme::Rsa(&RSA_PKCS1_2048_8192_SHA256)),
        "RS384" => Some(Scheme::Rsa(&RSA_PKCS1_2048_8192_SHA384)),
        "RS512" => Some(Scheme::Rsa(&RSA_PKCS1_2048_8192_SHA512)),
        "PS256" => Some(Scheme::Rsa(&RSA_PSS_2048_8192_SHA256)),
        "PS384" => Some(Scheme::Rsa(&RSA_PSS_2048_8192_SHA384)),
        "PS512" => Some(Scheme::Rsa(&RSA_PSS_2048_8192_SHA512)),
        "ES256" => curve("EC", "P-256", &ECDSA_P256_SHA256_FIXED),
        "ES384" => curve("EC", "P-384", &ECDSA_P384_SHA384_FIXED),
        "EdDSA" | "Ed25519" => curve("OKP", "Ed25519", &ED25519),
        _ => None,
    }
}

/// A kind of token that a provider signs, by what its head may call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenType {
    /// An ID token.
    Id,
    /// A logout token.
    Logout,
}

impl TokenType {
    /// An access token or another kind says so in `typ`; those of this kind may leave it out.
    fn takes(self, typ: &str) -> bool {
        typ.eq_ignore_ascii_case("JWT")
            || (self == Self::Logout && typ.eq_ignore_ascii_case("logout+jwt"))
    }
}

impl KeySet {
    /// Reads a key set. Keys of kinds that we don't know are left out.
    pub fn parse(text: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(text).ok()?;
        let keys = set.keys.into_iter().take(MOST_KEYS);
        Some(Self(
            keys.filter_map(|key| serde_json::from_value(key).ok())
                .collect(),
        ))
    }

    /// Verifies a token, and gives its claims.
    ///
    /// # Errors
    /// When it is not signed by one of these keys. [`SignatureError::UnknownKey`] may change with a newer set.
    pub fn verify(
        &self,
        token: &str,
        typ: TokenType,
    ) -> Result<Map<String, Value>, SignatureError> {
        if token.len() > LONGEST_TOKEN {
            return Err(SignatureError::Form);
        }
        let (signed, tag) = token.rsplit_once('.').ok_or(SignatureError::Form)?;
        let (head, claims) = signed.split_once('.').ok_or(SignatureError::Form)?;
        let head = object(head)?;
        let text = |name: &str| head.get(name).and_then(Value::as_str);
        if head.contains_key("crit") {
            return Err(SignatureError::Head("crit"));
        }
        if head.get("typ").is_some() && !text("typ").is_some_and(|found| typ.takes(found)) {
            return Err(SignatureError::Head("typ"));
        }
        let alg = text("alg").unwrap_or_default();
        let scheme =
            scheme(alg).ok_or_else(|| SignatureError::Algorithm(alg.chars().take(20).collect()))?;
        let tag = URL_SAFE_NO_PAD
            .decode(tag)
            .map_err(|_| SignatureError::Form)?;
        let key = self.fitting(alg, &scheme, text("kid"))?;
        if !key.signed(&scheme, signed.as_bytes(), &tag) {
            return Err(SignatureError::Wrong);
        }
        object(claims)
    }

    /// The one key that a token can be signed by. A token that names none is taken where only one fits.
    fn fitting(
        &self,
        alg: &str,
        scheme: &Scheme,
        kid: Option<&str>,
    ) -> Result<&Key, SignatureError> {
        let mut fitting = self
            .0
            .iter()
            .filter(|key| key.fits(alg, scheme) && (kid.is_none() || key.kid.as_deref() == kid));
        let key = fitting.next().ok_or(SignatureError::UnknownKey)?;
        match fitting.next() {
            None => Ok(key),
            Some(_) => Err(SignatureError::UnknownKey),
        }
    }
}

impl Key {
    fn fits(&self, alg: &str, scheme: &Scheme) -> bool {
        let kind = match scheme {
            Scheme::Rsa(_) => self.kty == "RSA",
            Scheme::Curve { kty, crv, .. } => self.kty == *kty && self.crv.as_deref() == Some(*crv),
        };
        kind && self.alg.as_deref().is_none_or(|own| own == alg)
            && self.usage.as_deref().is_none_or(|usage| usage == "sig")
    }

    fn signed(&self, scheme: &Scheme, message: &[u8], tag: &[u8]) -> bool {
        let bytes = |part: &Option<String>| URL_SAFE_NO_PAD.decode(part.as_ref()?).ok();
        match scheme {
            Scheme::Rsa(parameters) => {
                let (Some(n), Some(e)) = (bytes(&self.n), bytes(&self.e)) else {
                    return false;
                };
                let key = RsaPublicKeyComponents { n, e };
                key.verify(parameters, message, tag).is_ok()
            }
            Scheme::Curve { kty, by, .. } => {
                let Some(x) = bytes(&self.x) else {
                    return false;
                };
                let point = match bytes(&self.y) {
                    // An uncompressed point (SEC 1).
                    Some(y) if *kty == "EC" => [&[4], x.as_slice(), &y].concat(),
                    _ => x,
                };
                UnparsedPublicKey::new(*by, point)
                    .verify(message, tag)
                    .is_ok()
            }
        }
    }
}

fn object(part: &str) -> Result<Map<String, Value>, SignatureError> {
    let bytes = URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| SignatureError::Form)?;
    serde_json::from_slice(&bytes).map_err(|_| SignatureError::Form)
}
