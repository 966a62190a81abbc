//! A provider that lies: a small server that signs whatever a test says.

use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use workstead::model::clock::Clock as _;

use super::site::{AUTH, Browser, CALLBACK, World, mk_oidc};

/// What it says.
#[derive(Clone)]
struct Lie {
    head: Value,
    claims: Value,
    metadata: Value,
    /// Whether the token is signed by a key that is not published.
    by_another_key: bool,
    /// Whether the signature is an HMAC with the public key.
    by_the_public_key: bool,
}

impl Default for Lie {
    fn default() -> Self {
        Self {
            head: json!({"alg": "ES256", "kid": "k"}),
            claims: json!({}),
            metadata: json!({}),
            by_another_key: false,
            by_the_public_key: false,
        }
    }
}

struct Liar {
    issuer: String,
    lie: Lie,
    now: i64,
    keys: [EcdsaKeyPair; 2],
    /// Of the login that is under way.
    nonce: Mutex<String>,
    /// How often its keys were asked for, and the codes that were redeemed.
    asked: Mutex<(u32, Vec<String>)>,
}

fn mk_key() -> EcdsaKeyPair {
    let by = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let random = SystemRandom::new();
    let bytes = EcdsaKeyPair::generate_pkcs8(by, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(by, bytes.as_ref(), &random).unwrap()
}

/// The fields of a form, as they were before they were written into one.
fn fields(form: &[u8]) -> Vec<(String, String)> {
    let form = std::str::from_utf8(form).unwrap();
    let pairs = form.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| (plain(name), plain(value)))
        .collect()
}

fn plain(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'%' {
            let code = std::str::from_utf8(&tail[..2]).unwrap();
            bytes.push(u8::from_str_radix(code, 16).unwrap());
            rest = &tail[2..];
        } else {
            bytes.push(if byte == b'+' { b' ' } else { byte });
            rest = tail;
        }
    }
    String::from_utf8(bytes).unwrap()
}

impl Liar {
    async fn start(lie: Lie, tasks: &mut JoinSet<()>) -> (Arc<Self>, World) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let world = World::new(mk_oidc(&issuer, None));
        let liar = Arc::new(Self {
            issuer,
            lie,
            now: world.memory.now().as_second(),
            keys: [mk_key(), mk_key()],
            nonce: Mutex::default(),
            asked: Mutex::default(),
        });
        let metadata = |State(liar): State<Arc<Self>>| async move { Json(liar.metadata()) };
        let keys = |State(liar): State<Arc<Self>>| async move { Json(liar.key_set()) };
        let token = |State(liar): State<Arc<Self>>, form: Bytes| async move {
            Json(liar.redeem(&fields(&form)))
        };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/jwks", get(keys))
            .route("/token", post(token))
            .with_state(Arc::clone(&liar));
        tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
        (liar, world)
    }

    fn metadata(&self) -> Value {
        let mut metadata = json!({
            "issuer": self.issuer,
            "authorization_endpoint": format!("{}/auth", self.issuer),
            "token_endpoint": format!("{}/token", self.issuer),
            "jwks_uri": format!("{}/jwks", self.issuer),
            "code_challenge_methods_supported": ["S256"],
        });
        overwrite(&mut metadata, &self.lie.metadata);
        metadata
    }

    fn key_set(&self) -> Value {
        self.asked.lock().unwrap().0 += 1;
        let point = self.keys[0].public_key().as_ref();
        let [x, y] = [&point[1..33], &point[33..]].map(|half| URL_SAFE_NO_PAD.encode(half));
        json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "k", "x": x, "y": y}]})
    }

    fn redeem(&self, form: &[(String, String)]) -> Value {
        let field = |name: &str| {
            let found = form.iter().find(|(field, _)| field == name);
            found.map(|(_, value)| value.clone()).unwrap_or_default()
        };
        assert_eq!(field("redirect_uri"), CALLBACK);
        assert_eq!(field("code_verifier").len(), 43);
        self.asked.lock().unwrap().1.push(field("code"));
        let mut claims = json!({
            "iss": self.issuer, "aud": "workstead", "sub": "42", "nonce": *self.nonce.lock().unwrap(),
            "iat": self.now, "exp": self.now + 600, "email": "alice@example.com", "email_verified": true,
        });
        overwrite(&mut claims, &self.lie.claims);
        json!({"id_token": self.sign(&claims), "access_token": "a", "token_type": "Bearer"})
    }

    fn sign(&self, claims: &Value) -> String {
        let parts = [&self.lie.head, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = parts.join(".");
        let key = &self.keys[usize::from(self.lie.by_another_key)];
        let tag = if self.lie.by_the_public_key {
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key.public_key().as_ref());
            ring::hmac::sign(&key, signed.as_bytes()).as_ref().to_vec()
        } else if self.lie.head["alg"] == "none" {
            Vec::new()
        } else {
            let tag = key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
            tag.as_ref().to_vec()
        };
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
    }
}

fn overwrite(value: &mut Value, by: &Value) {
    for (name, new) in by.as_object().unwrap() {
        if new.is_null() {
            value.as_object_mut().unwrap().remove(name);
        } else {
            value[name] = new.clone();
        }
    }
}

/// One login; gives how it ended.
async fn sign_in(liar: &Liar, world: &World, browser: &mut Browser) -> StatusCode {
    let address = browser
        .follow(world, "https://api.ws.example.com/")
        .await
        .unwrap_err();
    let field = |name: &str| {
        let after = address.split(&format!("{name}=")).nth(1).unwrap();
        after.split('&').next().unwrap().to_owned()
    };
    *liar.nonce.lock().unwrap() = field("nonce");
    let back = format!("{CALLBACK}?state={}&code=c0de", field("state"));
    browser.follow(world, &back).await.unwrap().status()
}

#[tokio::test]
async fn a_provider_that_tells_the_truth_signs_in() {
    let mut tasks = JoinSet::new();
    let (liar, world) = Liar::start(Lie::default(), &mut tasks).await;
    let mut browser = Browser::default();
    assert_eq!(sign_in(&liar, &world, &mut browser).await, StatusCode::OK);
    assert!(browser.signed_in(&world).is_some());
    assert_eq!(liar.asked.lock().unwrap().1, ["c0de"]);
}

#[rstest]
#[case::nonce(json!({"nonce": "another"}))]
#[case::no_nonce(json!({"nonce": null}))]
#[case::audience(json!({"aud": "another"}))]
#[case::several_audiences(json!({"aud": ["another", "workstead"]}))]
#[case::issuer(json!({"iss": "https://evil.test"}))]
#[case::over(json!({"exp": 1}))]
#[case::old(json!({"iat": 1}))]
#[case::nobody(json!({"email": null}))]
#[case::unverified(json!({"email_verified": false}))]
#[tokio::test]
async fn threat_replay_and_mix_up_claims_of_another_login_sign_nobody_in(#[case] claims: Value) {
    let lie = Lie {
        claims,
        ..Lie::default()
    };
    refused(lie).await;
}

#[rstest]
#[case::none(json!({"alg": "none"}), false, false)]
#[case::hmac_with_the_public_key(json!({"alg": "HS256", "kid": "k"}), false, true)]
#[case::unknown_key(json!({"alg": "ES256", "kid": "x"}), true, false)]
#[case::another_key_of_the_name(json!({"alg": "ES256", "kid": "k"}), true, false)]
#[case::access_token(json!({"alg": "ES256", "kid": "k", "typ": "at+jwt"}), false, false)]
#[tokio::test]
async fn threat_token_confusion_a_token_signed_otherwise_signs_nobody_in(
    #[case] head: Value,
    #[case] by_another_key: bool,
    #[case] by_the_public_key: bool,
) {
    let lie = Lie {
        head,
        by_another_key,
        by_the_public_key,
        ..Lie::default()
    };
    refused(lie).await;
}

async fn refused(lie: Lie) {
    let mut tasks = JoinSet::new();
    let (liar, world) = Liar::start(lie, &mut tasks).await;
    let mut browser = Browser::default();
    let status = sign_in(&liar, &world, &mut browser).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(browser.signed_in(&world).is_none());
    assert!(browser.cookies(AUTH).is_empty());
}

#[rstest]
#[case::no_s256(json!({"code_challenge_methods_supported": null}))]
#[case::another_issuer(json!({"issuer": "https://evil.test"}))]
#[case::no_keys(json!({"jwks_uri": null}))]
#[tokio::test]
async fn a_provider_that_can_not_be_used_is_never_sent_a_browser(#[case] metadata: Value) {
    let lie = Lie {
        metadata,
        ..Lie::default()
    };
    let mut tasks = JoinSet::new();
    let (_, world) = Liar::start(lie, &mut tasks).await;
    assert!(world.provider.load().await.is_err());
    assert!(!world.provider.is_loaded());
    let answer = Browser::default()
        .follow(&world, "https://api.ws.example.com/")
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn threat_kid_flood_keys_are_fetched_again_once_a_minute_at_most() {
    let lie = Lie {
        head: json!({"alg": "ES256", "kid": "unknown"}),
        ..Lie::default()
    };
    let mut tasks = JoinSet::new();
    let (liar, world) = Liar::start(lie, &mut tasks).await;
    for _ in 0..5 {
        sign_in(&liar, &world, &mut Browser::default()).await;
    }
    let asked = || liar.asked.lock().unwrap().0;
    assert_eq!(asked(), 1);
    *world.memory.ahead.lock().unwrap() = 61;
    for _ in 0..5 {
        sign_in(&liar, &world, &mut Browser::default()).await;
    }
    assert_eq!(asked(), 2);
}

#[tokio::test]
async fn threat_mix_up_a_provider_that_announces_its_name_must_give_it() {
    let lie = Lie {
        metadata: json!({"authorization_response_iss_parameter_supported": true}),
        ..Lie::default()
    };
    let mut tasks = JoinSet::new();
    let (liar, world) = Liar::start(lie, &mut tasks).await;
    let status = sign_in(&liar, &world, &mut Browser::default()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(
        liar.asked.lock().unwrap().1.is_empty(),
        "the code was redeemed all the same"
    );
}
