//! Tokens of a provider that lies: what is wrong with each, and that it is refused for that.

use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use rstest::rstest;
use serde_json::{Map, Value, json};

use super::claims::{ClaimsError, For, check_id_token, check_logout_token, groups, user};
use super::jwks::{KeySet, SignatureError, TokenType};
use super::*;

const ISSUER: &str = "https://id.example.com";
const WHOSE: For<'_> = For {
    issuer: ISSUER,
    client_id: "workstead",
};
const NOW: i64 = 1_800_000_000;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A provider with a key of each curve.
struct Signer {
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
    random: SystemRandom,
}

impl Signer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let by = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let ec = EcdsaKeyPair::generate_pkcs8(by, &random).unwrap();
        let ed = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        Self {
            ec: EcdsaKeyPair::from_pkcs8(by, ec.as_ref(), &random).unwrap(),
            ed: Ed25519KeyPair::from_pkcs8(ed.as_ref()).unwrap(),
            random,
        }
    }

    fn keys(&self) -> Value {
        let point = self.ec.public_key().as_ref();
        let (x, y) = point[1..].split_at(32);
        let [x, y, ed] = [x, y, self.ed.public_key().as_ref()].map(|p| URL_SAFE_NO_PAD.encode(p));
        json!({"keys": [
            {"kty": "EC", "crv": "P-256", "kid": "ec", "use": "sig", "alg": "ES256", "x": x, "y": y},
            {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": ed},
            {"kty": "something new", "kid": "n"},
            17,
        ]})
    }

    fn set(&self) -> KeySet {
        KeySet::parse(self.keys().to_string().as_bytes()).unwrap()
    }

    fn sign(&self, head: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", encode(head), encode(claims));
        let tag = if head["kid"] == "ed" {
            self.ed.sign(signed.as_bytes()).as_ref().to_vec()
        } else {
            let tag = self.ec.sign(&self.random, signed.as_bytes()).unwrap();
            tag.as_ref().to_vec()
        };
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
    }
}

fn good() -> Value {
    json!({
        "iss": ISSUER, "aud": "workstead", "sub": "42", "nonce": "n",
        "iat": NOW, "exp": NOW + 600, "email": "alice@example.com", "email_verified": true,
    })
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap()
}

#[rstest]
#[case(json!({"alg": "ES256", "kid": "ec", "typ": "JWT"}))]
#[case(json!({"alg": "ES256"}))]
#[case(json!({"alg": "EdDSA", "kid": "ed"}))]
fn a_token_that_a_key_of_the_provider_signed_is_taken(#[case] head: Value) {
    let signer = Signer::new();
    let mut signed_by = head.clone();
    if signed_by["alg"] == "EdDSA" {
        signed_by["kid"] = json!("ed");
    }
    let token = signer.sign(&signed_by, &good());
    let claims = signer.set().verify(&token, TokenType::Id).unwrap();
    assert_eq!(claims, *object(&good()));
}

#[rstest]
#[case::none(json!({"alg": "none"}), SignatureError::Algorithm("none".into()))]
#[case::none_in_capitals(json!({"alg": "None", "kid": "ec"}), SignatureError::Algorithm("None".into()))]
#[case::hmac(json!({"alg": "HS256", "kid": "ec"}), SignatureError::Algorithm("HS256".into()))]
#[case::nothing(json!({"kid": "ec"}), SignatureError::Algorithm(String::new()))]
#[case::rsa_by_a_curve(json!({"alg": "RS256", "kid": "ec"}), SignatureError::UnknownKey)]
#[case::other_curve(json!({"alg": "ES384", "kid": "ec"}), SignatureError::UnknownKey)]
#[case::other_kind(json!({"alg": "EdDSA", "kid": "ec"}), SignatureError::UnknownKey)]
#[case::unknown_key(json!({"alg": "ES256", "kid": "x"}), SignatureError::UnknownKey)]
#[case::own_key(json!({"alg": "ES256", "kid": "x", "jwk": {}, "jku": "https://evil.test"}), SignatureError::UnknownKey)]
#[case::crit(json!({"alg": "ES256", "kid": "ec", "crit": ["b64"]}), SignatureError::Head("crit"))]
#[case::access_token(json!({"alg": "ES256", "kid": "ec", "typ": "at+jwt"}), SignatureError::Head("typ"))]
#[case::logout_token(json!({"alg": "ES256", "kid": "ec", "typ": "logout+jwt"}), SignatureError::Head("typ"))]
#[case::typ_no_text(json!({"alg": "ES256", "kid": "ec", "typ": 1}), SignatureError::Head("typ"))]
fn threat_token_confusion_a_provider_that_lies_about_the_algorithm(
    #[case] head: Value,
    #[case] error: SignatureError,
) {
    let signer = Signer::new();
    let token = signer.sign(&head, &good());
    assert_eq!(signer.set().verify(&token, TokenType::Id), Err(error));
}

#[test]
fn threat_token_confusion_the_public_key_is_no_secret() {
    let signer = Signer::new();
    let head = json!({"alg": "HS256", "kid": "ec"});
    let signed = format!("{}.{}", encode(&head), encode(&good()));
    let public = signer.ec.public_key().as_ref();
    for key in [public, signer.keys().to_string().as_bytes()] {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
        let tag = URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, signed.as_bytes()));
        let verified = signer
            .set()
            .verify(&format!("{signed}.{tag}"), TokenType::Id);
        assert_eq!(verified, Err(SignatureError::Algorithm("HS256".into())));
    }
    // No signature at all.
    let bare = format!(
        "{}.{}.",
        encode(&json!({"alg": "ES256", "kid": "ec"})),
        encode(&good())
    );
    assert_eq!(
        signer.set().verify(&bare, TokenType::Id),
        Err(SignatureError::Wrong)
    );
}

#[test]
fn a_token_of_another_key_of_the_same_name_is_refused() {
    let (signer, other) = (Signer::new(), Signer::new());
    let token = other.sign(&json!({"alg": "ES256", "kid": "ec"}), &good());
    assert_eq!(
        signer.set().verify(&token, TokenType::Id),
        Err(SignatureError::Wrong)
    );
}

#[rstest]
#[case::issuer("iss", json!("https://id.example.com/"), ClaimsError::Issuer)]
#[case::no_issuer("iss", json!(null), ClaimsError::Issuer)]
#[case::audience("aud", json!("another"), ClaimsError::Audience)]
#[case::audience_list("aud", json!(["another"]), ClaimsError::Audience)]
#[case::several_without_azp("aud", json!(["workstead", "another"]), ClaimsError::Audience)]
#[case::azp("azp", json!("another"), ClaimsError::Audience)]
#[case::over("exp", json!(NOW - 30), ClaimsError::Times("exp"))]
#[case::no_end("exp", json!(null), ClaimsError::Times("exp"))]
#[case::end_as_text("exp", json!("9999999999"), ClaimsError::Times("exp"))]
#[case::from_the_future("iat", json!(NOW + 31), ClaimsError::Times("iat"))]
#[case::old("iat", json!(NOW - 630), ClaimsError::Times("iat"))]
#[case::not_yet("nbf", json!(NOW + 31), ClaimsError::Times("nbf"))]
#[case::nonce("nonce", json!("m"), ClaimsError::Nonce)]
#[case::no_nonce("nonce", json!(null), ClaimsError::Nonce)]
#[case::nonce_in_a_list("nonce", json!(["n"]), ClaimsError::Nonce)]
#[case::nobody("sub", json!(""), ClaimsError::Missing("sub".into()))]
fn threat_code_replay_and_mix_up_a_token_of_another_login_is_refused(
    #[case] claim: &str,
    #[case] value: Value,
    #[case] error: ClaimsError,
) {
    let mut claims = good();
    claims[claim] = value;
    assert_eq!(
        check_id_token(object(&claims), WHOSE, "n", now()),
        Err(error)
    );
}

#[rstest]
#[case(json!("workstead"), None)]
#[case(json!(["workstead"]), None)]
#[case(json!(["another", "workstead"]), Some("workstead"))]
fn a_token_for_us_is_taken(#[case] audience: Value, #[case] azp: Option<&str>) {
    let mut claims = good();
    claims["aud"] = audience;
    if let Some(azp) = azp {
        claims["azp"] = json!(azp);
    }
    let checked = check_id_token(object(&claims), WHOSE, "n", now());
    assert_eq!(checked, Ok((NOW, "42".to_owned())));
}

#[rstest]
#[case::verified("email", json!(true), Ok("alice@example.com"))]
#[case::verified_as_text("email", json!("true"), Ok("alice@example.com"))]
#[case::unverified("email", json!(false), Err(ClaimsError::Unverified))]
#[case::nothing_said("email", json!(null), Err(ClaimsError::Unverified))]
#[case::one("email", json!(1), Err(ClaimsError::Unverified))]
#[case::another_claim("sub", json!(false), Ok("42"))]
#[case::missing("upn", json!(true), Err(ClaimsError::Missing("upn".into())))]
fn threat_takeover_by_address_an_address_counts_only_when_verified(
    #[case] claim: &str,
    #[case] verified: Value,
    #[case] expected: Result<&str, ClaimsError>,
) {
    let mut claims = good();
    claims["email_verified"] = verified;
    assert_eq!(user(object(&claims), claim), expected.map(str::to_owned));
}

#[test]
fn groups_are_read_from_a_list_or_one_name_and_nothing_else() {
    let read = |value: Value| groups(object(&json!({"groups": value})), "groups");
    assert_eq!(
        read(json!(["a", 1, "b"])),
        Some(vec!["a".into(), "b".into()])
    );
    assert_eq!(read(json!("a")), Some(vec!["a".into()]));
    assert_eq!(read(json!([])), Some(Vec::new()));
    assert_eq!(read(json!({"a": 1})), None);
    assert_eq!(groups(object(&good()), "groups"), None);
}

fn logout() -> Value {
    json!({
        "iss": ISSUER, "aud": "workstead", "iat": NOW, "exp": NOW + 120, "jti": "j",
        "sub": "42", "sid": "s",
        "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
    })
}

#[test]
fn a_logout_token_says_whom_it_signs_out() {
    let signer = Signer::new();
    let token = signer.sign(
        &json!({"alg": "ES256", "kid": "ec", "typ": "logout+jwt"}),
        &logout(),
    );
    let claims = signer.set().verify(&token, TokenType::Logout).unwrap();
    let out = check_logout_token(&claims, WHOSE, now()).unwrap();
    assert_eq!(out.session.as_deref(), Some("s"));
    assert_eq!(out.subject.as_deref(), Some("42"));
    assert_eq!(out.issued_at, NOW);
}

#[rstest]
#[case::no_event("events", json!(null))]
#[case::other_event("events", json!({"https://example.com/event": {}}))]
#[case::event_as_text("events", json!({"http://schemas.openid.net/event/backchannel-logout": "x"}))]
#[case::nonce("nonce", json!("n"))]
#[case::issuer("iss", json!("https://evil.test"))]
#[case::audience("aud", json!("another"))]
#[case::old("iat", json!(NOW - 631))]
#[case::over("exp", json!(NOW - 31))]
#[case::no_name("jti", json!(null))]
#[case::empty_session("sid", json!(""))]
fn what_is_no_logout_token_signs_nobody_out(#[case] claim: &str, #[case] value: Value) {
    let mut claims = logout();
    claims[claim] = value;
    assert!(check_logout_token(object(&claims), WHOSE, now()).is_err());
}

#[test]
fn a_logout_token_that_names_nobody_and_an_id_token_sign_nobody_out() {
    let mut claims = logout();
    let fields = claims.as_object_mut().unwrap();
    fields.remove("sub");
    fields.remove("sid");
    assert!(check_logout_token(object(&claims), WHOSE, now()).is_err());
    assert!(check_logout_token(object(&good()), WHOSE, now()).is_err());
}

#[test]
fn the_challenge_is_that_of_the_standard() {
    // RFC 7636, appendix B.
    assert_eq!(
        pkce_challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
        "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    );
}

#[test]
fn a_client_is_named_as_in_a_form() {
    // RFC 6749, 2.3.1: encoded first.
    let value = basic("a b", "p:w%");
    let pair = STANDARD
        .decode(value.strip_prefix("Basic ").unwrap())
        .unwrap();
    assert_eq!(pair, b"a%20b:p%3Aw%25");
}
