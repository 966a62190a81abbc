//! Tokens and sealed values: what was made is read, and nothing else.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use ring::hmac;
use rstest::rstest;

use super::*;
use crate::proxy::session::claims::{
    Attempt, AuthSession, LinkClaims, LoginRequestClaims, LoginTarget, TicketClaims,
};
use crate::proxy::session::groups::GroupSet;
use crate::proxy::session::keys::Signed;
use crate::proxy::session::sealed::{open, seal};
use crate::proxy::session::tokens::{Claims, Expected, TokenError, looks_like_ours, sign, verify};
use crate::proxy::session::{cookies, groups};

const EXPECTED: Expected<'_> = Expected {
    issuer: AUTH_HOST,
    audience: HOST,
};

fn read<C: Claims>(keys: &Keys, token: &str, second: i64) -> Result<C, TokenError> {
    verify(&keys.load(), token.as_bytes(), EXPECTED, at(second)).map(|(claims, _)| claims)
}

/// A token with this head and these claims, signed by the right key for sessions.
fn forge(keys: &Keys, head: &str, claims: &str) -> String {
    let ring = keys.load();
    let key = ring.signing_now(at(0)).unwrap();
    let head = head.replace("KID", key.id().as_str());
    let signed = [head.as_str(), claims]
        .map(|part| URL_SAFE_NO_PAD.encode(part))
        .join(".");
    let tag = hmac::sign(key.signing(Signed::Session), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fn claims_json() -> String {
    serde_json::to_string(&mk_claims()).unwrap()
}

const HEAD: &str = r#"{"typ":"wsd-session","alg":"HS256","kid":"KID"}"#;

#[test]
fn a_token_is_read_back_as_it_was_signed() {
    let keys = mk_keys();
    let token = sign(&keys.load(), &mk_claims(), at(0)).unwrap();
    assert_eq!(read(&keys, &token, 0), Ok(mk_claims()));
    assert_eq!(forge(&keys, HEAD, &claims_json()), token);
}

#[rstest]
#[case::before(-31, Err(TokenError::Times))]
#[case::clock_behind(-30, Ok(()))]
#[case::at_the_end(3629, Ok(()))]
#[case::over(3630, Err(TokenError::Over))]
fn a_token_lives_for_its_time(#[case] second: i64, #[case] expected: Result<(), TokenError>) {
    let keys = mk_keys();
    let token = sign(&keys.load(), &mk_claims(), at(0)).unwrap();
    let read: Result<SessionClaims, _> = read(&keys, &token, second);
    assert_eq!(read.map(|_| ()), expected);
}

#[rstest]
#[case::alg_none(r#"{"typ":"wsd-session","alg":"none","kid":"KID"}"#, TokenError::Head)]
#[case::alg_rs256(r#"{"typ":"wsd-session","alg":"RS256","kid":"KID"}"#, TokenError::Head)]
#[case::alg_case(r#"{"typ":"wsd-session","alg":"hs256","kid":"KID"}"#, TokenError::Head)]
#[case::typ_jwt(r#"{"typ":"JWT","alg":"HS256","kid":"KID"}"#, TokenError::Kind)]
#[case::typ_ticket(r#"{"typ":"wsd-ticket","alg":"HS256","kid":"KID"}"#, TokenError::Kind)]
#[case::no_typ(r#"{"alg":"HS256","kid":"KID"}"#, TokenError::Head)]
#[case::crit(
    r#"{"typ":"wsd-session","alg":"HS256","kid":"KID","crit":["exp"]}"#,
    TokenError::Head
)]
#[case::jwk(
    r#"{"typ":"wsd-session","alg":"HS256","kid":"KID","jwk":{}}"#,
    TokenError::Head
)]
#[case::alg_twice(
    r#"{"alg":"none","typ":"wsd-session","alg":"HS256","kid":"KID"}"#,
    TokenError::Head
)]
#[case::kid_path(
    r#"{"typ":"wsd-session","alg":"HS256","kid":"../../dev/null"}"#,
    TokenError::Key
)]
#[case::escaped(
    r#"{"typ":"wsd-\u0073ession","alg":"HS256","kid":"KID"}"#,
    TokenError::Head
)]
fn threat_token_confusion_by_the_head(#[case] head: &str, #[case] error: TokenError) {
    let keys = mk_keys();
    let token = forge(&keys, head, &claims_json());
    assert_eq!(read::<SessionClaims>(&keys, &token, 0), Err(error));
}

#[rstest]
#[case::twice("\"aud\":", "\"aud\":\"evil\",\"aud\":", TokenError::Claims)]
#[case::who_twice("\"sub\":", "\"sub\":\"bob\",\"sub\":", TokenError::Claims)]
#[case::another_issuer(AUTH_HOST, "login.example.org", TokenError::Issuer)]
#[case::another_host(HOST, "web.ws.example.com", TokenError::Audience)]
#[case::host_in_capitals(HOST, "API.ws.example.com", TokenError::Audience)]
#[case::lives_too_long("1800003600", "1800003601", TokenError::Times)]
#[case::ends_before_it_begins("\"exp\":1800003600", "\"exp\":1799999999", TokenError::Times)]
#[case::time_as_text("1800003600", "\"1800003600\"", TokenError::Claims)]
#[case::no_bounds("\"exp\":1800003600", "\"exp\":9223372036854775807", TokenError::Times)]
fn threat_token_confusion_by_the_claims(
    #[case] from: &str,
    #[case] to: &str,
    #[case] error: TokenError,
) {
    let keys = mk_keys();
    let claims = claims_json().replace(from, to);
    assert_ne!(claims, claims_json());
    let token = forge(&keys, HEAD, &claims);
    assert_eq!(read::<SessionClaims>(&keys, &token, 0), Err(error));
}

#[test]
fn threat_token_confusion_between_kinds() {
    let keys = mk_keys();
    let common = (AUTH_HOST.to_owned(), HOST.to_owned());
    let (iat, exp) = (at(0).as_second(), at(60).as_second());
    let target = LoginTarget {
        host: HOST.to_owned(),
        path: "/".to_owned(),
        nonce: "n".to_owned(),
    };
    let ticket = TicketClaims {
        iss: common.0.clone(),
        aud: common.1.clone(),
        ws_uid: UID.to_owned(),
        nonce: "n".to_owned(),
        path: "/".to_owned(),
        who: mk_login(),
        grp: Vec::new(),
        iat,
        exp,
    };
    let request = LoginRequestClaims {
        iss: common.0.clone(),
        aud: common.1.clone(),
        target,
        iat,
        exp,
    };
    let link = LinkClaims {
        iss: common.0,
        aud: common.1,
        sub: "alice@example.com".to_owned(),
        host: HOST.to_owned(),
        jti: "j".to_owned(),
        iat,
        exp,
    };
    let ring = keys.load();
    let tokens = [
        sign(&ring, &mk_claims(), at(0)).unwrap(),
        sign(&ring, &ticket, at(0)).unwrap(),
        sign(&ring, &request, at(0)).unwrap(),
        sign(&ring, &link, at(0)).unwrap(),
    ];
    for (kind, token) in tokens.iter().enumerate() {
        let taken = [
            read::<SessionClaims>(&keys, token, 0).is_ok(),
            read::<TicketClaims>(&keys, token, 0).is_ok(),
            read::<LoginRequestClaims>(&keys, token, 0).is_ok(),
            read::<LinkClaims>(&keys, token, 0).is_ok(),
        ];
        let expected: Vec<bool> = (0..4).map(|other| other == kind).collect();
        assert_eq!(taken.to_vec(), expected);
        // And the key is another one too, whatever the head says.
        let body = token.split_once('.').unwrap().1;
        let head = tokens[0].split_once('.').unwrap().0;
        let renamed = format!("{head}.{body}");
        let read = read::<SessionClaims>(&keys, &renamed, 0);
        assert_eq!(read.is_ok(), kind == 0);
    }
}

#[test]
fn a_token_in_another_spelling_is_none() {
    let keys = mk_keys();
    let token = sign(&keys.load(), &mk_claims(), at(0)).unwrap();
    let last = token.chars().last().unwrap();
    // The last character of 32 bytes carries four bits; its two others say nothing and must be zero.
    let position = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        .iter()
        .position(|byte| char::from(*byte) == last)
        .unwrap();
    let sibling = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[position + 1];
    let stem = &token[..token.len() - 1];
    for other in [
        format!("{stem}{}", char::from(sibling)),
        format!("{token}="),
        format!("{token}."),
        format!(".{token}"),
        format!("{token} "),
        format!("{token}\n"),
        token.replace('.', ".."),
        token.replacen('.', "", 1),
        String::new(),
        "..".to_owned(),
    ] {
        assert!(read::<SessionClaims>(&keys, &other, 0).is_err(), "{other}");
    }
}

#[test]
fn a_token_of_another_ring_is_none_and_one_of_an_older_key_still_is() {
    let entropy = Counting::default();
    let old = KeyRing::generate(at(-3600), &entropy);
    let keys = Keys::new(&old).unwrap();
    let token = sign(&keys.load(), &mk_claims(), at(0)).unwrap();
    let month = 30 * 24 * 3600;
    let next = crate::model::keyring::next_ring(&old, at(month), &entropy).unwrap();
    keys.exchange(&next).unwrap();
    assert!(read::<SessionClaims>(&keys, &token, 0).is_ok());
    // The newest key whose time has come signs.
    let by = |keys: &Keys, second| {
        keys.load()
            .signing_now(at(second))
            .unwrap()
            .id()
            .to_string()
    };
    assert_eq!(by(&keys, month), next.keys()[1].id.to_string());
    assert_eq!(by(&keys, -3601), next.keys()[0].id.to_string());
    let other = Keys::new(&KeyRing::generate(at(-3600), &entropy)).unwrap();
    assert_eq!(
        read::<SessionClaims>(&other, &token, 0),
        Err(TokenError::Key)
    );
}

fn mk_auth(group_count: usize) -> AuthSession {
    let names: Vec<String> = (0..group_count)
        .map(|number| format!("a-group-with-a-rather-long-name-{number}"))
        .collect();
    AuthSession {
        who: mk_login(),
        grp: GroupSet::new(names.iter().map(String::as_str), |_| false),
        hint: None,
        iat: at(0).as_second(),
        exp: at(12 * 3600).as_second(),
    }
}

#[test]
fn a_sealed_value_opens_only_as_what_it_was_sealed_for() {
    let keys = mk_keys();
    let ring = keys.load();
    let attempt = Attempt {
        nonce: "n".to_owned(),
        verifier: "v".to_owned(),
        target: LoginTarget {
            host: HOST.to_owned(),
            path: "/".to_owned(),
            nonce: "n".to_owned(),
        },
        iat: at(0).as_second(),
        exp: at(600).as_second(),
    };
    let sealed = seal(&ring, &attempt, "state-1", at(0), &Counting::default()).unwrap();
    let opened =
        |bound: &str, second| open::<Attempt>(&ring, sealed.as_bytes(), bound, at(second)).err();
    assert!(opened("state-1", 0).is_none());
    assert_eq!(opened("state-2", 0), Some(TokenError::Signature));
    assert_eq!(opened("state-1", 630), Some(TokenError::Over));
    let as_session = open::<AuthSession>(&ring, sealed.as_bytes(), "state-1", at(0)).err();
    assert_eq!(as_session, Some(TokenError::Signature));
    // Nobody reads what it says.
    let body = sealed.split_once('.').unwrap().1;
    let bytes = URL_SAFE_NO_PAD.decode(body).unwrap();
    assert!(
        !bytes
            .windows(HOST.len())
            .any(|window| window == HOST.as_bytes())
    );
}

#[test]
fn every_cookie_of_a_user_with_two_hundred_groups_is_kept_by_browsers() {
    let keys = mk_keys();
    let ring = keys.load();
    let mut login = mk_login();
    login.sub = format!("{}@example.com", "a".repeat(200));
    login.op_sid = Some("b".repeat(64));
    login.op_sub = Some("c".repeat(32));
    let auth = AuthSession {
        who: login.clone(),
        ..mk_auth(200)
    };
    let sealed = seal(&ring, &auth, "", at(0), &Counting::default()).unwrap();
    assert!(cookies::set(cookies::AUTH, &sealed, 43200).is_ok());
    let names: Vec<String> = (0..200).map(|n| format!("group-{n:036}")).collect();
    let all = GroupSet::new(names.iter().map(String::as_str), |_| true);
    let session = SessionClaims {
        who: login,
        grp: all.among(names.iter().map(String::as_str)),
        aud: format!("{}.example.com", "h".repeat(63)),
        ..mk_claims()
    };
    assert!(session.grp.len() > 20);
    let token = sign(&ring, &session, at(0)).unwrap();
    assert!(cookies::set(cookies::SESSION, &token, 3600).is_ok());
    assert_eq!(groups::MOST_GROUPS, 200);
}

#[rstest]
#[case::session(true)]
#[case::foreign(false)]
fn only_our_own_kinds_with_a_key_of_ours_look_like_ours(#[case] ours: bool) {
    let keys = mk_keys();
    let token = if ours {
        sign(&keys.load(), &mk_claims(), at(0)).unwrap()
    } else {
        forge(&keys, r#"{"typ":"JWT","alg":"HS256","kid":"KID"}"#, "{}")
    };
    assert_eq!(looks_like_ours(&keys.load(), token.as_bytes()), ours);
    assert!(!looks_like_ours(&keys.load(), b"ghp_0123456789"));
}

proptest! {
    #[test]
    fn no_change_of_a_token_is_taken(position in 0usize..400, to in any::<u8>()) {
        let keys = mk_keys();
        let token = sign(&keys.load(), &mk_claims(), at(0)).unwrap();
        let mut changed = token.clone().into_bytes();
        let position = position % changed.len();
        prop_assume!(changed[position] != to);
        changed[position] = to;
        let read = verify::<SessionClaims>(&keys.load(), &changed, EXPECTED, at(0));
        prop_assert!(read.is_err());
    }

    #[test]
    fn no_change_of_a_sealed_value_is_opened(position in 0usize..800, to in any::<u8>()) {
        let keys = mk_keys();
        let sealed = seal(&keys.load(), &mk_auth(20), "", at(0), &Counting::default()).unwrap();
        let mut changed = sealed.into_bytes();
        let position = position % changed.len();
        prop_assume!(changed[position] != to);
        changed[position] = to;
        prop_assert!(open::<AuthSession>(&keys.load(), &changed, "", at(0)).is_err());
    }
}
