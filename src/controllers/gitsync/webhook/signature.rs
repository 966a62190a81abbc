//! Who may report a push: the path that belongs to a token, and the ways in which Git servers sign. Pure.
//!
//! Every comparison takes the same time whatever is wrong.

use hmac::{Hmac, Mac};
use http::HeaderMap;
use sha2::Sha256;

type HmacSha256 = Hmac<Sha256>;

/// Headers that carry `sha256=<hex of the HMAC of the body>`: GitHub and Gitea, Bitbucket, generic senders.
const HMAC_HEADERS: [&str; 3] = ["x-hub-signature-256", "x-hub-signature", "x-signature"];
/// The header in which GitLab sends the token itself.
const TOKEN_HEADER: &str = "x-gitlab-token";
/// What is before the hash in a path.
pub const PATH_PREFIX: &str = "/hook/";

/// The path at which a GitSync with this token is told of pushes. Nobody without the token can work it out.
pub fn hook_path(namespace: &str, name: &str, token: &[u8]) -> Option<String> {
    if token.is_empty() {
        return None;
    }
    let mut mac = HmacSha256::new_from_slice(token).ok()?;
    // Neither a namespace nor a name holds a NUL, so no two pairs read the same.
    mac.update(b"workstead hook\0");
    mac.update(namespace.as_bytes());
    mac.update(b"\0");
    mac.update(name.as_bytes());
    Some(format!(
        "{PATH_PREFIX}{}",
        hex::encode(mac.finalize().into_bytes())
    ))
}

/// A check in progress: the body is fed in as it comes, so that it need not be kept.
pub struct Check {
    claim: Claim,
    body: HmacSha256,
}

enum Claim {
    /// The HMAC that the sender claims for the body.
    Body(Vec<u8>),
    /// The sender showed a token; whether it was the right one.
    Token(bool),
    /// No signature at all, or one that does not parse.
    Nothing,
}

impl Check {
    /// Reads what the sender claims. `None` when the token is empty, which never lets anybody in.
    pub fn begin(headers: &HeaderMap, token: &[u8]) -> Option<Self> {
        if token.is_empty() {
            return None;
        }
        let body = HmacSha256::new_from_slice(token).ok()?;
        Some(Self {
            claim: claim(headers, token),
            body,
        })
    }

    /// Whether the sender claims anything: without it the body need not be read.
    pub fn is_claimed(&self) -> bool {
        !matches!(self.claim, Claim::Nothing)
    }

    /// Takes the next part of the body.
    pub fn update(&mut self, part: &[u8]) {
        self.body.update(part);
    }

    /// The verdict, after the whole body.
    #[must_use]
    pub fn into_verdict(self) -> bool {
        match self.claim {
            Claim::Body(claimed) => self.body.verify_slice(&claimed).is_ok(),
            Claim::Token(same) => same,
            Claim::Nothing => false,
        }
    }
}

fn claim(headers: &HeaderMap, token: &[u8]) -> Claim {
    for name in HMAC_HEADERS {
        if let Some(value) = headers.get(name) {
            let digits = value
                .to_str()
                .ok()
                .and_then(|text| text.strip_prefix("sha256="));
            return match digits.map(hex::decode) {
                Some(Ok(claimed)) => Claim::Body(claimed),
                _ => Claim::Nothing,
            };
        }
    }
    match headers.get(TOKEN_HEADER) {
        Some(value) => Claim::Token(equal(value.as_bytes(), token)),
        None => Claim::Nothing,
    }
}

/// Compares two secrets by their MACs: `verify_slice` takes the same time wherever they differ, and neither's length shows.
fn equal(left: &[u8], right: &[u8]) -> bool {
    let (Ok(mut of_left), Ok(mut of_right)) = (
        HmacSha256::new_from_slice(right),
        HmacSha256::new_from_slice(right),
    ) else {
        return false;
    };
    of_left.update(left);
    of_right.update(right);
    of_right
        .verify_slice(&of_left.finalize().into_bytes())
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.insert(*name, value.parse().unwrap());
        }
        map
    }

    fn sign(token: &[u8], body: &[u8]) -> String {
        let mut mac = HmacSha256::new_from_slice(token).unwrap();
        mac.update(body);
        format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
    }

    fn verdict(pairs: &[(&'static str, &str)], token: &[u8], body: &[u8]) -> bool {
        let Some(mut check) = Check::begin(&headers(pairs), token) else {
            return false;
        };
        for part in body.chunks(3) {
            check.update(part);
        }
        check.into_verdict()
    }

    #[test]
    fn the_example_of_githubs_documentation_into_verdict() {
        let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert!(verdict(
            &[("x-hub-signature-256", signature)],
            b"It's a Secret to Everybody",
            b"Hello, World!"
        ));
    }

    #[test]
    fn a_changed_body_another_token_and_a_broken_header_are_refused() {
        let good = sign(b"token", b"body");
        for name in HMAC_HEADERS {
            assert!(verdict(&[(name, &good)], b"token", b"body"));
            assert!(!verdict(&[(name, &good)], b"token", b"bodY"));
            assert!(!verdict(&[(name, &good)], b"tokem", b"body"));
            assert!(!verdict(&[(name, &good)], b"", b"body"));
            assert!(!verdict(&[(name, "sha1=00")], b"token", b"body"));
            assert!(!verdict(&[(name, "sha256=")], b"token", b"body"));
            assert!(!verdict(&[(name, "sha256=zz")], b"token", b"body"));
            assert!(!verdict(
                &[(name, &good[..good.len() - 2])],
                b"token",
                b"body"
            ));
        }
        assert!(!verdict(&[], b"token", b"body"));
    }

    #[test]
    fn gitlabs_token_must_be_the_whole_token() {
        let shown = |text: &str| verdict(&[("x-gitlab-token", text)], b"token", b"whatever");
        assert!(shown("token"));
        assert!(!shown("toke"));
        assert!(!shown("token2"));
        assert!(!shown(""));
    }

    #[test]
    fn a_bad_signature_is_not_saved_by_a_good_token_beside_it() {
        let pairs = [
            ("x-hub-signature-256", "sha256=00"),
            ("x-gitlab-token", "token"),
        ];
        assert!(!verdict(&pairs, b"token", b"body"));
    }

    #[test]
    fn paths_differ_by_namespace_name_and_token() {
        let path = hook_path("a", "bc", b"t").unwrap();
        assert_eq!(path.len(), PATH_PREFIX.len() + 64);
        assert_ne!(path, hook_path("ab", "c", b"t").unwrap());
        assert_ne!(path, hook_path("a", "bc", b"u").unwrap());
        assert_eq!(hook_path("a", "b", b""), None);
    }
}
