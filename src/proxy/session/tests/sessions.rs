//! The session of a request.

use rstest::rstest;

use super::*;
use crate::proxy::session::claims::{LOGIN_LIFE, TicketClaims};
use crate::proxy::session::revocation::{Entry, Epochs, Whose};
use crate::proxy::session::tokens::{TokenError, sign};
use crate::proxy::session::{Look, Refused, Sessions};

fn sessions() -> Sessions {
    Sessions::new(mk_keys(), AUTH_HOST)
}

fn token(sessions: &Sessions, claims: &SessionClaims) -> String {
    sign(&sessions.keys().load(), claims, at(0)).unwrap()
}

fn cookie(token: &str) -> Lines {
    Lines::default().with("Cookie", format!("a=1; __Host-wsd={token}; b=2"))
}

fn look(sessions: &Sessions, fields: &Lines, second: i64) -> Look {
    sessions.look(fields, HOST, UID, &Epochs::default(), at(second))
}

fn ended(whose: Whose, second: i64) -> Epochs {
    let entry = Entry::new(whose, at(second));
    Epochs::parse(&[(entry.key(), entry.to_json())].into())
}

#[test]
fn a_session_is_found_verified_and_remembered() {
    let sessions = sessions();
    let fields = cookie(&token(&sessions, &mk_claims()));
    let (Look::Valid(first), Look::Valid(second)) =
        (look(&sessions, &fields, 0), look(&sessions, &fields, 1))
    else {
        panic!("no session")
    };
    assert_eq!(first.subject(), "alice@example.com");
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!(look(&sessions, &Lines::default(), 0), Look::None);
}

#[test]
fn a_remembered_session_ends_at_its_time() {
    let sessions = sessions();
    let fields = cookie(&token(&sessions, &mk_claims()));
    assert!(matches!(look(&sessions, &fields, 0), Look::Valid(_)));
    let over = Look::Invalid(Refused::Token(TokenError::Over));
    assert_eq!(look(&sessions, &fields, 3630), over);
}

#[test]
fn threat_session_of_a_sibling_is_none_here() {
    let sessions = sessions();
    let fields = cookie(&token(&sessions, &mk_claims()));
    let at_sibling = || {
        sessions.look(
            &fields,
            "3000-api.ws.example.com",
            UID,
            &Epochs::default(),
            at(0),
        )
    };
    let refused = Look::Invalid(Refused::Token(TokenError::Audience));
    assert_eq!(at_sibling(), refused);
    assert!(matches!(look(&sessions, &fields, 0), Look::Valid(_)));
    // Also once it is remembered.
    assert_eq!(at_sibling(), refused);
}

#[test]
fn a_new_workspace_of_an_old_name_takes_no_old_session() {
    let sessions = sessions();
    let fields = cookie(&token(&sessions, &mk_claims()));
    for _ in 0..2 {
        let found = sessions.look(&fields, HOST, "another-uid", &Epochs::default(), at(0));
        assert_eq!(found, Look::Invalid(Refused::Workspace));
    }
}

#[test]
fn threat_cookie_tossing_makes_no_session() {
    let sessions = sessions();
    let good = token(&sessions, &mk_claims());
    let tossed = cookie(&good).with("Cookie", "__Host-wsd=evil");
    assert_eq!(look(&sessions, &tossed, 0), Look::Invalid(Refused::Twice));
}

#[rstest]
#[case::user(Whose::User("alice@example.com".into()))]
#[case::workspace(Whose::Workspace(UID.into()))]
#[case::login(Whose::Login("c2lk".into()))]
fn threat_stale_authorization(#[case] whose: Whose) {
    let sessions = sessions();
    let fields = cookie(&token(&sessions, &mk_claims()));
    assert!(matches!(look(&sessions, &fields, 0), Look::Valid(_)));
    let epochs = ended(whose.clone(), 10);
    let refused = Look::Invalid(Refused::Revoked);
    assert_eq!(sessions.look(&fields, HOST, UID, &epochs, at(11)), refused);
    // A replica that had not heard of it made the session anew: the login is as old as before.
    let again = SessionClaims {
        iat: at(20).as_second(),
        exp: at(3620).as_second(),
        ..mk_claims()
    };
    let fields = cookie(&token(&sessions, &again));
    assert_eq!(sessions.look(&fields, HOST, UID, &epochs, at(21)), refused);
    let holds = |epochs: &Epochs, second| {
        let Look::Valid(signed_in) =
            sessions.look(&fields, HOST, UID, &Epochs::default(), at(second))
        else {
            panic!("no session")
        };
        signed_in.holds(sessions.keys(), epochs, at(second))
    };
    assert!(holds(&Epochs::default(), 21));
    assert!(!holds(&epochs, 21));
}

#[test]
fn a_key_that_leaves_the_ring_ends_what_it_signed() {
    let sessions = sessions();
    let fields = cookie(&token(&sessions, &mk_claims()));
    let Look::Valid(signed_in) = look(&sessions, &fields, 0) else {
        panic!("no session")
    };
    assert!(signed_in.holds(sessions.keys(), &Epochs::default(), at(0)));
    let entropy = Counting::default();
    entropy.fill(&mut [0; 800]);
    let other = KeyRing::generate(at(0), &entropy);
    sessions.keys().exchange(&other).unwrap();
    assert_eq!(
        look(&sessions, &fields, 0),
        Look::Invalid(Refused::Token(TokenError::Key))
    );
    assert!(!signed_in.holds(sessions.keys(), &Epochs::default(), at(0)));
}

/// What a renewed cookie holds.
fn renewed(sessions: &Sessions, from: &SignedIn, by_group: bool, second: i64) -> Option<SignedIn> {
    let line = sessions.renewed(from, by_group, at(second))?;
    let text = line.to_str().unwrap();
    let pair = text.split(';').next().unwrap();
    let fields = Lines::default().with("cookie", pair);
    match look(sessions, &fields, second) {
        Look::Valid(signed_in) => Some((*signed_in).clone()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_session_is_renewed_in_its_last_half_and_stays_the_same_login() {
    let sessions = sessions();
    let first = mk_signed_in();
    assert_eq!(renewed(&sessions, &first, false, 1799), None);
    let next = renewed(&sessions, &first, false, 1800).unwrap();
    assert_eq!(next.login, first.login);
    assert_eq!(next.groups, first.groups);
    assert_eq!(next.expires_at, at(1800 + 3600).as_second());
}

#[test]
fn no_renewal_outlives_the_login() {
    let sessions = sessions();
    let mut session = mk_signed_in();
    let mut second = 0;
    while let Some(next) = renewed(&sessions, &session, false, second + 1800) {
        second += 1800;
        session = next;
        assert!(session.expires_at <= at(LOGIN_LIFE).as_second());
        assert!(second < LOGIN_LIFE);
    }
    assert_eq!(session.expires_at, at(LOGIN_LIFE).as_second());
}

#[test]
fn access_by_a_group_is_renewed_only_while_the_word_about_it_is_fresh() {
    let sessions = sessions();
    let first = mk_signed_in();
    let next = renewed(&sessions, &first, true, 3600).unwrap();
    assert_eq!(next.groups, ["team-a"]);
    assert_eq!(renewed(&sessions, &first, true, 3601), None);
    // The owner goes on, without groups that nobody vouches for any more.
    let owner = renewed(&sessions, &first, false, 3601).unwrap();
    assert!(owner.groups.is_empty());
}

#[test]
fn a_ticket_opens_a_session_that_ends_with_the_login_at_the_latest() {
    let sessions = sessions();
    let ticket = |second| TicketClaims {
        iss: AUTH_HOST.to_owned(),
        aud: HOST.to_owned(),
        ws_uid: UID.to_owned(),
        nonce: "n".to_owned(),
        path: "/".to_owned(),
        who: mk_login(),
        grp: Vec::new(),
        iat: at(second).as_second(),
        exp: at(second + 60).as_second(),
    };
    let late = LOGIN_LIFE - 100;
    let line = sessions.open(ticket(late), at(late)).unwrap();
    assert!(line.to_str().unwrap().contains("; Max-Age=100; "));
    assert!(
        sessions
            .open(ticket(LOGIN_LIFE), at(LOGIN_LIFE + 1))
            .is_err()
    );
}
