//! What browsers and strangers send to the proxy as cookies, tokens, queries and forms.

use std::sync::LazyLock;

use jiff::Timestamp;

use crate::model::entropy::Entropy;
use crate::model::keyring::KeyRing;
use crate::proxy::login::oidc::jwks::{KeySet, TokenType};
use crate::proxy::login::query;
use crate::proxy::session::claims::{
    Attempt, AuthSession, LinkClaims, LoginRequestClaims, SessionClaims, TicketClaims,
};
use crate::proxy::session::cookies::{self, Found};
use crate::proxy::session::keys::{Keys, Ring};
use crate::proxy::session::revocation::Entry;
use crate::proxy::session::sealed::{self, Value};
use crate::proxy::session::tokens::{self, Claims, Expected};

/// Always the same bytes: nobody is to be kept out here.
struct Fixed;

impl Entropy for Fixed {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

static KEYS: LazyLock<Keys> =
    LazyLock::new(|| Keys::new(&KeyRing::generate(Timestamp::UNIX_EPOCH, &Fixed)).unwrap());

/// `Cookie` fields, a line each. Their parts are the fields; a name is found as often as it stands there, whatever is
/// around it.
pub fn cookies(data: &[u8]) {
    let fields: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let mut count = 0;
    for field in &fields {
        let mut at = 0;
        for cookie in cookies::read(field) {
            let start = field[at..].starts_with(b" ").into();
            assert!(field[at..][start..].starts_with(cookie.raw));
            at += start + cookie.raw.len() + 1;
            count += usize::from(cookie.name == cookies::SESSION.as_bytes());
            let named = cookie.raw.starts_with(cookies::SESSION.as_bytes());
            assert!(!cookies::is_ours(cookie.name) || named);
        }
        assert_eq!(at, field.len() + 1);
    }
    let found = cookies::find(fields.iter().copied(), cookies::SESSION);
    match found {
        Found::Absent => assert_eq!(count, 0),
        Found::One(_) => assert_eq!(count, 1),
        Found::Twice => assert!(count > 1),
    }
    let all = cookies::find_all(fields.iter().copied(), cookies::NONCE_PREFIX);
    assert!(all.windows(2).all(|two| two[0].0 < two[1].0));
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(line) = cookies::set(cookies::SESSION, text, 1)
    {
        let pair = line.as_bytes().split(|byte| *byte == b';').next().unwrap();
        assert_eq!(cookies::find([pair], cookies::SESSION), Found::One(data));
    }
}

/// A token, in whatever place one is taken. None is one that we signed or sealed: all are refused.
pub fn tokens(data: &[u8]) {
    let ring = KEYS.load();
    no_token::<SessionClaims>(&ring, data);
    no_token::<TicketClaims>(&ring, data);
    no_token::<LoginRequestClaims>(&ring, data);
    no_token::<LinkClaims>(&ring, data);
    no_value::<Attempt>(&ring, data);
    no_value::<AuthSession>(&ring, data);
    tokens::looks_like_ours(&ring, data);
    if let Ok(text) = std::str::from_utf8(data) {
        texts(text);
    }
    if let Some(keys) = KeySet::parse(data) {
        let _ = keys.verify("e30.e30.", TokenType::Id);
    }
    if let Ok(ring) = KeyRing::parse(data) {
        let again = KeyRing::parse(ring.to_json().as_bytes());
        let ids = |ring: &KeyRing| {
            ring.keys()
                .iter()
                .map(|key| key.id.clone())
                .collect::<Vec<_>>()
        };
        assert!(again.is_ok_and(|again| ids(&again) == ids(&ring)));
    }
}

fn no_token<C: Claims>(ring: &Ring, data: &[u8]) {
    let expected = Expected {
        issuer: "auth.ws.localhost",
        audience: "api.ws.localhost",
    };
    let verified = tokens::verify::<C>(ring, data, expected, Timestamp::UNIX_EPOCH);
    assert!(verified.is_err(), "a token out of nothing");
}

fn no_value<V: Value>(ring: &Ring, data: &[u8]) {
    let opened = sealed::open::<V>(ring, data, "state", Timestamp::UNIX_EPOCH);
    assert!(opened.is_err(), "a sealed value out of nothing");
}

fn texts(text: &str) {
    let _ = KeySet::default().verify(text, TokenType::Logout);
    let path = query::return_path(text);
    assert!(path.starts_with('/') && !path.starts_with("//") && !path.contains(['\\', '\n', '\t']));
    if let Some(entry) = Entry::parse(text) {
        assert_eq!(Entry::parse(&entry.to_json()), Some(entry));
    }
    if let Some(pairs) = query::Pairs::parse(text)
        && let Some(value) = pairs.only("a")
    {
        let written = query::write(&[("a", value)]);
        assert_eq!(
            query::Pairs::parse(&written).unwrap().only("a"),
            Some(value)
        );
    }
}
